/* Every allocation of opening a model with its text, of starting an engine, of answering a conversation, free or constrained, and
 * of an embedding fails once: an error that says so, no leak, no hang, and the next request is answered as if nothing had been. */
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "support/test.h"
#include "support/tiny.h"
#include "support/vocab.h"

#define CONVERSATION \
    "{\"messages\":[{\"role\":\"system\",\"content\":\"Be brief.\"},{\"role\":\"user\",\"content\":\"How warm is it in Oslo?\"}]," \
    "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"weather\",\"description\":\"d\",\"parameters\":{\"type\":\"object\"," \
    "\"properties\":{\"place\":{\"type\":\"string\"}}}}}],\"enable_thinking\":true}"

#define SCHEMA \
    "{\"type\":\"object\",\"properties\":{\"place\":{\"type\":\"string\",\"pattern\":\"^[a-z]+$\"},\"warm\":{\"enum\":[1,\"yes\",null]}}," \
    "\"required\":[\"place\",\"warm\"],\"dependentRequired\":{\"place\":[\"warm\"]}}"

typedef struct heard { char text[4096]; size_t n; int dones; } heard;

static void listen(void *user, const facet_event *ev)
{
    heard *h = user;
    if (ev->kind == FACET_DONE) h->dones++;
    if (ev->kind != FACET_ANSWER && ev->kind != FACET_THOUGHT) return;
    if (h->n + ev->n < sizeof h->text) { memcpy(h->text + h->n, ev->text, ev->n); h->n += ev->n; }
}

/* constrained: the answer must be a call of the declared function, or JSON of a schema. */
static status ask(facet_engine *g, const facet_model *m, bool constrained, heard *h, err *e)
{
    status st = OK;
    facet_request *r = NULL;
    facet_sampling s;
    const char *const stops[] = { "never this text" };
    const facet_bias bias = { 300, 1 };
    *h = (heard){ 0 };
    facet_sampling_defaults(m, &s);
    s.seed = 3;
    s.temperature = 4;
    s.max_tokens = 6;
    s.ignore_end = !constrained;
    s.stop = stops;
    s.stop_count = 1;
    s.bias = &bias;
    s.bias_count = 1;
    s.frequency_penalty = 1;
    s.logprobs = true;
    TRY(facet_request_new(&r, g, &s, e));
    TRY(facet_request_conversation(r, CONVERSATION, sizeof CONVERSATION - 1, e));
    if (constrained) {
        TRY(facet_request_tools(r, FACET_TOOLS_AUTO, NULL, true, e));
        TRY(facet_request_format(r, SCHEMA, sizeof SCHEMA - 1, false, e));
    }
    TRY(facet_request_submit(r, listen, h, e));
    st = facet_request_wait(r, NULL, e);
    assert_int_equal(h->dones, 1);
out:
    facet_request_free(r);
    return st;
}

static const char *scratch(const char *name)
{
    static char path[512];
    const char *dir = getenv("TMPDIR");
    snprintf(path, sizeof path, "%s/%s", dir ? dir : "/tmp", name);
    return path;
}

static facet_model *open_model(const char *path)
{
    err e;
    facet_model *m = NULL;
    assert_ok(facet_model_open(&m, &(facet_model_opts){ .path = path }, &e), &e);
    return m;
}

/* What an opened model is: never one without its text or its form of chat because memory was short. */
static void open_each(const char *path, bool chat)
{
    int failures = 0;
    size_t before = mem_now();
    for (int n = 0;; n++) {
        err e = { 0 };
        facet_model *m = NULL;
        facet_model_info info;
        mem_fail_at(n);
        status st = facet_model_open(&m, &(facet_model_opts){ .path = path }, &e);
        bool hit = mem_fail_hit();
        mem_fail_at(-1);
        if (st == OK) {
            facet_model_read_info(m, &info);
            assert_true(info.text);
            assert_int_equal(info.chat, chat);
        } else {
            if (st != E_NOMEM) fail_msg("allocation %d: status %d, %s: %s", n, (int)st, e.what, e.why);
            assert_true(hit && e.what[0]);
            assert_null(m);
            failures++;
        }
        facet_model_close(m);
        if (mem_now() != before) fail_msg("allocation %d: %zu bytes are lost", n, mem_now() - before);
        if (!hit) break;
    }
    assert_true(failures > 30);
}

