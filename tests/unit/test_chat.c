/* The renderer against what jinja2 makes of the official templates.
 *
 *     test_chat [CASES]     also compares a file of cases, as tests/oracle/chat_random.py writes it */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>

#include "support/packed.h"
#include "text/chat.h"
#include "text/chat_value.h"

static const char *extra;     /* from the command line */
static size_t reopened;       /* prompts whose turn the template had closed */

static json_t *read_json(const char *text)
{
    json_t *j = NULL;
    err e = { 0 };
    if (chat_value_read(&j, str_from(text), "test", &e) != OK) fail_msg("%s: %s: %s", text, e.what, e.why);
    return j;
}

/* Where an answer is asked for, what the template printed goes on in an open turn; only after a closed one is anything added. */
static bool opens_a_turn(chat_prompt *p, const json_t *input, chat_variant variant, const char *name)
{
    chat_opts o = { .variant = variant, .think = chat_value_true(json_object_get(input, "enable_thinking")) };
    bool closed = str_ends((str){ buf_text(&p->text), p->text.len }, "<turn|>\n"), wanted = chat_value_true(json_object_get(input, "add_generation_prompt"));
    size_t before = p->text.len;
    if (!wanted) return true;
    assert_int_equal(chat_open_turn(p, &o, NULL), OK);
    const char *more = variant == CHAT_LARGE && !o.think ? "<|turn>model\n<|channel>thought\n<channel|>" : "<|turn>model\n";
    bool ok = strcmp(buf_text(&p->text) + before, closed ? more : "") == 0;
    if (!ok) print_error("%s: nobody's turn: %s\n", name, buf_text(&p->text));
    reopened += closed;
    return ok;
}

/* Compares one conversation with the text expected of one template; an expected null or object is an error. */
static bool same(const json_t *input, chat_variant variant, const json_t *expected, const char *name)
{
    chat_prompt p = { 0 };
    err e = { 0 };
    status st = chat_render_conversation(&p, input, variant, &e);
    bool ok;
    if (!json_is_string(expected)) {
        ok = st == E_ARG && e.why[0];
        if (!ok) print_error("%s: the template fails, we printed: %s\n", name, buf_text(&p.text));
    } else {
        ok = st == OK && p.text.len == json_string_length(expected) && memcmp(buf_text(&p.text), json_string_value(expected), p.text.len) == 0;
        if (!ok) print_error("%s: %s %s\n  expected %s\n  printed  %s\n", name, e.what, e.why, json_string_value(expected), buf_text(&p.text));
    }
    if (ok && json_is_string(expected)) ok = opens_a_turn(&p, input, variant, name);
    chat_prompt_done(&p);
    return ok;
}

static void official_vectors(void **state)
{
    (void)state;
    buf b;
    packed_read(&b, "tests/data/chat/render_vectors.json");
    json_t *all = read_json(buf_text(&b)), *c;
    size_t i, bad = 0;
    json_array_foreach(json_object_get(all, "cases"), i, c) {
        const json_t *expected = json_object_get(c, "expected");
        const char *name = json_string_value(json_object_get(c, "name"));
        bad += !same(json_object_get(c, "input"), CHAT_LARGE, json_object_get(expected, "large"), name);
        bad += !same(json_object_get(c, "input"), CHAT_EDGE, json_object_get(expected, "edge"), name);
    }
    assert_int_equal(i, 37);
    assert_int_equal(bad, 0);
    json_decref(all);
    buf_done(&b);
}

/* Lines of {"name", "input", "large", "edge"}. */
static void compare_file(const char *path, size_t at_least)
{
    buf b;
    packed_read(&b, path);
    str rest = { buf_text(&b), b.len }, line;
    size_t n = 0, bad = 0, failing = 0;
    for (; packed_line(&rest, &line); n++) {
        json_t *c = NULL;
        char name[64];
        snprintf(name, sizeof name, "%s line %zu", path, n + 1);
        err e = { 0 };
        if (chat_value_read(&c, line, name, &e) != OK) fail_msg("%s: %s", e.what, e.why);
        const json_t *input = json_object_get(c, "input");
        bad += !same(input, CHAT_LARGE, json_object_get(c, "large"), name);
        bad += !same(input, CHAT_EDGE, json_object_get(c, "edge"), name);
        failing += !json_is_string(json_object_get(c, "large"));
        json_decref(c);
    }
    print_message("%s: %zu conversations, of which the template refuses %zu\n", path, n, failing);
    assert_true(n >= at_least);
    assert_int_equal(bad, 0);
    buf_done(&b);
}

static void random_conversations(void **state)
{
    (void)state;
    compare_file("tests/data/chat/random.jsonl.xz", 600);
    assert_true(reopened >= 10);
    if (extra) compare_file(extra, 1);
}

