/* Training data: every form as documents, and the tokens that are trained held against the prompts that inference builds.
 *
 *     test_tune_data [ROWS]     also compares a file of rows, as tests/oracle/train_rows.py writes it */
#include "support/test.h"

#include "base/rng.h"
#include "support/packed.h"
#include "support/vocab.h"
#include "text/chat_value.h"
#include "tune/data.h"

static tok *small, *real;
static const char *extra;     /* from the command line */

static data_opts opts_of(chat_variant v)
{
    return (data_opts){ .variant = v, .max_length = 4096, .seed = 1 };
}

static data_set *load(const char *text, data_opts o)
{
    data_set *d = NULL;
    err e = { 0 };
    assert_ok(data_load_memory(&d, "rows", str_from(text), small, &o, &e), &e);
    return d;
}

/* A document with its trained parts in braces: ⟦ ⟧ cannot come from the small vocabulary's rows. */
static char *marked(const data_set *d, int64_t doc)
{
    data_shown s = { 0 };
    err e = { 0 };
    buf b;
    buf_init(&b, 1 << 20);
    assert_ok(data_show(&s, d, doc, small, &e), &e);
    for (size_t i = 0; i < s.count; i++) {
        if (s.pieces[i].trained) buf_add_str(&b, "⟦", NULL);
        buf_add(&b, s.text.data + s.pieces[i].begin, s.pieces[i].end - s.pieces[i].begin, NULL);
        if (s.pieces[i].trained) buf_add_str(&b, "⟧", NULL);
    }
    data_shown_done(&s);
    return buf_take(&b);
}

/* The rows give exactly these documents, in this order; the list ends with NULL. */
static void expect(const char *text, data_opts o, const char *const *docs)
{
    data_set *d = load(text, o);
    int64_t n = 0;
    for (; docs[n]; n++) {
        assert_true(n < d->doc_count);
        char *m = marked(d, n);
        assert_string_equal(m, docs[n]);
        mem_free(m);
    }
    assert_int_equal(d->doc_count, n);
    data_free(d);
}

#define EXPECT(text, o, ...) expect(text, o, (const char *const[]){ __VA_ARGS__, NULL })

/* The one row is not used, for this reason. */
static void refused(const char *row, data_opts o, const char *reason)
{
    data_set *d = NULL;
    err e = { 0 };
    char both[4096];
    o.bad_max = 1;
    snprintf(both, sizeof both, "%s\n%s\n", row, o.pairs ? "{\"prompt\": \"p\", \"chosen\": \"c\", \"rejected\": \"r\"}" : "");
    status st = data_load_memory(&d, "rows", str_from(both), small, &o, &e);
    if (o.pairs) {
        assert_ok(st, &e);
        assert_int_equal(d->bad_count, 1);
        if (!strstr(d->bad[0].reason, reason)) fail_msg("\"%s\" is not in: %s", reason, d->bad[0].reason);
        data_free(d);
        return;
    }
    assert_int_equal(st, E_FORMAT);
    if (!strstr(e.why, reason)) fail_msg("\"%s\" is not in: %s", reason, e.why);
}

/* ---- forms ------------------------------------------------------------------------------------------------ */

#define U(q) "<|turn>user\n" q "<turn|>\n<|turn>model\n"
#define EMPTY "<|channel>thought\n<channel|>"

static void messages_share_a_document_where_inference_would(void **state)
{
    (void)state;
    const char *row = "{\"messages\": [{\"role\": \"user\", \"content\": \"Q1\"}, {\"role\": \"assistant\", \"content\": \"A1\"},"
                      "{\"role\": \"user\", \"content\": \"Q2\"}, {\"role\": \"assistant\", \"content\": \"A2\"}]}";
    EXPECT(row, opts_of(CHAT_EDGE), "<bos>" U("Q1") "⟦A1<turn|>⟧\n" U("Q2") "⟦A2<turn|>⟧");
    EXPECT(row, opts_of(CHAT_LARGE), "<bos>" U("Q1") EMPTY "⟦A1<turn|>⟧", "<bos>" U("Q1") "A1<turn|>\n" U("Q2") EMPTY "⟦A2<turn|>⟧");
    data_opts o = opts_of(CHAT_LARGE);
    o.think = DATA_THINK_ON;
    EXPECT(row, o, "<bos><|turn>system\n<|think|>\n<turn|>\n" U("Q1") "⟦A1<turn|>⟧\n" U("Q2") "⟦A2<turn|>⟧");
}

