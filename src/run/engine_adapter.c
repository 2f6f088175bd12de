/* Adapters by name.  Files are read on the caller's thread; the engine's thread attaches and removes them between two steps, which
 * takes no time: requests are not held up. */
#include <stdio.h>
#include <string.h>

#include "run/engine_int.h"

status engine_adapter_parts(const facet_adapter *list, size_t n, lora_part **out, err *e)
{
    static const lora_order orders[] = { [FACET_LORA_ORDER_FILE] = LORA_ORDER_FILE, [FACET_LORA_ORDER_RANK] = LORA_ORDER_RANK, [FACET_LORA_ORDER_EXPERT] = LORA_ORDER_EXPERT };
    status st = OK;
    lora_part *parts = mem_array(n, sizeof *parts, MEM_OTHER);
    if (!parts) FAIL(e, E_NOMEM, "could not load an adapter\nout of memory");
    for (size_t i = 0; i < n; i++) {
        if ((unsigned)list[i].order > FACET_LORA_ORDER_EXPERT) FAIL(e, E_ARG, "cannot load an adapter\nthere is no order %d", (int)list[i].order);
        parts[i] = (lora_part){ .path = list[i].path, .scale = list[i].scale != 0 ? list[i].scale : 1, .order = orders[list[i].order] };
    }
    *out = parts;
    parts = NULL;
out:
    mem_free(parts);
    return st;
}

/* ---- the engine's thread --------------------------------------------------------------------------- */

void engine_adapter_change(facet_engine *g)
{
    pthread_mutex_lock(&g->lock);
    engine_change *c = &g->change;
    if (c->pending) {
        if (c->attach) c->st = gemma_adapter_attach(g->ctx, c->id, c->attach, &c->why);
        else gemma_adapter_clear(g->ctx, c->id);
        c->pending = false;
        c->done = true;
        pthread_cond_broadcast(&g->changed);
    }
    pthread_mutex_unlock(&g->lock);
}

/* Has it done, and waits for it.  With the lock held. */
static status change(facet_engine *g, int32_t id, gemma_adapter *attach, err *e)
{
    engine_change *c = &g->change;
    while (c->pending || c->done) pthread_cond_wait(&g->changed, &g->lock);      /* somebody else's */
    if (g->stopping) return err_set(e, E_BUSY, "could not change the adapters\nthe engine stops");
    *c = (engine_change){ .pending = true, .id = id, .attach = attach };
    pthread_cond_signal(&g->wake);
    while (!c->done) pthread_cond_wait(&g->changed, &g->lock);
    status st = c->st;
    if (st != OK && e) *e = c->why;
    c->done = false;
    pthread_cond_broadcast(&g->changed);
    return st;
}

/* ---- names ----------------------------------------------------------------------------------------- */

static engine_adapter **find(facet_engine *g, const char *name)
{
    engine_adapter **a = &g->adapters;
    while (*a && strcmp((*a)->info.name, name) != 0) a = &(*a)->next;
    return a;
}

static status check_name(const char *name, err *e)
{
    if (name && name[0] && strlen(name) < sizeof ((facet_adapter_info *)NULL)->name) return OK;
    return err_set(e, E_ARG, "cannot load an adapter\nits name is missing, or longer than %zu bytes", sizeof ((facet_adapter_info *)NULL)->name - 1);
}

static status no_such(const char *name, err *e) { return err_set(e, E_ARG, "there is no adapter \"%s\"", name); }

/* Reads the files; *out owned: mem_free, *terms as well. */
static status read_files(facet_engine *g, const facet_adapter *list, size_t n, engine_adapter **out, gemma_adapter **terms, err *e)
{
    status st = OK;
    lora_part *parts = NULL;
    engine_adapter *a = NULL;
    if (!n) FAIL(e, E_ARG, "cannot load an adapter\nno file was given");
    TRY(check_name(list[0].name, e));
    for (size_t i = 1; i < n; i++)
        if (!list[i].name || strcmp(list[i].name, list[0].name) != 0) FAIL(e, E_ARG, "cannot load an adapter\nits files have several names");
    TRY(engine_adapter_parts(list, n, &parts, e));
    a = mem_alloc(sizeof *a, MEM_OTHER);
    if (!a) FAIL(e, E_NOMEM, "could not load an adapter\nout of memory");
    TRY(lora_load(terms, g->model->gemma, parts, n, e));
    snprintf(a->info.name, sizeof a->info.name, "%s", list[0].name);
    a->info.rank = gemma_adapter_rank(*terms);
    a->info.terms = gemma_adapter_count(*terms);
    a->info.bytes = gemma_adapter_bytes(*terms);
    a->hash = gemma_adapter_hash(*terms);
    *out = a;
    a = NULL;
out:
    mem_free(a);
    mem_free(parts);
    return st;
}

/* The name is known from now on.  With the lock held. */
static void append(facet_engine *g, engine_adapter *a)
{
    engine_adapter **end = &g->adapters;
    while (*end) end = &(*end)->next;
    *end = a;
}