static void opening_a_file(void **state)
{
    (void)state;
    err e;
    const char *path = scratch("fault-open.gguf");
    assert_ok(tiny_write_gguf(path, TINY_E2B, DTYPE_F16, 1, &e), &e);
    open_each(path, true);
    remove(path);
}

static void put_file(const char *folder, const char *name, const void *data, size_t n)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static void opening_a_folder(void **state)
{
    (void)state;
    static const char *const borrowed[] = { "config.json", "model.safetensors" };
    char folder[512], from[1024], to[1024];
    buf vocabulary;
    snprintf(folder, sizeof folder, "%s", scratch("fault-folder"));
    assert_int_equal(mkdir(folder, 0700), 0);
    for (int i = 0; i < 2; i++) {
        assert_non_null(getcwd(from, sizeof from - 100));
        strcat(strcat(from, "/tests/golden/31b-f32/model/"), borrowed[i]);
        snprintf(to, sizeof to, "%s/%s", folder, borrowed[i]);
        assert_int_equal(symlink(from, to), 0);
    }
    vocab_small_json(&vocabulary);
    put_file(folder, "tokenizer.json", vocabulary.data, vocabulary.len);
    put_file(folder, "chat_template.jinja", "none", 4);
    buf_done(&vocabulary);
    open_each(folder, true);
    for (int i = 0; i < 4; i++) {
        snprintf(to, sizeof to, "%s/%s", folder, i < 2 ? borrowed[i] : i == 2 ? "tokenizer.json" : "chat_template.jinja");
        unlink(to);
    }
    rmdir(folder);
}

static const facet_engine_opts small = { .ctx = 256, .threads = 1, .parallel = 2, .invariant = true };

static void starting_and_answering(void **state)
{
    (void)state;
    err e;
    heard want, got;
    facet_engine *g = NULL;
    const char *path = scratch("fault-run.gguf");
    assert_ok(tiny_write_gguf(path, TINY_26B, DTYPE_Q8_0, 1, &e), &e);
    facet_model *m = open_model(path);
    remove(path);
    assert_ok(facet_engine_start(&g, m, &small, &e), &e);
    assert_ok(ask(g, m, false, &want, &e), &e);
    assert_true(want.n > 0);
    facet_engine_stop(g);
    size_t before = mem_now();
    int failures = 0;
    for (int n = 0;; n++) {
        g = NULL;
        memset(&e, 0, sizeof e);
        mem_fail_at(n);
        status st = facet_engine_start(&g, m, &small, &e);
        if (st == OK) st = ask(g, m, false, &got, &e);
        bool hit = mem_fail_hit();
        mem_fail_at(-1);
        if (st != OK) {
            failures++;
            if (e.what[0] == '\0') fail_msg("allocation %d: status %d without a message", n, (int)st);
            if (st != E_NOMEM) fail_msg("allocation %d: status %d, %s: %s", n, (int)st, e.what, e.why);
            /* the engine that lives on answers the next one */
            if (g) {
                assert_ok(ask(g, m, false, &got, &e), &e);
                assert_string_equal(got.text, want.text);
            }
        }
        facet_engine_stop(g);
        if (mem_now() != before) fail_msg("allocation %d: %zu bytes are lost", n, mem_now() - before);
        if (!hit) { assert_int_equal(st, OK); break; }
    }
    assert_true(failures > 40);
    facet_model_close(m);
}

