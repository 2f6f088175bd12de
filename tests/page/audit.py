"""Checks for people who see, hear or point differently: names, landmarks, contrast (WCAG 2, AA)."""
import json

# Text that is seen, with less contrast than 4.5 (3 when it is large).  Colours may be given with transparency.
CONTRAST = """(() => {
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const rgba = text => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = text; canvas.fillRect(0, 0, 1, 1); const d = canvas.getImageData(0, 0, 1, 1).data; return [d[0], d[1], d[2], d[3] / 255]; };
  const over = (a, b) => a.slice(0, 3).map((v, i) => v * a[3] + b[i] * (1 - a[3])).concat(1);
  const light = c => c.slice(0, 3).map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4).reduce((s, v, i) => s + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ratio = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p); return (x + 0.05) / (y + 0.05); };
  const back = e => { let list = []; for (; e; e = e.parentElement) list.unshift(rgba(getComputedStyle(e).backgroundColor)); return list.reduce((b, c) => over(c, b), [255, 255, 255, 1]); };
  const bad = [], look = (e, colour, what) => {
    const s = getComputedStyle(e), size = parseFloat(s.fontSize), want = size >= 24 || (size >= 18.66 && s.fontWeight >= 700) ? 3 : 4.5, b = back(e), got = ratio(over(rgba(colour), b), b);
    if (got < want) bad.push([what.slice(0, 40), Math.round(got * 100) / 100, e.tagName, e.className]);
  };
  const dialog = document.querySelector('dialog[open]') ?? document.body, walk = document.createTreeWalker(dialog, NodeFilter.SHOW_TEXT);
  let seen = 0;
  while (walk.nextNode()) {
    const e = walk.currentNode.parentElement, text = walk.currentNode.data.trim();
    if (!text || !e.checkVisibility() || e.closest('.unseen, .skip, :disabled, svg, noscript, [aria-hidden=true]') || (e.closest('dialog') && !e.closest('dialog[open]'))) continue;
    seen++;
    look(e, getComputedStyle(e).color, text);
  }
  for (const e of dialog.querySelectorAll('input, textarea, select')) if (e.checkVisibility()) {
    look(e, getComputedStyle(e).color, e.id);
    if (e.placeholder) look(e, getComputedStyle(e, '::placeholder').color, e.placeholder);
    if (e.type !== 'checkbox' && parseFloat(getComputedStyle(e).borderTopWidth) && getComputedStyle(e).borderTopColor !== 'rgba(0, 0, 0, 0)') {
      const b = back(e.parentElement), got = ratio(over(rgba(getComputedStyle(e).borderTopColor), b), b);
      if (got < 3) bad.push(['border of ' + e.id, got]);
    }
  }
  return { bad, seen };
})()"""

NAMED = {"button", "link", "textbox", "searchbox", "combobox", "checkbox", "spinbutton", "meter", "region", "dialog", "img", "image", "navigation", "article", "heading"}


def audit(p, what):
    contrast = p.run(CONTRAST)
    assert contrast["seen"] > 3 and not contrast["bad"], (what, contrast)
    nodes = p.send("Accessibility.getFullAXTree")["nodes"]
    roles = {n["role"]["value"] for n in nodes if not n.get("ignored")}
    nameless = [(n["role"]["value"], n.get("backendDOMNodeId")) for n in nodes
                if not n.get("ignored") and n["role"]["value"] in NAMED and not n.get("name", {}).get("value")]
    shown = [p.send("DOM.describeNode", {"backendNodeId": n})["node"] for _, n in nameless]
    assert not nameless, (what, nameless, json.dumps([(s["localName"], s["attributes"]) for s in shown]))
    if not p.run("document.querySelector('dialog[open]') !== null"):
        assert {"banner", "navigation", "main"} <= roles, (what, roles)
    else:
        assert "dialog" in roles, (what, roles)
    twice = p.run("[...document.querySelectorAll('[id]')].map(e => e.id).filter((id, i, all) => all.indexOf(id) !== i)")
    assert not twice, (what, twice)
    levels = p.run("[...document.querySelectorAll('h1, h2, h3, h4, h5, h6')].filter(e => e.checkVisibility() && !e.closest('dialog, .markdown')).map(e => +e.tagName[1])")
    assert levels[0] == 1 and all(b <= a + 1 for a, b in zip(levels, levels[1:])), (what, levels)