static void thoughts_are_trained_with_thinking(void **state)
{
    (void)state;
    const char *row = "{\"messages\": [{\"role\": \"user\", \"content\": \"Q1\"}, {\"role\": \"assistant\", \"reasoning\": \"R1\", \"content\": \"A1\"},"
                      "{\"role\": \"user\", \"content\": \"Q2\"}, {\"role\": \"assistant\", \"reasoning_content\": \"R2\", \"content\": \"A2\"}]}";
    const char *sys = "<bos><|turn>system\n<|think|>\n<turn|>\n";
    char first[256], second[256];
    for (int v = 0; v < 2; v++) {
        snprintf(first, sizeof first, "%s%s", sys, U("Q1") "⟦<|channel>thought\nR1\n<channel|>A1<turn|>⟧");
        snprintf(second, sizeof second, "%s%s", sys, U("Q1") "A1<turn|>\n" U("Q2") "⟦<|channel>thought\nR2\n<channel|>A2<turn|>⟧");
        EXPECT(row, opts_of(v ? CHAT_LARGE : CHAT_EDGE), first, second);
        data_opts o = opts_of(v ? CHAT_LARGE : CHAT_EDGE);
        o.thoughts_are_context = true;
        snprintf(first, sizeof first, "%s%s", sys, U("Q1") "<|channel>thought\nR1\n<channel|>⟦A1<turn|>⟧");
        snprintf(second, sizeof second, "%s%s", sys, U("Q1") "A1<turn|>\n" U("Q2") "<|channel>thought\nR2\n<channel|>⟦A2<turn|>⟧");
        EXPECT(row, o, first, second);
    }
    data_opts off = opts_of(CHAT_EDGE);
    off.think = DATA_THINK_OFF;
    EXPECT(row, off, "<bos>" U("Q1") "⟦A1<turn|>⟧\n" U("Q2") "⟦A2<turn|>⟧");
    data_set *d = load(row, off);
    assert_int_equal(d->report.thoughts_dropped, 2);
    data_free(d);
}

#define CALL "{\"role\": \"assistant\", \"tool_calls\": [{\"id\": \"1\", \"type\": \"function\", \"function\": {\"name\": \"f\", \"arguments\": \"{\\\"x\\\": 1}\"}}]}"
#define CALLED "<|tool_call>call:f{x:1}<tool_call|>"
#define RESULT "response:f{value:<|\"|>42<|\"|>}<tool_response|>"

static void calls_end_with_the_token_that_stops_them(void **state)
{
    (void)state;
    const char *row = "{\"messages\": [{\"role\": \"user\", \"content\": \"Q\"}, " CALL ", {\"role\": \"tool\", \"tool_call_id\": \"1\", \"content\": \"42\"},"
                      "{\"role\": \"assistant\", \"content\": \"A\"}]}";
    EXPECT(row, opts_of(CHAT_EDGE), "<bos>" U("Q") "⟦" CALLED "<|tool_response>⟧" RESULT "⟦A<turn|>⟧");
    EXPECT(row, opts_of(CHAT_LARGE), "<bos>" U("Q") EMPTY "⟦" CALLED "<|tool_response>⟧", "<bos>" U("Q") CALLED "<|tool_response>" RESULT "⟦A<turn|>⟧");
}

/* As requests may have them: no arguments, a call without an id, a number for an id. */
static void calls_are_read_as_requests_are(void **state)
{
    (void)state;
    const char *want = "<bos>" U("Q") "⟦<|tool_call>call:f{}<tool_call|><|tool_response>⟧";
    EXPECT("{\"messages\": [{\"role\": \"user\", \"content\": \"Q\"}, {\"role\": \"assistant\", \"tool_calls\": [{\"function\": {\"name\": \"f\"}}]}]}",
           opts_of(CHAT_EDGE), want);
    EXPECT("{\"messages\": [{\"role\": \"user\", \"content\": \"Q\"}, {\"role\": \"assistant\", \"function_call\": {\"name\": \"f\", \"arguments\": \"\"}}]}",
           opts_of(CHAT_EDGE), want);
    EXPECT("{\"messages\": [{\"role\": \"user\", \"content\": \"Q\"}, {\"role\": \"assistant\", \"tool_calls\": [{\"id\": 1, \"function\": {\"name\": \"f\"}},"
           "{\"id\": 2, \"function\": {\"name\": \"g\"}}]}, {\"role\": \"tool\", \"tool_call_id\": 2, \"content\": \"x\"}, {\"role\": \"assistant\", \"content\": \"A\"}]}",
           opts_of(CHAT_EDGE), "<bos>" U("Q") "⟦<|tool_call>call:f{}<tool_call|><|tool_call>call:g{}<tool_call|><|tool_response>⟧"
           "response:g{value:<|\"|>x<|\"|>}<tool_response|>⟦A<turn|>⟧");
}