static status embed(facet_engine *g, float *out, err *e)
{
    status st = OK;
    facet_request *r = NULL;
    TRY(facet_request_new(&r, g, NULL, e));
    TRY(facet_request_text(r, "How warm is it?", 15, false, e));
    TRY(facet_request_embed(r, out, e));
    TRY(facet_request_submit(r, NULL, NULL, e));
    st = facet_request_wait(r, NULL, e);
out:
    facet_request_free(r);
    return st;
}

static void embeddings(void **state)
{
    (void)state;
    err e;
    facet_engine *g = NULL;
    facet_model_info info;
    facet_engine_opts o = small;
    int failures = 0;
    const char *path = scratch("fault-embed.gguf");
    assert_ok(tiny_write_gguf(path, TINY_26B, DTYPE_Q8_0, 1, &e), &e);
    facet_model *m = open_model(path);
    remove(path);
    facet_model_read_info(m, &info);
    size_t bytes = (size_t)info.hidden * sizeof(float);
    float *want = malloc(bytes), *got = malloc(bytes);
    o.embed = true;
    assert_ok(facet_engine_start(&g, m, &o, &e), &e);
    assert_ok(embed(g, want, &e), &e);
    size_t before = mem_now();
    for (int n = 0;; n++) {
        memset(&e, 0, sizeof e);
        mem_fail_at(n);
        status st = embed(g, got, &e);
        bool hit = mem_fail_hit();
        mem_fail_at(-1);
        if (st != OK && (st != E_NOMEM || !e.what[0])) fail_msg("allocation %d: status %d, %s: %s", n, (int)st, e.what, e.why);
        failures += st != OK;
        if (st != OK) assert_ok(embed(g, got, &e), &e);
        assert_memory_equal(got, want, bytes);
        if (mem_now() != before) fail_msg("allocation %d: %zu bytes are lost", n, mem_now() - before);
        if (!hit) break;
    }
    assert_true(failures > 5);
    facet_engine_stop(g);
    facet_model_close(m);
    free(want);
    free(got);
}

/* The vocabulary's tree is made by the first such request and stays with the model, so each round opens the model anew. */
static void constrained_answers(void **state)
{
    (void)state;
    err e;
    heard want, got;
    int failures = 0;
    facet_engine *g = NULL;
    const char *path = scratch("fault-mask.gguf");
    const tiny_shape s = { .name = "mask", .layers = 1, .hidden = 4, .ff = 3, .nq = 1, .nkv = 1, .nkv_full = 1, .d = 2, .d_full = 4, .period = 1, .window = 3 };
    assert_ok(tiny_write_shape(path, &s, DTYPE_F16, 1, &e), &e);
    facet_model *m = open_model(path);
    assert_ok(facet_engine_start(&g, m, &small, &e), &e);
    assert_ok(ask(g, m, true, &want, &e), &e);
    facet_engine_stop(g);
    facet_model_close(m);
    size_t before = mem_now();
    for (int n = 0;; n++) {
        g = NULL;
        memset(&e, 0, sizeof e);
        m = open_model(path);
        assert_ok(facet_engine_start(&g, m, &small, &e), &e);
        mem_fail_at(n);
        status st = ask(g, m, true, &got, &e);
        bool hit = mem_fail_hit();
        mem_fail_at(-1);
        if (st != OK) {
            if (st != E_NOMEM || !e.what[0]) fail_msg("allocation %d: status %d, %s: %s", n, (int)st, e.what, e.why);
            failures++;
            assert_ok(ask(g, m, true, &got, &e), &e);
        }
        assert_string_equal(got.text, want.text);       /* a mask that could not be kept is made again */
        facet_engine_stop(g);
        facet_model_close(m);
        if (mem_now() != before) fail_msg("allocation %d: %zu bytes are lost", n, mem_now() - before);
        if (!hit) break;
    }
    assert_true(failures > 60);
    remove(path);
}

int main(void)
{
    json_use_mem();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opening_a_file), cmocka_unit_test(opening_a_folder),
        cmocka_unit_test(starting_and_answering), cmocka_unit_test(embeddings), cmocka_unit_test(constrained_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
