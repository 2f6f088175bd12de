// What stays in this browser: conversations and settings, in IndexedDB.

const NAME = 'facet', VERSION = 1;
let opened = null;

function open() {
  opened ??= new Promise((done, fail) => {
    const r = indexedDB.open(NAME, VERSION);
    r.onupgradeneeded = () => {
      r.result.createObjectStore('conversations', { keyPath: 'id' });
      r.result.createObjectStore('settings');
    };
    r.onsuccess = () => done(r.result);
    r.onerror = () => fail(r.error);
  });
  return opened;
}

async function run(store, mode, act) {
  const db = await open();
  return new Promise((done, fail) => {
    const t = db.transaction(store, mode), r = act(t.objectStore(store));
    t.oncomplete = () => done(r?.result);
    t.onerror = t.onabort = () => fail(t.error);
  });
}

// Reads a conversation and writes what becomes of it, without another tab in between.  become(record or undefined) gives the new one.
export const update = (id, become) => run('conversations', 'readwrite', s => {
  const was = s.get(id);
  was.onsuccess = () => s.put(become(was.result));
});
export const get = id => run('conversations', 'readonly', s => s.get(id));
export const all = () => run('conversations', 'readonly', s => s.getAll());
export const remove = id => run('conversations', 'readwrite', s => s.delete(id));
export const clear = () => run('conversations', 'readwrite', s => s.clear());
export const settings = () => run('settings', 'readonly', s => s.get('all'));
export const putSettings = value => run('settings', 'readwrite', s => s.put(value, 'all'));