/* Behind a result the prompt has opened the thought already. */
static void a_thought_after_a_result_was_opened_by_the_prompt(void **state)
{
    (void)state;
    const char *sys = "<bos><|turn>system\n<|think|>\n<turn|>\n";
    char want[512];
    snprintf(want, sizeof want, "%s%s", sys, U("Q") "⟦" CALLED "<|tool_response>⟧" RESULT "<|channel>thought\n⟦R\n<channel|>A<turn|>⟧");
    EXPECT("{\"messages\": [{\"role\": \"user\", \"content\": \"Q\"}, " CALL ", {\"role\": \"tool\", \"tool_call_id\": \"1\", \"content\": \"42\"},"
           "{\"role\": \"assistant\", \"reasoning\": \"R\", \"content\": \"A\"}]}", opts_of(CHAT_LARGE), want);
    snprintf(want, sizeof want, "%s%s", sys, U("Q") "⟦" CALLED "<|tool_response>⟧" RESULT "<|channel>thought\n⟦<channel|>A<turn|>⟧");
    EXPECT("{\"enable_thinking\": true, \"messages\": [{\"role\": \"user\", \"content\": \"Q\"}, " CALL ", {\"role\": \"tool\", \"tool_call_id\": \"1\","
           "\"content\": \"42\"}, {\"role\": \"assistant\", \"content\": \"A\"}]}", opts_of(CHAT_EDGE), want);
}

static void results_inside_an_answer_split_it(void **state)
{
    (void)state;
    EXPECT("{\"messages\": [{\"role\": \"user\", \"content\": \"Q\"}, {\"role\": \"assistant\", \"content\": \"A\", \"tool_calls\": [{\"function\": {\"name\":"
           "\"f\", \"arguments\": {\"x\": 1}}}], \"tool_responses\": [{\"name\": \"f\", \"response\": \"42\"}]}]}", opts_of(CHAT_EDGE),
           "<bos>" U("Q") "⟦" CALLED "<|tool_response>⟧" RESULT "⟦A<turn|>⟧");
}

static void answers_can_be_switched_off(void **state)
{
    (void)state;
    EXPECT("{\"messages\": [{\"role\": \"user\", \"content\": \"Q1\"}, {\"role\": \"assistant\", \"content\": \"A1\", \"train\": false},"
           "{\"role\": \"user\", \"content\": \"Q2\"}, {\"role\": \"assistant\", \"content\": \"A2\", \"weight\": 1},"
           "{\"role\": \"user\", \"content\": \"Q3\"}, {\"role\": \"assistant\", \"content\": \"A3\", \"weight\": 0}]}", opts_of(CHAT_EDGE),
           "<bos>" U("Q1") "A1<turn|>\n" U("Q2") "⟦A2<turn|>⟧");
    refused("{\"messages\": [{\"role\": \"user\", \"content\": \"Q\"}, {\"role\": \"assistant\", \"content\": \"A\", \"train\": false}]}", opts_of(CHAT_EDGE),
            "nothing in it is trained");
}

static void thoughts_in_a_text_are_moved(void **state)
{
    (void)state;
    const char *want = "<bos><|turn>system\n<|think|>\n<turn|>\n" U("Q") "⟦<|channel>thought\nR\n<channel|>A<turn|>⟧";
    EXPECT("{\"messages\": [{\"role\": \"user\", \"content\": \"Q\"}, {\"role\": \"assistant\", \"content\": \"<|channel>thought\\nR\\n<channel|>A\"}]}",
           opts_of(CHAT_LARGE), want);
    const char *row = "{\"messages\": [{\"role\": \"user\", \"content\": \"Q\"}, {\"role\": \"model\", \"content\": \"<think>\\nR\\n</think>\\n\\nA\"}]}";
    EXPECT(row, opts_of(CHAT_LARGE), want);
    data_set *d = load(row, opts_of(CHAT_LARGE));
    assert_int_equal(d->report.thoughts_moved, 1);
    data_free(d);
    refused("{\"messages\": [{\"role\": \"user\", \"content\": \"Q\"}, {\"role\": \"assistant\", \"content\": \"A<|channel>thought\\nR<channel|>B\"}]}",
            opts_of(CHAT_LARGE), "in the middle of its text");
}

