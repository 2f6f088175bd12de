/* Every allocation of making a tokenizer, rendering, tokenizing and parsing fails once; each time the error is "out of
 * memory", nothing is left behind, and the next try works. */
#include "support/test.h"

#include "support/vocab.h"
#include "text/chat.h"
#include "text/parse.h"

static json_t *tokenizer, *conversation;
static tok *vocabulary;
static tok_ids output;

static status make_tokenizer(err *e)
{
    tok *t = NULL;
    status st = tok_from_json(&t, tokenizer, e);
    tok_free(t);
    return st;
}

static status render(err *e)
{
    chat_prompt p = { 0 };
    tok_ids ids = { 0 };
    status st = chat_render_conversation(&p, conversation, CHAT_LARGE, e);
    if (st == OK) st = chat_encode(vocabulary, &p, &ids, e);
    chat_prompt_done(&p);
    tok_ids_done(&ids);
    return st;
}

static status normalise(err *e)
{
    json_t *out = NULL;
    status st = chat_normalise(&out, json_object_get(conversation, "messages"), e);
    json_decref(out);
    return st;
}

static status encode_long(err *e)
{
    static char text[3000];
    tok_ids ids = { 0 };
    memset(text, 'a', sizeof text);
    status st = tok_encode(vocabulary, (str){ text, sizeof text }, false, &ids, e);
    tok_ids_done(&ids);
    return st;
}

static status ignore(void *user, const parse_event *ev, err *e)
{
    (void)user;
    (void)ev;
    (void)e;
    return OK;
}

static status parse(err *e)
{
    parser *p = NULL;
    status st = parser_new(&p, vocabulary, NULL, ignore, NULL, e);
    for (size_t i = 0; st == OK && i < output.len; i++) st = parser_token(p, output.data[i], e);
    if (st == OK) st = parser_end(p, false, NULL, e);
    parser_free(p);
    return st;
}

static void fail_each(status (*act)(err *e), int at_least)
{
    err e = { 0 };
    assert_ok(act(&e), &e);
    size_t before = mem_now();
    int n = 0;
    for (;; n++) {
        e = (err){ 0 };
        mem_fail_at(n);
        status st = act(&e);
        bool hit = mem_fail_hit();
        mem_fail_at(-1);
        assert_int_equal(mem_now(), before);
        if (!hit) {
            assert_int_equal(st, OK);
            break;
        }
        assert_int_equal(st, E_NOMEM);
        assert_true(e.what[0]);
    }
    assert_true(n >= at_least);
}

static void tokenizer_fails(void **state) { (void)state; fail_each(make_tokenizer, 12); }
static void rendering_fails(void **state) { (void)state; fail_each(render, 30); }
static void normalising_fails(void **state) { (void)state; fail_each(normalise, 10); }
static void encoding_fails(void **state) { (void)state; fail_each(encode_long, 8); }
static void parsing_fails(void **state) { (void)state; fail_each(parse, 20); }

static int load(void **state)
{
    (void)state;
    static const char talk[] =
        "{\"messages\": [{\"role\": \"system\", \"content\": [{\"type\": \"text\", \"text\": \"s\"}]}, {\"role\": \"user\", \"content\": \"q\"},"
        "{\"role\": \"assistant\", \"reasoning\": \"r\", \"content\": \"<|channel>x<channel|>y\", \"tool_calls\": [{\"id\": \"1\", \"function\": "
        "{\"name\": \"f\", \"arguments\": {\"b\": [1.5, null], \"A\": {\"c\": \"d\"}}}}]}, {\"role\": \"tool\", \"tool_call_id\": \"1\", \"content\": "
        "[{\"type\": \"text\", \"text\": \"t\"}]}, {\"role\": \"assistant\", \"tool_responses\": \"ab\"}], \"tools\": [{\"function\": {\"name\": \"f\", "
        "\"description\": \"d\", \"parameters\": {\"type\": \"object\", \"required\": [\"a\"], \"properties\": {\"a\": {\"type\": \"array\", \"items\": "
        "{\"type\": [\"string\", \"null\"]}}, \"o\": {\"type\": \"object\", \"x\": {\"type\": \"string\", \"enum\": [\"e\"]}}}}}}], \"enable_thinking\": true}";
    buf b;
    vocab_small_json(&b);
    bool ok = json_parse(&tokenizer, (str){ b.data, b.len }, "tokenizer", false, NULL) == OK &&
              chat_read(&conversation, str_from(talk), "conversation", NULL) == OK;
    buf_done(&b);
    vocabulary = vocab_small();
    return ok && tok_encode(vocabulary, STR("<|channel>thought\nhm <channel|>Hi <|tool_call>call:f{a:1,b:[<|\"|>x<|\"|>,\"y\",z<|\"|>],c:{d:true}}<tool_call|>"
                                            "<|tool_call>call:broken<tool_call|> end"), true, &output, NULL) == OK ? 0 : -1;
}

static int unload(void **state)
{
    (void)state;
    json_decref(tokenizer);
    json_decref(conversation);
    tok_free(vocabulary);
    tok_ids_done(&output);
    return 0;
}

int main(void)
{
    json_use_mem();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokenizer_fails), cmocka_unit_test(rendering_fails), cmocka_unit_test(normalising_fails),
        cmocka_unit_test(encoding_fails), cmocka_unit_test(parsing_fails),
    };
    return cmocka_run_group_tests_name("text", tests, load, unload);
}