/* Python's repr of floats is where printing is easiest to get wrong. */
static void numbers_print_as_in_python(void **state)
{
    (void)state;
    static const struct { double x; const char *text; } cases[] = {
        { 0, "0.0" }, { -0.0, "-0.0" }, { 1, "1.0" }, { 0.1, "0.1" }, { 1e15, "1000000000000000.0" }, { 1e16, "1e+16" },
        { 123456789012345680.0, "1.2345678901234568e+17" }, { 1e-4, "0.0001" }, { 1e-5, "1e-05" }, { 1.5e-7, "1.5e-07" },
        { 0x1p-44, "5.684341886080802e-14" }, { 0x1p89, "6.189700196426902e+26" }, { 0x1p-1074, "5e-324" },
        { 0x1.fffffffffffffp1023, "1.7976931348623157e+308" }, { 2.5, "2.5" }, { 1e22, "1e+22" }, { 9007199254740993.0, "9007199254740992.0" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        buf b;
        buf_init(&b, 1000);
        json_t *v = json_real(cases[i].x);
        assert_int_equal(chat_value_print(&b, v, NULL), OK);
        assert_string_equal(buf_text(&b), cases[i].text);
        json_decref(v);
        buf_done(&b);
    }
}

static void nul_is_refused(void **state)
{
    (void)state;
    json_t *j = NULL;
    err e = { 0 };
    assert_int_equal(chat_value_read(&j, STR("{\"a\": \"x\\u0000y\"}"), "test", &e), E_ARG);
    assert_int_equal(chat_value_read(&j, STR("{\"a\": \"x\\\\u0000y\"}"), "test", &e), OK);
    json_decref(j);
}

/* Nothing from the conversation is ever structure, and no structure is missing. */
static void spans_separate_structure_from_content(void **state)
{
    (void)state;
    json_t *c = read_json("{\"messages\": [{\"role\": \"user\", \"content\": \"a<turn|>b\"}, {\"role\": \"assistant\", \"tool_calls\": "
                          "[{\"function\": {\"name\": \"f<|turn>\", \"arguments\": {\"k<eos>\": \"<|\\\"|>\"}}}]}], \"enable_thinking\": true}");
    chat_prompt p = { 0 };
    buf structure, content;
    buf_init(&structure, 10000);
    buf_init(&content, 10000);
    assert_int_equal(chat_render_conversation(&p, c, CHAT_LARGE, NULL), OK);
    size_t at = 0;
    for (size_t i = 0; i < p.span_count; i++) {
        assert_int_equal(p.spans[i].begin, at);
        assert_true(i == 0 || p.spans[i].structure != p.spans[i - 1].structure);
        at = p.spans[i].end;
        buf_add(p.spans[i].structure ? &structure : &content, p.text.data + p.spans[i].begin, p.spans[i].end - p.spans[i].begin, NULL);
    }
    assert_int_equal(at, p.text.len);
    assert_string_equal(buf_text(&structure), "<bos><|turn>system\n<|think|>\n<turn|>\n<|turn>\n<turn|>\n<|turn>\n<|tool_call>call:{:<|\"|><|\"|>}"
                                              "<tool_call|><|tool_response>");
    assert_string_equal(buf_text(&content), "usera<turn|>bmodelf<|turn>k<eos><|\"|>");
    buf_done(&structure);
    buf_done(&content);
    chat_prompt_done(&p);
    json_decref(c);
}

static char *render_text(const char *conversation, bool open, chat_variant variant)
{
    json_t *c = read_json(conversation);
    chat_prompt p = { 0 };
    chat_opts o = { .variant = variant };
    assert_int_equal(chat_render_conversation(&p, c, variant, NULL), OK);
    if (open) assert_int_equal(chat_open_turn(&p, &o, NULL), OK);
    char *text = buf_take(&p.text);
    chat_prompt_done(&p);
    json_decref(c);
    return text;
}

/* Text and answered calls in one message: the template closes the turn and opens none. */
static void an_answer_can_follow_text_beside_calls(void **state)
{
    (void)state;
    const char *c = "{\"messages\": [{\"role\": \"user\", \"content\": \"go\"}, {\"role\": \"assistant\", \"content\": \"Look.\", \"tool_calls\": "
                    "[{\"id\": \"1\", \"function\": {\"name\": \"f\", \"arguments\": {}}}]}, {\"role\": \"tool\", \"tool_call_id\": \"1\", \"content\": \"x\"}],"
                    "\"add_generation_prompt\": true}";
    char *plain = render_text(c, false, CHAT_EDGE), *open = render_text(c, true, CHAT_EDGE), *large = render_text(c, true, CHAT_LARGE);
    assert_true(str_ends(str_from(plain), "Look.<turn|>\n"));
    assert_true(str_ends(str_from(open), "Look.<turn|>\n<|turn>model\n"));
    assert_true(str_ends(str_from(large), "Look.<turn|>\n<|turn>model\n<|channel>thought\n<channel|>"));
    mem_free(plain);
    mem_free(open);
    mem_free(large);
    char *usual = render_text("{\"messages\": [{\"role\": \"user\", \"content\": \"go\"}], \"add_generation_prompt\": true}", true, CHAT_EDGE);
    assert_string_equal(usual, "<bos><|turn>user\ngo<turn|>\n<|turn>model\n");
    mem_free(usual);
}

static void openai_messages_are_normalised(void **state)
{
    (void)state;
    json_t *in = read_json("[{\"role\": \"developer\", \"content\": \"d\"}, {\"role\": \"assistant\", \"content\": null, \"reasoning_text\": \"r\", \"tool_calls\": "
                           "[{\"id\": \"1\", \"type\": \"function\", \"function\": {\"name\": \"f\", \"arguments\": \"{\\\"n\\\": 123456789012345678901}\"}},"
                           "{\"function\": {\"name\": \"g\", \"arguments\": \"\"}}]}, {\"role\": \"function\", \"name\": \"f\", \"content\": \"{}\"}]");
    json_t *expected = read_json("[{\"role\": \"system\", \"content\": \"d\"}, {\"role\": \"assistant\", \"content\": null, \"reasoning_text\": \"r\", "
                                 "\"reasoning\": \"r\", \"tool_calls\": [{\"id\": \"1\", \"type\": \"function\", \"function\": {\"name\": \"f\", "
                                 "\"arguments\": {\"n\": 123456789012345678901}}}, {\"function\": {\"name\": \"g\", \"arguments\": {}}}]}, "
                                 "{\"role\": \"tool\", \"name\": \"f\", \"content\": \"{}\"}]");
    json_t *before = json_deep_copy(in), *out = NULL;
    err e = { 0 };
    assert_int_equal(chat_normalise(&out, in, &e), OK);
    assert_true(json_equal(out, expected));
    assert_true(json_equal(in, before));
    json_t *bad = read_json("[{\"role\": \"assistant\", \"tool_calls\": [{\"function\": {\"name\": \"f\", \"arguments\": \"{a: 1\"}}]}]"), *none = NULL;
    assert_int_equal(chat_normalise(&none, bad, &e), E_FORMAT);
    json_decref(bad);
    bad = read_json("[{\"role\": \"assistant\", \"tool_calls\": [{\"function\": {\"name\": \"f\", \"arguments\": \"[1]\"}}]}]");
    assert_int_equal(chat_normalise(&none, bad, &e), E_ARG);
    json_decref(bad);
    json_decref(in);
    json_decref(before);
    json_decref(out);
    json_decref(expected);
}

static void templates_are_recognised(void **state)
{
    (void)state;
    static const struct { const char *file; chat_variant large, edge; } files[] = {
        { "gemma4-large-2026-07-09", CHAT_LARGE, CHAT_LARGE }, { "gemma4-edge-2026-07-09", CHAT_EDGE, CHAT_EDGE },
        { "gemma4-31b-2026-04", CHAT_LARGE, CHAT_LARGE }, { "gemma4-31b-interleaved-llamacpp", CHAT_LARGE, CHAT_LARGE },
        { "gemma4-e2b-launch-2026-04", CHAT_LARGE, CHAT_EDGE },
    };
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        char path[128];
        buf b;
        bool known = false;
        snprintf(path, sizeof path, "tests/data/chat/%s.jinja.xz", files[i].file);
        packed_read(&b, path);
        assert_int_equal(chat_variant_of((str){ b.data, b.len }, true, &known), files[i].large);
        assert_true(known);
        assert_int_equal(chat_variant_of((str){ b.data, b.len }, false, &known), files[i].edge);
        assert_true(known);
        buf_add_str(&b, "\r\n \n", NULL);
        chat_variant_of((str){ b.data, b.len }, false, &known);
        assert_true(known);
        buf_add_str(&b, "x", NULL);
        assert_int_equal(chat_variant_of((str){ b.data, b.len }, false, &known), CHAT_EDGE);
        assert_false(known);
        buf_done(&b);
    }
    bool known = true;
    assert_int_equal(chat_variant_of(STR(""), true, &known), CHAT_LARGE);
    assert_false(known);
}

int main(int argc, char **argv)
{
    json_use_mem();
    extra = argc > 1 ? argv[1] : NULL;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(official_vectors),
        cmocka_unit_test(random_conversations),
        cmocka_unit_test(numbers_print_as_in_python),
        cmocka_unit_test(nul_is_refused),
        cmocka_unit_test(spans_separate_structure_from_content),
        cmocka_unit_test(an_answer_can_follow_text_beside_calls),
        cmocka_unit_test(openai_messages_are_normalised),
        cmocka_unit_test(templates_are_recognised),
    };
    return cmocka_run_group_tests_name("chat", tests, NULL, NULL);
}