static void sharegpt_and_alpaca_are_conversations(void **state)
{
    (void)state;
    data_opts o = opts_of(CHAT_EDGE);
    EXPECT("{\"conversations\": [{\"from\": \"system\", \"value\": \"S\"}, {\"from\": \"human\", \"value\": \"Q\"}, {\"from\": \"gpt\", \"value\": \"A\"}]}", o,
           "<bos><|turn>system\nS<turn|>\n" U("Q") "⟦A<turn|>⟧");
    EXPECT("{\"system\": \"S\", \"conversations\": [{\"from\": \"human\", \"value\": \"Q\"}, {\"from\": \"function_call\", \"value\": \"{\\\"name\\\": \\\"f\\\","
           "\\\"arguments\\\": {\\\"x\\\": 1}}\"}, {\"from\": \"observation\", \"value\": \"42\"}, {\"from\": \"gpt\", \"value\": \"A\"}]}", o,
           "<bos><|turn>system\nS<turn|>\n" U("Q") "⟦" CALLED "<|tool_response>⟧response:f{value:<|\"|>42<|\"|>}<tool_response|>⟦A<turn|>⟧");
    EXPECT("{\"conversations\": [{\"role\": \"user\", \"content\": \"Q\"}, {\"role\": \"assistant\", \"content\": \"A\"}]}", o, "<bos>" U("Q") "⟦A<turn|>⟧");
    EXPECT("{\"instruction\": \"Q\", \"input\": \"I\", \"output\": \"A\"}", o, "<bos>" U("Q\nI") "⟦A<turn|>⟧");
    EXPECT("{\"instruction\": \"Q\", \"input\": \"\", \"output\": \"A\", \"system\": \"S\", \"history\": [[\"q\", \"a\"]]}", o,
           "<bos><|turn>system\nS<turn|>\n" U("q") "⟦a<turn|>⟧\n" U("Q") "⟦A<turn|>⟧");
    refused("{\"conversations\": [{\"from\": \"somebody\", \"value\": \"Q\"}]}", o, "nobody known");
}

static void prompts_and_texts(void **state)
{
    (void)state;
    data_opts o = opts_of(CHAT_EDGE);
    EXPECT("{\"prompt\": \"the \", \"completion\": \"end\"}", o, "<bos>the ⟦end<eos>⟧");
    EXPECT("{\"prompt\": [{\"role\": \"user\", \"content\": \"Q\"}], \"completion\": [{\"role\": \"assistant\", \"content\": \"A\"}]}", o, "<bos>" U("Q") "⟦A<turn|>⟧");
    EXPECT("{\"prompt\": [{\"role\": \"user\", \"content\": \"q\"}, {\"role\": \"assistant\", \"content\": \"a\"}, {\"role\": \"user\", \"content\": \"Q\"}],"
           "\"completion\": \"A\"}", o, "<bos>" U("q") "a<turn|>\n" U("Q") "⟦A<turn|>⟧");
    EXPECT("{\"text\": \"the end\"}\n{\"text\": \"<bos>the<eos>\"}", o, "<bos>⟦the end<eos>⟧", "<bos>⟦the<eos>⟧");
    o.strings_are_chat = true;
    EXPECT("{\"prompt\": \"Q\", \"completion\": \"A\"}", o, "<bos>" U("Q") "⟦A<turn|>⟧");
}

/* Every token of a long text is trained once. */
static void long_texts_are_cut_into_pieces(void **state)
{
    (void)state;
    data_opts o = opts_of(CHAT_EDGE);
    o.max_length = 16;
    data_set *d = load("{\"text\": \"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ\"}", o);
    buf b;
    buf_init(&b, 1000);
    assert_int_equal(d->doc_count, 4);
    assert_int_equal(d->example_count, 4);
    assert_int_equal(d->report.texts_split, 1);
    for (int64_t i = 0; i < d->doc_count; i++) {
        assert_true(d->docs[i].n <= 16);
        assert_int_equal(data_ids(d, i)[0], tok_specials(small)->bos);
        assert_int_equal(d->docs[i].targets, d->docs[i].n - 1);
        for (int32_t k = 1; k < d->docs[i].n; k++) buf_add(&b, tok_bytes(small, data_ids(d, i)[k]).p, tok_bytes(small, data_ids(d, i)[k]).n, NULL);
    }
    assert_string_equal(buf_text(&b), "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ<eos>");
    buf_done(&b);
    data_free(d);
}

