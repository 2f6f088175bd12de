/* facet_request before and after its time in the engine: building the prompt, waiting, freeing. */
#include <string.h>

#include "base/bits.h"
#include "base/rng.h"
#include "base/utf8.h"
#include "os/clock.h"
#include "run/embed.h"
#include "run/engine.h"
#include "run/run_int.h"

void facet_sampling_defaults(const facet_model *m, facet_sampling *out)
{
    const gemma_config *c = &m->gemma->config;
    *out = (facet_sampling){ .temperature = c->temperature, .top_k = c->top_k, .top_p = c->top_p, .repeat_penalty = 1,
                             .seed = rng_fresh_seed() >> 11 };   /* 53 bits: JSON and a command line can carry it */
}

/* Ids that are never drawn: the file's own list and, when ends are ignored, the ends. */
static status make_sampler(facet_request *r, const facet_sampling *s, err *e)
{
    const gemma_config *c = &r->model->gemma->config;
    int32_t never[GEMMA_SUPPRESS_MAX + GEMMA_EOS_MAX], n = 0;
    for (int32_t i = 0; i < c->suppress_count; i++) never[n++] = c->suppress[i];
    for (int32_t i = 0; s->ignore_end && i < c->eos_count; i++) never[n++] = c->eos[i];
    return sample_new(&r->sampler, s, never, n, c->vocab, e);
}

facet_status facet_request_new(facet_request **out, facet_engine *g, const facet_sampling *s, facet_error *e)
{
    status st = OK;
    facet_sampling defaults;
    facet_request *r = mem_alloc(sizeof *r, MEM_OTHER);
    if (!r) FAIL(e, E_NOMEM, "could not make a request\nout of memory");
    r->engine = g;
    r->model = engine_model(g);
    r->think_budget = -1;
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->finished, NULL);
    if (!s) {
        facet_sampling_defaults(r->model, &defaults);
        s = &defaults;
    }
    TRY(stop_init(&r->stop, s->stop, s->stop_count, e));
    TRY(make_sampler(r, s, e));
    r->sampling = *s;
    r->sampling.bias = NULL;
    r->sampling.stop = NULL;
    *out = r;
    r = NULL;
out:
    request_destroy(r);
    return st;
}

void request_destroy(facet_request *r)
{
    if (!r) return;
    json_decref(r->messages);
    json_decref(r->tools);
    tok_ids_done(&r->ids);
    sample_free(r->sampler);
    grammar_free(r->grammar);
    mem_free(r->mask);
    schema_free(r->format);
    mem_free(r->named);
    mem_free(r->adapter_name);
    mem_free(r->sum);
    buf_done(&r->unenforced);
    stop_done(&r->stop);
    parser_free(r->parser);
    mem_free(r->tool_names);
    buf_done(&r->text);
    buf_done(&r->piece);
    pthread_mutex_destroy(&r->lock);
    pthread_cond_destroy(&r->finished);
    mem_free(r);
}

static request_state state_of(facet_request *r)
{
    pthread_mutex_lock(&r->lock);
    request_state s = r->state;
    pthread_mutex_unlock(&r->lock);
    return s;
}

bool request_is_new(facet_request *r) { return state_of(r) == REQUEST_NEW; }

/* A prompt can be built: not submitted yet, and of one kind. */
static status can_build(facet_request *r, bool raw, err *e)
{
    if (state_of(r) != REQUEST_NEW) return err_set(e, E_ARG, "cannot change a request\nit was submitted already");
    if (raw ? r->messages != NULL : r->raw) return err_set(e, E_ARG, "cannot put messages and raw text into one request");
    return OK;
}

facet_status facet_request_message(facet_request *r, facet_role who, const char *text, size_t n, facet_error *e)
{
    static const char *const roles[] = { "system", "user", "assistant" };
    status st = OK;
    TRY(can_build(r, false, e));
    if ((unsigned)who >= COUNT_OF(roles)) FAIL(e, E_ARG, "cannot add a message\nthere is no role %d", (int)who);
    if (!utf8_valid(text, n)) FAIL(e, E_ARG, "cannot add a message\nits text is not valid UTF-8");
    if (!r->messages) r->messages = json_array();
    json_t *m = json_pack("{s:s, s:s%}", "role", roles[who], "content", text, n);
    if (!r->messages || !m || json_array_append_new(r->messages, m) != 0) FAIL(e, E_NOMEM, "could not add a message\nout of memory");
out:
    return st;
}