facet_status facet_adapter_load(facet_engine *g, const facet_adapter *parts, size_t count, facet_error *e)
{
    status st = OK;
    engine_adapter *a = NULL;
    gemma_adapter *terms = NULL;
    if (engine_is_self(g)) return err_set(e, E_ARG, "cannot load an adapter from an event callback");
    TRY(read_files(g, parts, count, &a, &terms, e));
    pthread_mutex_lock(&g->lock);
    a->id = ++g->adapter_last;
    st = change(g, a->id, terms, e);
    if (st == OK) terms = NULL;
    if (st == OK && *find(g, a->info.name)) {
        change(g, a->id, NULL, NULL);
        st = err_set(e, E_ARG, "there is an adapter \"%s\" already\nUnload it first, or give this one another name.", a->info.name);
    }
    if (st == OK) {
        append(g, a);
        a = NULL;
    }
    pthread_mutex_unlock(&g->lock);
out:
    gemma_adapter_free(terms);
    mem_free(a);
    return st;
}

facet_status facet_adapter_unload(facet_engine *g, const char *name, facet_error *e)
{
    status st = OK;
    if (engine_is_self(g)) return err_set(e, E_ARG, "cannot unload an adapter from an event callback");
    pthread_mutex_lock(&g->lock);
    engine_adapter **at = find(g, name), *a = *at;
    if (!a) st = no_such(name, e);
    else if (a->info.users) st = err_set(e, E_BUSY, "could not unload the adapter \"%s\"\n%d requests use it\nTry again when they have ended.", name, a->info.users);
    if (st == OK) {
        *at = a->next;       /* nobody finds it any more while the lock is let go */
        st = change(g, a->id, NULL, e);
        mem_free(a);
    }
    pthread_mutex_unlock(&g->lock);
    return st;
}

facet_status facet_adapter_list(facet_engine *g, facet_adapter_info **out, size_t *count, facet_error *e)
{
    status st = OK;
    size_t n = 0;
    pthread_mutex_lock(&g->lock);
    for (const engine_adapter *a = g->adapters; a; a = a->next) n++;
    facet_adapter_info *list = mem_array(n, sizeof *list, MEM_OTHER);
    if (!list) FAIL(e, E_NOMEM, "could not list the adapters\nout of memory");
    n = 0;
    for (const engine_adapter *a = g->adapters; a; a = a->next) list[n++] = a->info;
    *out = list;
    *count = n;
out:
    pthread_mutex_unlock(&g->lock);
    return st;
}

/* ---- the options' ---------------------------------------------------------------------------------- */

/* Those of the list that have the name of the first one, copied to out; returns how many. */
static size_t same_name(const facet_adapter *list, size_t n, facet_adapter *out)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        if (list[i].name && list[0].name && strcmp(list[i].name, list[0].name) == 0) out[count++] = list[i];
    return count;
}

status engine_adapter_start(facet_engine *g, const facet_engine_opts *o, err *e)
{
    status st = OK;
    engine_adapter *a = NULL;
    gemma_adapter *terms = NULL;
    size_t n = o ? o->adapter_count : 0;       /* 0: an empty block */
    facet_adapter *group = mem_array(n, sizeof *group, MEM_OTHER);
    if (!group) FAIL(e, E_NOMEM, "could not load adapters\nout of memory");
    for (size_t i = 0; i < n; i++) {
        TRY(check_name(o->adapters[i].name, e));
        if (*find(g, o->adapters[i].name)) continue;
        TRY(read_files(g, group, same_name(o->adapters + i, n - i, group), &a, &terms, e));
        a->id = ++g->adapter_last;
        TRY(gemma_adapter_attach(g->ctx, a->id, terms, e));
        terms = NULL;
        append(g, a);
        a = NULL;
    }
out:
    gemma_adapter_free(terms);
    mem_free(a);
    mem_free(group);
    return st;
}

void engine_adapter_done(facet_engine *g)
{
    while (g->adapters) {
        engine_adapter *a = g->adapters;
        g->adapters = a->next;
        mem_free(a);
    }
}

/* ---- requests -------------------------------------------------------------------------------------- */

facet_status facet_request_adapter(facet_request *r, const char *name, facet_error *e)
{
    if (!request_is_new(r)) return err_set(e, E_ARG, "cannot change a request\nit was submitted already");
    char *copy = name ? mem_strdup(name, strlen(name), MEM_OTHER) : NULL;
    if (name && !copy) return err_set(e, E_NOMEM, "could not set up a request\nout of memory");
    mem_free(r->adapter_name);
    r->adapter_name = copy;
    return OK;
}

status engine_adapter_enter(facet_engine *g, facet_request *r, err *e)
{
    if (!r->adapter_name) return OK;
    engine_adapter *a = *find(g, r->adapter_name);
    if (!a) return no_such(r->adapter_name, e);
    a->info.users++;
    r->adapter = a->id;
    r->adapter_hash = a->hash;
    return OK;
}

void engine_adapter_leave(facet_engine *g, const facet_request *r)
{
    for (engine_adapter *a = g->adapters; a; a = a->next)
        if (a->id == r->adapter) a->info.users--;
}