static void pairs_share_their_prompt(void **state)
{
    (void)state;
    data_opts o = opts_of(CHAT_LARGE);
    o.pairs = true;
    EXPECT("{\"prompt\": [{\"role\": \"user\", \"content\": \"Q\"}], \"chosen\": [{\"role\": \"assistant\", \"content\": \"A\"}], \"rejected\": \"B\"}", o,
           "<bos>" U("Q") EMPTY "⟦A<turn|>⟧", "<bos>" U("Q") EMPTY "⟦B<turn|>⟧");
    EXPECT("{\"chosen\": [{\"role\": \"user\", \"content\": \"Q\"}, {\"role\": \"assistant\", \"content\": \"A\"}],"
           "\"rejected\": [{\"role\": \"user\", \"content\": \"Q\"}, {\"role\": \"assistant\", \"reasoning\": \"R\", \"content\": \"B\"}]}", o,
           "<bos><|turn>system\n<|think|>\n<turn|>\n" U("Q") "⟦A<turn|>⟧",
           "<bos><|turn>system\n<|think|>\n<turn|>\n" U("Q") "⟦<|channel>thought\nR\n<channel|>B<turn|>⟧");
    data_set *d = load("{\"prompt\": \"a\", \"chosen\": \"b\", \"rejected\": \"c\"}", o);
    assert_int_equal(d->doc_count, 2);
    assert_int_equal(d->example_count, 1);
    assert_int_equal(d->docs[0].side, DATA_CHOSEN);
    assert_int_equal(d->docs[1].side, DATA_REJECTED);
    data_free(d);
    refused("{\"chosen\": [{\"role\": \"user\", \"content\": \"Q\"}, {\"role\": \"assistant\", \"content\": \"A\"}],"
            "\"rejected\": [{\"role\": \"user\", \"content\": \"P\"}, {\"role\": \"assistant\", \"content\": \"B\"}]}", o, "differ before");
    refused("{\"text\": \"x\"}", o, "no chosen and rejected");
    o.pairs = false;
    refused("{\"prompt\": \"p\", \"chosen\": \"a\", \"rejected\": \"b\"}", o, "only DPO and ORPO");
}

/* A rejected answer that needs the room takes the same turns from both. */
static void pairs_lose_the_same_turns(void **state)
{
    (void)state;
    data_opts o = opts_of(CHAT_EDGE);
    buf b;
    buf_init(&b, 1 << 20);
    o.pairs = true;
    o.max_length = 160;
    for (int swap = 0; swap < 2; swap++) {
        buf_clear(&b);
        buf_add_str(&b, "{\"prompt\": [", NULL);
        for (int i = 0; i < 9; i++) buf_addf(&b, NULL, "{\"role\": \"user\", \"content\": \"q%d\"},{\"role\": \"assistant\", \"content\": \"a%d\"},", i, i);
        buf_addf(&b, NULL, "{\"role\": \"user\", \"content\": \"Q\"}], \"%s\": \"short\", \"%s\": \"%080d\"}", swap ? "rejected" : "chosen", swap ? "chosen" : "rejected", 7);
        data_set *d = load(buf_text(&b), o);
        assert_int_equal(d->doc_count, 2);
        assert_int_equal(d->examples[0].count, 2);
        assert_true(d->docs[0].turns_cut > 2);
        assert_int_equal(d->docs[0].turns_cut, d->docs[1].turns_cut);
        char *chosen = marked(d, 0), *rejected = marked(d, 1);
        size_t same = (size_t)(strstr(chosen, "⟦") - chosen);
        assert_int_equal(strstr(rejected, "⟦") - rejected, same);
        assert_memory_equal(chosen, rejected, same);
        mem_free(chosen);
        mem_free(rejected);
        data_free(d);
    }
    buf_done(&b);
}