facet_status facet_request_conversation(facet_request *r, const char *json, size_t n, facet_error *e)
{
    status st = OK;
    json_t *c = NULL;
    TRY(can_build(r, false, e));
    if (r->messages) FAIL(e, E_ARG, "cannot add a conversation\nthe request has messages already");
    TRY(json_parse(&c, (str){ json, n }, "the conversation", false, e));
    json_t *messages = json_object_get(c, "messages"), *tools = json_object_get(c, "tools");
    if (!json_is_array(messages)) FAIL(e, E_FORMAT, "cannot use the conversation\nit has no list \"messages\"");
    if (tools && !json_is_null(tools) && !json_is_array(tools)) FAIL(e, E_FORMAT, "cannot use the conversation\n\"tools\" is not a list");
    TRY(json_bool_or(c, "enable_thinking", "the conversation", r->think, &r->think, e));
    TRY(json_bool_or(c, "preserve_thinking", "the conversation", false, &r->preserve_thinking, e));
    r->messages = json_incref(messages);
    r->tools = json_is_array(tools) ? json_incref(tools) : NULL;
out:
    json_decref(c);
    return st;
}

void facet_request_think(facet_request *r, bool on) { r->think = on; }
void facet_request_think_budget(facet_request *r, int32_t tokens) { r->think_budget = tokens; }
void facet_request_scope(facet_request *r, uint64_t scope) { r->scope = scope; }

facet_status facet_request_text(facet_request *r, const char *text, size_t n, bool special, facet_error *e)
{
    status st = OK;
    TRY(can_build(r, true, e));
    TRY(run_need_tok(r->model, e));
    int32_t bos = tok_specials(r->model->tok)->bos;
    if (!r->raw && bos >= 0) TRY(tok_ids_add(&r->ids, bos, e));
    r->raw = true;
    TRY(tok_encode(r->model->tok, (str){ text, n }, special, &r->ids, e));
out:
    return st;
}

facet_status facet_request_tokens(facet_request *r, const int32_t *ids, size_t count, facet_error *e)
{
    status st = OK;
    TRY(can_build(r, true, e));
    r->raw = true;
    for (size_t i = 0; i < count; i++) TRY(tok_ids_add(&r->ids, ids[i], e));
out:
    return st;
}

status request_tool_names(const facet_request *r, const char ***names, size_t *count, err *e)
{
    size_t i, n = 0;
    json_t *tool;
    const char **list = mem_array(json_array_size(r->tools) + 1, sizeof *list, MEM_TEXT);
    if (!list) return err_set(e, E_NOMEM, "could not set up the declared functions\nout of memory");
    json_array_foreach(r->tools, i, tool) {
        const char *name = json_string_value(json_object_get(json_object_get(tool, "function"), "name"));
        if (name) list[n++] = name;
    }
    *names = list;
    *count = n;
    return OK;
}

static status render(facet_request *r, err *e)
{
    status st = OK;
    const facet_model *m = r->model;
    chat_prompt p = { 0 };
    chat_opts o = { .variant = m->variant, .think = r->think, .preserve_thinking = r->preserve_thinking, .generation_prompt = true };
    TRY(run_need_tok(m, e));
    if (!m->chat)
        FAIL(e, E_UNSUPPORTED, "cannot hold a conversation with \"%s\"\nits vocabulary lacks Gemma 4's turn tokens\nUse --raw to let it continue a text.", m->gemma->path);
    TRY(chat_render(&p, r->messages, r->tools, &o, e));
    TRY(chat_open_turn(&p, &o, e));
    TRY(chat_encode(m->tok, &p, &r->ids, e));
    r->in_thought = parse_prompt_opens_thought(m->tok, r->ids.data, r->ids.len);
out:
    chat_prompt_done(&p);
    return st;
}

static status check_prompt(facet_request *r, err *e)
{
    status st = OK;
    int32_t ctx = engine_opts(r->engine)->ctx, vocab = r->model->gemma->config.vocab;
    if (r->embedding) TRY(embed_check(r, e));
    else if (r->ids.len == 0) FAIL(e, E_ARG, "cannot answer\nthe prompt is empty");
    else if (r->ids.len >= (size_t)ctx)
        FAIL(e, E_CONTEXT, "cannot fit the prompt into the context\nit has %zu tokens, the context holds %d and the answer needs room\n"
             "Use --ctx with a larger number, or a shorter prompt.", r->ids.len, ctx);
    for (size_t i = 0; i < r->ids.len; i++)
        if (r->ids.data[i] < 0 || r->ids.data[i] >= vocab)
            FAIL(e, E_ARG, "cannot use token %d\nthe model knows %d tokens", r->ids.data[i], vocab);
out:
    return st;
}

