/* Constrained answers of a request: the format, the tools, and the grammar made of both. */
#include <string.h>

#include "run/run_int.h"

static status note(facet_request *r, const char *names, err *e)
{
    status st = OK;
    if (!*names) return OK;
    if (r->unenforced.len) TRY(buf_add_str(&r->unenforced, ", ", e));
    TRY(buf_add_str(&r->unenforced, names, e));
out:
    return st;
}

facet_status facet_request_format(facet_request *r, const char *text, size_t n, bool strict, facet_error *e)
{
    status st = OK;
    json_t *json = NULL;
    schema *s = NULL;
    if (!request_is_new(r)) FAIL(e, E_ARG, "cannot change a request\nit was submitted already");
    if (r->format) FAIL(e, E_ARG, "cannot give an answer two formats");
    if (n > SCHEMA_BYTES_MAX) FAIL(e, E_UNSUPPORTED, "cannot use the JSON schema\nit has %zu bytes, at most %d", n, SCHEMA_BYTES_MAX);
    TRY(run_need_tok(r->model, e));
    TRY(json_parse(&json, text ? (str){ text, n } : STR("{\"type\":\"object\"}"), "the JSON schema", false, e));
    TRY(schema_new(&s, SCHEMA_JSON, e));
    TRY(schema_add(s, json, false, &r->format_node, e));
    if (strict && *schema_unenforced(s))
        FAIL(e, E_UNSUPPORTED, "cannot enforce the JSON schema\nit has keywords that are not enforced: %s", schema_unenforced(s));
    buf_init(&r->unenforced, 1 << 16);
    TRY(note(r, schema_unenforced(s), e));
    r->format = s;
    s = NULL;
out:
    json_decref(json);
    schema_free(s);
    return st;
}

facet_status facet_request_tools(facet_request *r, facet_tool_choice choice, const char *name, bool parallel, facet_error *e)
{
    char *copy = NULL;
    if (!request_is_new(r)) return err_set(e, E_ARG, "cannot change a request\nit was submitted already");
    if ((unsigned)choice > FACET_TOOLS_REQUIRED) return err_set(e, E_ARG, "there is no tool choice %d", (int)choice);
    if (name && !(copy = mem_strdup(name, strlen(name), MEM_TEXT))) return err_set(e, E_NOMEM, "could not set up the declared functions\nout of memory");
    mem_free(r->named);
    r->named = copy;
    r->choice = choice;
    r->one_call = !parallel;
    r->constrained = true;
    return OK;
}

const char *facet_request_unenforced(const facet_request *r) { return buf_text(&r->unenforced); }

static size_t text_bytes(void)
{
    mem_stats s;
    mem_stats_read(&s);
    return s.tag_current[MEM_TEXT];
}

status request_need_trie(const facet_model *m, err *e)
{
    status st = run_need_tok(m, e);
    if (st != OK) return st;
    pthread_mutex_lock(&m->trie->lock);
    if (!m->trie->trie) {
        size_t before = text_bytes(), after;
        st = trie_new(&m->trie->trie, m->tok, e);
        after = text_bytes();
        m->trie->bytes = after > before ? after - before : 0;
    }
    pthread_mutex_unlock(&m->trie->lock);
    return st;
}

status request_measure(const facet_model *m, int32_t requests, uint64_t *bytes, err *e)
{
    status st = OK;
    json_t *tools = NULL, *any = NULL;
    schema *s = NULL;
    grammar *g = NULL;
    TRY(request_need_trie(m, e));
    size_t before = text_bytes();
    any = json_pack("{s:s}", "type", "object");
    tools = json_pack("[{s:{s:s}}]", "function", "name", "f");
    if (!any || !tools) FAIL(e, E_NOMEM, "could not measure constrained answers\nout of memory");
    grammar_opts o = { .tok = m->tok, .trie = m->trie->trie, .tools = m->chat ? tools : NULL };
    TRY(schema_new(&s, SCHEMA_JSON, e));
    TRY(schema_add(s, any, false, &o.format_node, e));
    o.format = s;
    TRY(grammar_new(&g, &o, e));
    size_t after = text_bytes(), each = (after > before ? after - before : 0) + m->trie->trie->words * sizeof(uint64_t);
    *bytes = m->trie->bytes + (uint64_t)requests * each;
out:
    grammar_free(g);
    schema_free(s);
    json_decref(any);
    json_decref(tools);
    return st;
}

status request_constrain(facet_request *r, err *e)
{
    status st = OK;
    const gemma_config *c = &r->model->gemma->config;
    grammar *g = NULL;
    if (!r->format && !r->constrained) return OK;
    if (r->sampling.ignore_end) FAIL(e, E_ARG, "cannot constrain an answer that must not end");
    TRY(request_need_trie(r->model, e));
    grammar_opts o = { .tok = r->model->tok, .trie = r->model->trie->trie, .format = r->format, .format_node = r->format_node,
                       .tools = r->constrained ? r->tools : NULL, .one_call = r->one_call, .named = r->named,
                       .choice = r->choice == FACET_TOOLS_REQUIRED ? GRAMMAR_REQUIRED : r->choice == FACET_TOOLS_NONE ? GRAMMAR_NONE : GRAMMAR_AUTO,
                       .think = r->think && !r->raw, .in_thought = r->in_thought, .ends = c->eos, .end_count = c->eos_count };
    TRY(grammar_new(&g, &o, e));
    r->mask = mem_array(o.trie->words, sizeof *r->mask, MEM_TEXT);
    if (!r->mask) FAIL(e, E_NOMEM, "could not constrain an answer\nout of memory");
    if (!r->unenforced.max) buf_init(&r->unenforced, 1 << 16);
    TRY(note(r, grammar_unenforced(g), e));
    r->grammar = g;
    g = NULL;
out:
    grammar_free(g);
    if (!r->grammar) {
        mem_free(r->mask);
        r->mask = NULL;
    }
    return st;
}