static void what_would_be_lost_is_refused(void **state)
{
    (void)state;
    data_opts o = opts_of(CHAT_EDGE);
#define Q "{\"role\": \"user\", \"content\": \"Q\"}"
    refused("{\"messages\": [" Q ", {\"role\": \"assistant\", \"content\": \" \"}]}", o, "message 1 is an empty answer");
    refused("{\"messages\": [" Q ", {\"role\": \"tool\", \"content\": \"x\"}, {\"role\": \"assistant\", \"content\": \"A\"}]}", o, "no call stands before it");
    refused("{\"messages\": [" Q ", " CALL ", " Q ", {\"role\": \"assistant\", \"content\": \"A\"}]}", o, "follows a call that has no result");
    refused("{\"messages\": [{\"role\": \"user\", \"content\": [{\"type\": \"image_url\", \"image_url\": {}}]}]}", o, "only text can be trained");
    refused("{\"messages\": [" Q ", {\"role\": \"assistant\", \"tool_calls\": [{\"function\": {\"name\": \"f\", \"arguments\": \"{x\"}}]}]}", o,
            "arguments of a tool call");
    refused("{\"messages\": [{\"role\": \"someone\", \"content\": \"x\"}]}", o, "the role of message 0");
    refused("{\"messages\": [" Q "]}", o, "nothing in it is trained");
    refused("{\"messages\": []}", o, "no messages");
    refused("{\"messages\": [7]}", o, "message 0 is no object");
    refused("{\"text\": \"\"}", o, "empty");
    refused("{\"prompt\": \"x\", \"completion\": \"y\", \"label\": true}", o, "KTO");
    refused("{\"question\": \"x\"}", o, "no known form");
    refused("[7]", o, "no object");
    refused("{\"text\": \"a\\u0000b\"}", o, "NUL");
    refused("{\"text\": \"\xFF\"}", o, "unable to decode byte 0xff");
    refused("{\"text\": 7}", o, "no known form");
}

/* Long conversations lose whole turns from the start; every answer is trained once, behind a prompt that fits. */
static void long_conversations_lose_turns_from_the_start(void **state)
{
    (void)state;
    for (int v = 0; v < 2; v++) {
        data_opts o = opts_of(v ? CHAT_LARGE : CHAT_EDGE);
        err e = { 0 };
        buf b;
        data_set *d = NULL;
        buf_init(&b, 1 << 20);
        o.max_length = 160;
        buf_add_str(&b, "{\"messages\": [{\"role\": \"system\", \"content\": \"S\"}", NULL);
        for (int i = 0; i < 20; i++)
            buf_addf(&b, NULL, ",{\"role\": \"user\", \"content\": \"q%02dq\"},{\"role\": \"assistant\", \"content\": \"a%02da\"}", i, i);
        buf_add_str(&b, "]}", NULL);
        assert_ok(data_load_memory(&d, "rows", (str){ b.data, b.len }, small, &o, &e), &e);
        int seen = 0;
        for (int64_t i = 0; i < d->doc_count; i++) {
            char *m = marked(d, i), want[64];
            int trained = 0;
            assert_true(d->docs[i].n <= 160);
            assert_true(str_starts(str_from(m), "<bos><|turn>system\nS<turn|>\n<|turn>user\nq"));
            snprintf(want, sizeof want, "S<turn|>\n<|turn>user\nq%02dq<turn|>", d->docs[i].turns_cut);
            assert_non_null(strstr(m, want));
            for (const char *p = m; (p = strstr(p, "⟦a")); p++, trained++) {
                snprintf(want, sizeof want, "⟦a%02da<turn|>⟧", seen + trained);
                assert_true(str_starts(str_from(p), want));
            }
            assert_true(trained > 0);
            if (v) assert_int_equal(trained, 1);
            seen += trained;
            mem_free(m);
        }
        assert_int_equal(seen, 20);
        assert_true(d->report.turns_cut > 0 && d->report.docs_cut > 0);
        if (!v) assert_true(d->doc_count < 10);
        data_free(d);
        buf_done(&b);
    }
    data_opts o = opts_of(CHAT_EDGE);
    o.max_length = 16;
    refused("{\"messages\": [" Q ", {\"role\": \"assistant\", \"content\": \"a long answer that has no room\"}]}", o, "a document holds 16");
    refused("{\"prompt\": \"a long prompt that has no room\", \"completion\": \"x\"}", o, "a document holds 16");
}

/* ---- the property ------------------------------------------------------------------------------------------ */

/* Ids of the prompt that a request builds from the first j messages. */
static void prompt_of(const json_t *conversation, size_t j, bool think, chat_variant v, tok_ids *out)
{
    chat_prompt p = { 0 };
    err e = { 0 };
    json_t *c = json_copy((json_t *)conversation), *list = json_array();
    for (size_t i = 0; i < j; i++) json_array_append(list, json_array_get(json_object_get(conversation, "messages"), i));
    json_object_set_new(c, "messages", list);
    json_object_set_new(c, "enable_thinking", json_boolean(think));
    json_object_set_new(c, "add_generation_prompt", json_true());
    assert_ok(chat_render_conversation(&p, c, v, &e), &e);
    assert_ok(chat_open_turn(&p, &(chat_opts){ .variant = v, .think = think }, &e), &e);
    assert_ok(chat_encode(real, &p, out, &e), &e);
    chat_prompt_done(&p);
    json_decref(c);
}