/* Room for the whole answer, so that nothing is allocated between two tokens. */
static status reserve_answer(facet_request *r, err *e)
{
    size_t ctx = (size_t)engine_opts(r->engine)->ctx, most = (size_t)r->sampling.max_tokens;
    size_t need = most && most < ctx - r->ids.len ? r->ids.len + most : ctx;
    if (need <= r->ids.cap) return OK;
    int32_t *p = mem_resize(r->ids.data, need * sizeof *p, MEM_TEXT);
    if (!p) return err_set(e, E_NOMEM, "could not make room for an answer of %zu tokens\nout of memory", need);
    r->ids.data = p;
    r->ids.cap = need;
    return OK;
}

void request_add_cut(facet_request *r, int32_t length)
{
    for (int32_t i = 0; i < r->cut_count; i++)
        if (r->cuts[i] == length) return;
    if (length > 0 && r->cut_count < REQUEST_CUTS) r->cuts[r->cut_count++] = length;
}

/* A place before the prompt's end where a checkpoint helps: not what is computed at once anyway, nor what the one at the end serves. */
static void add_border(facet_request *r, int32_t length)
{
    enum { WORTH = 32, SERVED = 16 };
    if (length >= WORTH && length < r->prompt_count - SERVED) request_add_cut(r, length);
}

/* Where others, or the next turn, are likely to go on from: behind the first turn (instructions, tools), before the newest
 * message, which may be edited, and behind the prompt. */
static void choose_cuts(facet_request *r)
{
    int32_t turn = r->model->tok ? tok_specials(r->model->tok)->turn : -1, second = 0, last = 0, open = 0, seen = 0;
    for (int32_t i = 0; i < r->prompt_count && turn >= 0; i++) {
        if (r->ids.data[i] != turn) continue;
        if (++seen == 2) second = i;
        last = open;                 /* the last one of all opens the answer */
        open = i;
    }
    r->cut_count = 0;
    request_add_cut(r, r->prompt_count);
    add_border(r, second);
    add_border(r, last);
}

facet_status facet_request_submit(facet_request *r, facet_event_fn fn, void *user, facet_error *e)
{
    status st = OK;
    if (state_of(r) != REQUEST_NEW) FAIL(e, E_ARG, "cannot submit a request twice");
    if (!r->raw && !r->embedding) {
        if (!r->messages) FAIL(e, E_ARG, "cannot answer\nthe request has no messages");
        r->ids.len = 0;         /* a second attempt after E_BUSY renders again */
        TRY(render(r, e));
    }
    TRY(check_prompt(r, e));
    if (!r->embedding) TRY(reserve_answer(r, e));
    TRY(thought_begin(r, e));
    if (!r->parser) TRY(output_begin(r, e));
    if (!r->grammar && !r->embedding) TRY(request_constrain(r, e));
    r->prompt_count = (int32_t)r->ids.len;
    r->result = (facet_result){ .prompt_tokens = r->prompt_count, .stop_index = -1 };
    r->fn = fn;
    r->user = user;
    r->submitted = clock_seconds();
    for (size_t i = 0; i < r->ids.len; i++) sample_seen(r->sampler, r->ids.data[i], false);
    choose_cuts(r);
    TRY(engine_push(r->engine, r, e));
out:
    return st;
}

void facet_request_cancel(facet_request *r)
{
    atomic_store(&r->cancelled, true);
    if (atomic_load(&r->stepping)) engine_interrupt(r->engine);
}

facet_status facet_request_wait(facet_request *r, facet_result *out, facet_error *e)
{
    pthread_mutex_lock(&r->lock);
    bool submitted = r->state != REQUEST_NEW;
    while (submitted && r->state != REQUEST_DONE) pthread_cond_wait(&r->finished, &r->lock);
    pthread_mutex_unlock(&r->lock);
    if (!submitted) return err_set(e, E_ARG, "cannot wait for a request that was not submitted");
    if (out) *out = r->result;
    if (r->result.finish == FACET_FINISH_CANCELLED) return err_set(e, E_CANCELLED, "the request was cancelled");
    if (r->result.finish != FACET_FINISH_ERROR) return OK;
    if (e) *e = r->result.error;
    return r->result.error.code;
}

void facet_request_free(facet_request *r)
{
    if (!r) return;
    request_state s = state_of(r);
    if ((s == REQUEST_QUEUED || s == REQUEST_RUNNING) && engine_is_self(r->engine)) {
        pthread_mutex_lock(&r->lock);
        r->orphan = true;
        pthread_mutex_unlock(&r->lock);
        atomic_store(&r->cancelled, true);
        return;
    }
    if (s == REQUEST_QUEUED || s == REQUEST_RUNNING) {
        facet_request_cancel(r);
        facet_request_wait(r, NULL, NULL);
    }
    request_destroy(r);
}