static uint32_t roll(uint64_t seed, uint64_t *n, uint32_t sides)
{
    uint32_t x[4];
    rng_philox(seed, (*n)++, x);
    return x[0] % sides;
}

static void put_text(json_t *m, const char *key, uint64_t seed, uint64_t *n)
{
    static const char *const words[] = { "Paris", " is", "\n\n", "big", "42", "", " the", "naïve", "日本", "<turn|>", "  two", "\ttab", "é", "🦙", "say \"hi\"", "\nline" };
    char text[256] = "w";
    for (uint32_t i = roll(seed, n, 6); i; i--) strcat(text, words[roll(seed, n, sizeof words / sizeof *words)]);
    json_object_set_new(m, key, json_string(text));
}

static json_t *random_talk(uint64_t seed, bool thoughts)
{
    uint64_t n = 0;
    json_t *list = json_array(), *c = json_object();
    if (roll(seed, &n, 2)) {
        json_t *m = json_pack("{s:s}", "role", "system");
        put_text(m, "content", seed, &n);
        json_array_append_new(list, m);
    }
    for (uint32_t turns = 1 + roll(seed, &n, 4); turns; turns--) {
        json_t *m = json_pack("{s:s}", "role", "user");
        put_text(m, "content", seed, &n);
        json_array_append_new(list, m);
        for (uint32_t calls = roll(seed, &n, 3); calls; calls--) {
            m = json_pack("{s:s, s:[{s:s, s:{s:s, s:{s:i}}}]}", "role", "assistant", "tool_calls", "id", "1", "function", "name", "look", "arguments", "n", 7);
            if (thoughts && roll(seed, &n, 2)) put_text(m, "reasoning", seed, &n);
            json_array_append_new(list, m);
            m = json_pack("{s:s, s:s}", "role", "tool", "tool_call_id", "1");
            put_text(m, "content", seed, &n);
            json_array_append_new(list, m);
        }
        m = json_pack("{s:s}", "role", "assistant");
        put_text(m, "content", seed, &n);
        if (thoughts && roll(seed, &n, 2)) put_text(m, "reasoning", seed, &n);
        json_array_append_new(list, m);
    }
    json_object_set_new(c, "messages", list);
    return c;
}

/* Finds the next trained run at or behind *at of document *doc. */
static bool next_run(const data_set *d, int64_t *doc, int32_t *at, int32_t *begin, int32_t *end)
{
    for (; *doc < d->doc_count; ++*doc, *at = 0) {
        const uint8_t *target = data_target(d, *doc);
        int32_t n = d->docs[*doc].n;
        while (*at < n && !target[*at]) ++*at;
        if (*at == n) continue;
        *begin = *at;
        while (*at < n && target[*at]) ++*at;
        *end = *at;
        return true;
    }
    return false;
}

/* For every answer, the tokens before its trained ones are the prompt that inference would build, and the trained ones end with the
 * token that ends it there. */
static void every_answer_stands_behind_inferences_own_prompt(void **state)
{
    (void)state;
    int64_t answers = 0, shared = 0;
    for (uint64_t seed = 0; seed < 120; seed++) {
        chat_variant v = seed & 1 ? CHAT_LARGE : CHAT_EDGE;
        bool thoughts = seed & 2, think = false;
        json_t *c = random_talk(seed, thoughts), *m;
        size_t i;
        char *row = json_dumps(c, 0);
        data_set *d = NULL;
        data_opts o = opts_of(v);
        err e = { 0 };
        int64_t doc = 0, mine = 0;
        int32_t at = 0, begin = 0, end = 0;
        assert_ok(data_load_memory(&d, "rows", str_from(row), real, &o, &e), &e);
        json_array_foreach(json_object_get(c, "messages"), i, m) think = think || json_object_get(m, "reasoning");
        json_array_foreach(json_object_get(c, "messages"), i, m) {
            tok_ids prompt = { 0 };
            if (strcmp(json_string_value(json_object_get(m, "role")), "assistant") != 0) continue;
            prompt_of(c, i, think, v, &prompt);
            assert_true(next_run(d, &doc, &at, &begin, &end));
            assert_int_equal(begin, prompt.len);
            assert_memory_equal(data_ids(d, doc), prompt.data, prompt.len * sizeof *prompt.data);
            assert_int_equal(data_ids(d, doc)[end - 1], json_object_get(m, "tool_calls") ? tok_specials(real)->tool_response : tok_specials(real)->turn_end);
            tok_ids_done(&prompt);
            mine++;
        }
        assert_false(next_run(d, &doc, &at, &begin, &end));
        shared += mine > d->doc_count;
        answers += mine;
        data_free(d);
        json_decref(c);
        mem_small_free(row);
    }
    assert_true(answers > 300 && shared > 10);
}

/* ---- the official templates ---------------------------------------------------------------------------------- */

/* The text of ids [begin, end), special tokens too. */
static void text_of(buf *out, const int32_t *ids, int32_t begin, int32_t end)
{
    tok_decoder decoder = { .special = true };
    buf_clear(out);
    for (int32_t i = begin; i < end; i++) tok_decode(real, &decoder, ids[i], out, NULL);
    tok_decode_end(&decoder, out, NULL);
}

/* answers: pairs of the text before an answer and its own, in order. */
static int64_t same_as_templates(str row, const json_t *answers, chat_variant v, const char *name)
{
    data_set *d = NULL;
    data_opts o = { .variant = v, .max_length = 1 << 20 };
    err e = { 0 };
    int64_t doc = 0;
    int32_t at = 0, begin = 0, end = 0;
    const json_t *pair;
    size_t i;
    buf b;
    buf_init(&b, 1 << 24);
    if (data_load_memory(&d, name, row, real, &o, &e) != OK) fail_msg("%s: %s: %s", name, e.what, e.why);
    json_array_foreach(answers, i, pair) {
        assert_true(next_run(d, &doc, &at, &begin, &end));
        text_of(&b, data_ids(d, doc), 0, begin);
        assert_string_equal(buf_text(&b), json_string_value(json_array_get(pair, 0)));
        text_of(&b, data_ids(d, doc), begin, end);
        assert_string_equal(buf_text(&b), json_string_value(json_array_get(pair, 1)));
    }
    assert_false(next_run(d, &doc, &at, &begin, &end));
    buf_done(&b);
    data_free(d);
    return (int64_t)i;
}

/* Lines of {"row", "large", "edge"}, as tests/oracle/train_rows.py writes them with the official templates. */
static int64_t compare_file(const char *path)
{
    buf b;
    packed_read(&b, path);
    str rest = { buf_text(&b), b.len }, line;
    int64_t answers = 0;
    for (int n = 1; packed_line(&rest, &line); n++) {
        json_t *c = NULL;
        char name[96];
        err e = { 0 };
        snprintf(name, sizeof name, "%s line %d", path, n);
        assert_ok(chat_value_read(&c, line, name, &e), &e);
        str row = str_skip(line, strlen("{\"row\": "));
        row.n = str_find(row, STR(", \"large\": ["));
        answers += same_as_templates(row, json_object_get(c, "large"), CHAT_LARGE, name);
        answers += same_as_templates(row, json_object_get(c, "edge"), CHAT_EDGE, name);
        json_decref(c);
    }
    buf_done(&b);
    return answers;
}

static void official_templates_agree(void **state)
{
    (void)state;
    assert_true(compare_file("tests/data/tune/rows.jsonl.xz") > 1500);
    if (extra) compare_file(extra);
}

static int set_up(void **state)
{
    (void)state;
    small = vocab_small();
    real = vocab_real();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    tok_free(small);
    tok_free(real);
    return 0;
}

int main(int argc, char **argv)
{
    json_use_mem();
    extra = argc > 1 ? argv[1] : NULL;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_share_a_document_where_inference_would), cmocka_unit_test(thoughts_are_trained_with_thinking),
        cmocka_unit_test(calls_end_with_the_token_that_stops_them), cmocka_unit_test(calls_are_read_as_requests_are), cmocka_unit_test(a_thought_after_a_result_was_opened_by_the_prompt),
        cmocka_unit_test(results_inside_an_answer_split_it), cmocka_unit_test(answers_can_be_switched_off),
        cmocka_unit_test(thoughts_in_a_text_are_moved), cmocka_unit_test(sharegpt_and_alpaca_are_conversations),
        cmocka_unit_test(prompts_and_texts), cmocka_unit_test(long_texts_are_cut_into_pieces), cmocka_unit_test(pairs_share_their_prompt), cmocka_unit_test(pairs_lose_the_same_turns),
        cmocka_unit_test(what_would_be_lost_is_refused),
        cmocka_unit_test(long_conversations_lose_turns_from_the_start), cmocka_unit_test(every_answer_stands_behind_inferences_own_prompt),
        cmocka_unit_test(official_templates_agree),
    };
    return cmocka_run_group_tests_name("tune data", tests, set_up, tear_down);
}
