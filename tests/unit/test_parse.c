/* The parser of model output: hand-written vectors, the cases met with real servers and clients, and random tokens. */
#include "support/test.h"

#include "base/bits.h"
#include "base/rng.h"
#include "support/packed.h"
#include "support/vocab.h"
#include "text/parse.h"
#include "text/parse_call.h"

static tok *real, *small;

/* What an output came to. */
typedef struct result {
    buf answer, thought, calls;      /* calls: "name {json}" lines */
    int32_t count;
    parse_finish finish;
    parse_counts counts;
    const char *warning;
} result;

static status note(void *user, const parse_event *ev, err *e)
{
    result *r = user;
    if (ev->kind == PARSE_ANSWER) return buf_add(&r->answer, ev->text.p, ev->text.n, e);
    if (ev->kind == PARSE_THOUGHT) return buf_add(&r->thought, ev->text.p, ev->text.n, e);
    assert_int_equal(ev->index, r->count++);
    assert_true(json_is_object(ev->arguments));
    return buf_addf(&r->calls, e, "%.*s %.*s\n", (int)ev->name.n, ev->name.p, (int)ev->json.n, ev->json.p);
}

static void result_init(result *r)
{
    *r = (result){ 0 };
    buf_init(&r->answer, 1u << 30);
    buf_init(&r->thought, 1u << 30);
    buf_init(&r->calls, 1u << 30);
}

static void result_done(result *r)
{
    buf_done(&r->answer);
    buf_done(&r->thought);
    buf_done(&r->calls);
}

static void run_ids(result *r, const tok *t, const int32_t *ids, size_t n, const parser_opts *o, bool cut)
{
    parser *p = NULL;
    err e = { 0 };
    result_init(r);
    assert_ok(parser_new(&p, t, o, note, r, &e), &e);
    for (size_t i = 0; i < n; i++) assert_ok(parser_token(p, ids[i], &e), &e);
    assert_ok(parser_end(p, cut, &r->finish, &e), &e);
    r->counts = *parser_counts(p);
    r->warning = parser_warning(p);
    assert_int_equal(r->counts.answer + r->counts.thought + r->counts.call + r->counts.structure, n);
    parser_free(p);
}

static void run_text(result *r, const char *text, const parser_opts *o, bool cut)
{
    tok_ids ids = { 0 };
    err e = { 0 };
    assert_ok(tok_encode(real, str_from(text), true, &ids, &e), &e);
    run_ids(r, real, ids.data, ids.len, o, cut);
    tok_ids_done(&ids);
}

/* ---- the vectors ------------------------------------------------------------------------------------ */

/* [{"name", "arguments"}] in the form of result.calls; numbers may be written otherwise, so values are compared. */
static bool same_calls(const json_t *expected, const char *calls)
{
    str rest = str_from(calls), line, name;
    size_t i = 0;
    for (; str_split(&rest, '\n', &line) && line.n; i++) {
        const json_t *want = json_array_get(expected, i);
        str json = line;
        str_split(&json, ' ', &name);
        json_t *got = json_loadb(json.p, json.n, 0, NULL);
        bool same = str_is(name, json_string_value(json_object_get(want, "name"))) && json_equal(got, json_object_get(want, "arguments"));
        json_decref(got);
        if (!same) return false;
    }
    return i == json_array_size(expected);
}

static size_t without_end_blanks(const char *s)
{
    size_t n = strlen(s);
    while (n && strchr(" \n\t", s[n - 1])) n--;
    return n;
}

static void vectors(void **state)
{
    (void)state;
    buf b;
    json_t *all = NULL, *c;
    size_t i;
    err e = { 0 };
    packed_read(&b, "tests/data/chat/parse_vectors.json");
    assert_ok(json_parse(&all, (str){ b.data, b.len }, "vectors", false, &e), &e);
    json_array_foreach(json_object_get(all, "cases"), i, c) {
        const char *name = json_string_value(json_object_get(c, "name")), *thought = json_string_value(json_object_get(c, "reasoning"));
        const char *prefix = json_string_value(json_object_get(c, "generation_prefix"));
        tok_ids ids = { 0 };
        result r;
        tok_encode(real, str_from(prefix), true, &ids, NULL);
        parser_opts o = { .in_thought = parse_prompt_opens_thought(real, ids.data, ids.len) };
        run_text(&r, json_string_value(json_object_get(c, "output")), &o, false);
        if (strcmp(buf_text(&r.answer), json_string_value(json_object_get(c, "content"))) != 0) fail_msg("%s: answer \"%s\"", name, buf_text(&r.answer));
        size_t n = without_end_blanks(thought);       /* the vectors say: compare without white space at the end */
        if (r.thought.len != n || memcmp(buf_text(&r.thought), thought, n) != 0) fail_msg("%s: thought \"%s\"", name, buf_text(&r.thought));
        if (!same_calls(json_object_get(c, "tool_calls"), buf_text(&r.calls))) fail_msg("%s: calls %s", name, buf_text(&r.calls));
        tok_ids_done(&ids);
        result_done(&r);
    }
    assert_int_equal(i, 33);
    json_decref(all);
    buf_done(&b);
}

/* ---- the cases of servers and clients ----------------------------------------------------------------- */

#define Q "<|\"|>"
#define CALL(x) "<|tool_call>call:" x "<tool_call|>"

typedef struct test_case {
    const char *name, *in, *answer, *thought, *calls;
    parse_finish finish;
    bool cut, in_thought, warns;
    const char *tools[3];
} test_case;

static const test_case cases[] = {
    { "01 call", CALL("get_weather{location:" Q "Paris" Q "}"), "", "", "get_weather {\"location\":\"Paris\"}\n", .finish = PARSE_TOOL_CALLS },
    { "02 comma in a string", CALL("w{location:" Q "Paris, France" Q ",unit:" Q "c" Q "}"), "", "", "w {\"location\":\"Paris, France\",\"unit\":\"c\"}\n",
      .finish = PARSE_TOOL_CALLS },
    { "03 types", CALL("f{n:42,f:3.14,e:1.5e10,neg:-7,ok:true,p:null}"), "", "", "f {\"n\":42,\"f\":3.14,\"e\":1.5e10,\"neg\":-7,\"ok\":true,\"p\":null}\n",
      .finish = PARSE_TOOL_CALLS },
    { "04 nested, then a sibling", CALL("f{config:{theme:" Q "dark" Q ",count:3},after:1}"), "", "",
      "f {\"config\":{\"theme\":\"dark\",\"count\":3},\"after\":1}\n", .finish = PARSE_TOOL_CALLS },
    { "05 brackets in a string", CALL("f{code:" Q "if (a) { b[0] = \"}\"; }" Q "}"), "", "", "f {\"code\":\"if (a) { b[0] = \\\"}\\\"; }\"}\n", .finish = PARSE_TOOL_CALLS },
    { "06 no unescaping", CALL("f{q:" Q "say \"hi\" and \\\"bye\\\"" Q "}"), "", "", "f {\"q\":\"say \\\"hi\\\" and \\\\\\\"bye\\\\\\\"\"}\n", .finish = PARSE_TOOL_CALLS },
    { "07 backslashes", CALL("f{p:" Q "C:\\users\\bob" Q "}"), "", "", "f {\"p\":\"C:\\\\users\\\\bob\"}\n", .finish = PARSE_TOOL_CALLS },
    { "08 newline at the end", CALL("f{command:" Q "date\n" Q "}"), "", "", "f {\"command\":\"date\\n\"}\n", .finish = PARSE_TOOL_CALLS },
    { "09 quoted keys", CALL("f{m:{" Q "3" Q ":" Q "x" Q "}}"), "", "", "f {\"m\":{\"3\":\"x\"}}\n", .finish = PARSE_TOOL_CALLS },
    { "10 no arguments", CALL("f{}"), "", "", "f {}\n", .finish = PARSE_TOOL_CALLS },
    { "11 two calls", CALL("a{x:1}") CALL("b{x:2}"), "", "", "a {\"x\":1}\nb {\"x\":2}\n", .finish = PARSE_TOOL_CALLS },
    { "12 text before", "Let me check." CALL("f{}"), "Let me check.", "", "f {}\n", .finish = PARSE_TOOL_CALLS },
    { "13 thought before", "<|channel>thought\nneed it<channel|>" CALL("f{}"), "", "need it", "f {}\n", .finish = PARSE_TOOL_CALLS },
    { "14 names", CALL("get-weather{}") CALL("weather.get{}") CALL("google-workspace:list{}") CALL("mcp.calendar:ls{}"), "", "",
      "get-weather {}\nweather.get {}\ngoogle-workspace:list {}\nmcp.calendar:ls {}\n", .finish = PARSE_TOOL_CALLS },
    { "15 stops at 50", CALL("f{}") "<|tool_response>", "", "", "f {}\n", .finish = PARSE_TOOL_CALLS },
    /* 16: every case is also run in one piece and in all pieces by any_chunking_is_the_same. */
    { "17 numbers in pieces", CALL("f{a:108.2,b:[1.5,-0.25e-3]}"), "", "", "f {\"a\":108.2,\"b\":[1.5,-0.25e-3]}\n", .finish = PARSE_TOOL_CALLS },
    { "18 words in pieces", CALL("f{a:true,b:null,c:false}"), "", "", "f {\"a\":true,\"b\":null,\"c\":false}\n", .finish = PARSE_TOOL_CALLS },
    { "18 key without value", CALL("f{a}"), CALL("f{a}"), "", "", .finish = PARSE_STOP, .warns = true },
    { "19 ends with <", "a <", "a <", "", "", .finish = PARSE_STOP },
    { "19 ends with <|", "a <|", "a <|", "", "", .finish = PARSE_STOP },
    { "19 ends with <tool_", "a <tool_", "a <tool_", "", "", .finish = PARSE_STOP },
    { "20 character of byte tokens in a string", CALL("f{a:" Q "\xF0\x93\x82\x80x" Q "}"), "", "", "f {\"a\":\"\xF0\x93\x82\x80x\"}\n", .finish = PARSE_TOOL_CALLS },
    { "21 cut in a string", "<|tool_call>call:get_weather{city:" Q "Lon", "<|tool_call>call:get_weather{city:" Q "Lon", "", "", .finish = PARSE_LENGTH, .cut = true,
      .warns = true },
    { "22 no closing token", "<|tool_call>call:f{q:" Q "x" Q "}<turn|>", "", "", "f {\"q\":\"x\"}\n", .finish = PARSE_TOOL_CALLS },
    { "23 two closing tokens", CALL("f{}") "<tool_call|>Done.", "Done.", "", "f {}\n", .finish = PARSE_TOOL_CALLS },
    { "24 text after", CALL("f{}") "Done.", "Done.", "", "f {}\n", .finish = PARSE_TOOL_CALLS },
    { "25 opening quote missing", CALL("f{query:weather in Tokyo" Q "}"), "", "", "f {\"query\":\"weather in Tokyo\"}\n", .finish = PARSE_TOOL_CALLS },
    { "26 the same with a comma", CALL("f{query:Paris, France" Q ",limit:5}"), "", "", "f {\"query\":\"Paris, France\",\"limit\":5}\n", .finish = PARSE_TOOL_CALLS },
    { "26 a number before it", CALL("f{limit:5,query:Paris, France" Q "}"), "", "", "f {\"limit\":5,\"query\":\"Paris, France\"}\n", .finish = PARSE_TOOL_CALLS },
    { "27 JSON strings inside", CALL("f{refs:[\"a\",\"b\"],o:{\"mode\": \"fast\"}}"), "", "", "f {\"refs\":[\"a\",\"b\"],\"o\":{\"mode\":\"fast\"}}\n", .finish = PARSE_TOOL_CALLS },
    { "27 Python strings inside", CALL("f{a:['a', 'b c']}"), "", "", "f {\"a\":[\"a\",\"b c\"]}\n", .finish = PARSE_TOOL_CALLS },
    { "27 escapes of JSON", CALL("f{a:[\"x\\n\\u00e9\\ud83e\\udd99\\\"\\/\", \"C:\\x\"]}"), "", "", "f {\"a\":[\"x\\n\xC3\xA9\xF0\x9F\xA6\x99\\\"/\",\"C:\\\\x\"]}\n",
      .finish = PARSE_TOOL_CALLS },
    { "28 JSON", CALL("f{\"action\":\"add\"}"), "", "", "f {\"action\":\"add\"}\n", .finish = PARSE_TOOL_CALLS },
    { "29 = for :", CALL("f{save_as='report.docx',n=2}"), "", "", "f {\"save_as\":\"report.docx\",\"n\":2}\n", .finish = PARSE_TOOL_CALLS },
    { "30 round brackets, then a good call", CALL("terminal(command:" Q "ls -a" Q ")") CALL("g{x:1}"), "", "",
      "terminal {\"command\":\"ls -a\"}\ng {\"x\":1}\n", .finish = PARSE_TOOL_CALLS },
    { "31 the word call missing", "<|tool_call>:f{a:1}<tool_call|>", "", "", "f {\"a\":1}\n", .finish = PARSE_TOOL_CALLS },
    { "32 no <|tool_call> after the thought", "<|channel>thought\nrun it<channel|>call:bash{command:" Q "ls" Q "}<turn|>", "", "run it",
      "bash {\"command\":\"ls\"}\n", .finish = PARSE_TOOL_CALLS, .tools = { "bash" } },
    { "32 the same, not declared", "<|channel>thought\nrun it<channel|>call:bash{command:1}<turn|>", "call:bash{command:1}", "run it", "", .finish = PARSE_STOP,
      .tools = { "dash" } },
    { "33 prose about calls", "use call:Write{path:1} like this", "use call:Write{path:1} like this", "", "", .finish = PARSE_STOP, .tools = { "Write" } },
    { "34 another format", CALL("run:\nBEGIN_ARG:\nls\nEND_ARG"), CALL("run:\nBEGIN_ARG:\nls\nEND_ARG"), "", "", .finish = PARSE_STOP, .warns = true },
    { "35 back ticks", CALL("f{newString:`a { color: red } b`}"), "", "", "f {\"newString\":\"a { color: red } b\"}\n", .finish = PARSE_TOOL_CALLS },
    { "35 single quotes", CALL("f{pattern:':\\s*\\w+'}"), "", "", "f {\"pattern\":\":\\\\s*\\\\w+\"}\n", .finish = PARSE_TOOL_CALLS },
    { "35 not closed", CALL("f{a:`css { } b}"), CALL("f{a:`css { } b}"), "", "", .finish = PARSE_STOP, .warns = true },
    { "36 name with a path", CALL("google:mcp:x:create-pdf-file{}"), "", "", "create-pdf-file {}\n", .finish = PARSE_TOOL_CALLS, .tools = { "other", "create-pdf-file" } },
    { "36 the last segment is not unique", CALL("x:ls{}"), "", "", "x:ls {}\n", .finish = PARSE_TOOL_CALLS, .tools = { "a.ls", "b.ls" } },
    { "37 stray brackets", CALL("f:[t:[]"), CALL("f:[t:[]"), "", "", .finish = PARSE_STOP, .warns = true },
    { "37 stray closing bracket", CALL("f{a:[1]]}"), CALL("f{a:[1]]}"), "", "", .finish = PARSE_STOP, .warns = true },
    { "38 the prompt is in a thought", "plan<channel|>Hi", "Hi", "plan", "", .finish = PARSE_STOP, .in_thought = true },
    { "39 and the model opens it again", "<|channel>thought\nplan<channel|>Hi", "Hi", "plan", "", .finish = PARSE_STOP, .in_thought = true },
    { "40 a thought that nobody asked for", "<|channel>thought\nhm\n<channel|>Hi", "Hi", "hm", "", .finish = PARSE_STOP },
    { "41 never closed, stopped", "<|channel>thought\nhm<turn|>", "", "hm", "", .finish = PARSE_STOP },
    { "41 never closed, cut", "<|channel>thought\nhm", "", "hm", "", .finish = PARSE_LENGTH, .cut = true },
    { "42 a call ends the thought", "<|channel>thought\nhm\n" CALL("f{}"), "", "hm", "f {}\n", .finish = PARSE_TOOL_CALLS },
    { "43 empty and stray closers", "A<|channel>thought\n<channel|><channel|>B", "AB", "", "", .finish = PARSE_STOP },
    { "44 opened twice", "<|channel><|channel>thought\n<channel|>Hi", "Hi", "", "", .finish = PARSE_STOP },
    { "44 no header", "<|channel>first thought<channel|>Hi", "Hi", "first thought", "", .finish = PARSE_STOP },
    { "45 text, thought, JSON", "---<|channel>thought\nx<channel|>{\"a\":1}", "---{\"a\":1}", "x", "", .finish = PARSE_STOP },
    { "46 end_of_turn as characters", "a<end_of_turn>b", "a<end_of_turn>b", "", "", .finish = PARSE_STOP },
    /* More of the same kind. */
    { "last of equal keys", CALL("f{a:1,b:2,a:3}"), "", "", "f {\"a\":3,\"b\":2}\n", .finish = PARSE_TOOL_CALLS },
    { "large integer", CALL("f{a:123456789012345678901234567890}"), "", "", "f {\"a\":123456789012345678901234567890}\n", .finish = PARSE_TOOL_CALLS },
    { "no JSON number", CALL("f{a:007,b:1.,c:+1,d:1e999,e:0x10}"), "", "", "f {\"a\":\"007\",\"b\":\"1.\",\"c\":\"+1\",\"d\":\"1e999\",\"e\":\"0x10\"}\n",
      .finish = PARSE_TOOL_CALLS },
    { "bare words", CALL("f{a:hello world,b:x}"), "", "", "f {\"a\":\"hello world\",\"b\":\"x\"}\n", .finish = PARSE_TOOL_CALLS },
    { "string not closed", CALL("f{a:" Q "x}"), CALL("f{a:" Q "x}"), "", "", .finish = PARSE_STOP, .warns = true },
    { "white space between calls", CALL("f{}") "\n" CALL("g{}") "\n", "", "", "f {}\ng {}\n", .finish = PARSE_TOOL_CALLS },
    { "the turn's own header", "<|turn>model\nHi<turn|>", "Hi", "", "", .finish = PARSE_STOP },
    { "another turn ends it", "Hi<|turn>user\nHo", "Hi", "", "", .finish = PARSE_STOP },
    { "quote token in the answer", "a" Q "b", "a" Q "b", "", "", .finish = PARSE_STOP },
    { "only white space", " \n", " \n", "", "", .finish = PARSE_STOP },
    { "nothing", "", "", "", "", .finish = PARSE_STOP },
};

static size_t tool_count(const test_case *c)
{
    size_t n = 0;
    while (n < COUNT_OF(c->tools) && c->tools[n]) n++;
    return n;
}

static void cases_of_servers_and_clients(void **state)
{
    (void)state;
    size_t bad = 0;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const test_case *c = &cases[i];
        parser_opts o = { .in_thought = c->in_thought, .tools = c->tools, .tool_count = tool_count(c) };
        result r;
        run_text(&r, c->in, &o, c->cut);
        bool ok = strcmp(buf_text(&r.answer), c->answer) == 0 && strcmp(buf_text(&r.thought), c->thought) == 0 &&
                  strcmp(buf_text(&r.calls), c->calls) == 0 && r.finish == c->finish && (r.warning != NULL) == c->warns;
        if (!ok)
            print_error("%s\n  answer \"%s\" thought \"%s\" finish %s warning %s\n  calls %s\n", c->name, buf_text(&r.answer), buf_text(&r.thought),
                        parse_finish_name(r.finish), r.warning ? r.warning : "none", buf_text(&r.calls));
        bad += !ok;
        result_done(&r);
    }
    assert_int_equal(bad, 0);
}

/* The text of token 52 typed as characters is text. */
static void characters_are_not_tokens(void **state)
{
    (void)state;
    static const char text[] = "<|tool_call>call:f{a:1}<tool_call|><|channel>thought\nx<channel|>";
    tok_ids ids = { 0 };
    result r;
    assert_int_equal(tok_encode(real, str_from(text), false, &ids, NULL), OK);
    run_ids(&r, real, ids.data, ids.len, NULL, false);
    assert_string_equal(buf_text(&r.answer), text);
    assert_int_equal(r.count, 0);
    result_done(&r);
    tok_ids_done(&ids);
}

static bool same_result(const result *a, const result *b)
{
    return strcmp(buf_text(&a->answer), buf_text(&b->answer)) == 0 && strcmp(buf_text(&a->thought), buf_text(&b->thought)) == 0 &&
           strcmp(buf_text(&a->calls), buf_text(&b->calls)) == 0 && a->finish == b->finish;
}

/* The same text in other tokens: here in the real vocabulary's pieces and in single bytes. */
static void any_chunking_is_the_same(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const test_case *c = &cases[i];
        parser_opts o = { .in_thought = c->in_thought, .tools = c->tools, .tool_count = tool_count(c) };
        tok_ids ids = { 0 }, bytes = { 0 };
        result a, b;
        assert_int_equal(tok_encode(real, str_from(c->in), true, &ids, NULL), OK);
        for (size_t k = 0; k < ids.len; k++) {
            str s = tok_bytes(real, ids.data[k]);
            for (size_t j = 0; !tok_is_special(real, ids.data[k]) && j < s.n; j++) {
                char name[8];
                snprintf(name, sizeof name, "<0x%02X>", (unsigned char)s.p[j]);
                tok_ids_add(&bytes, tok_find(real, str_from(name)), NULL);
            }
            if (tok_is_special(real, ids.data[k])) tok_ids_add(&bytes, ids.data[k], NULL);
        }
        run_ids(&a, real, ids.data, ids.len, &o, c->cut);
        run_ids(&b, real, bytes.data, bytes.len, &o, c->cut);
        if (!same_result(&a, &b)) fail_msg("%s: in bytes: answer \"%s\" thought \"%s\" calls %s", c->name, buf_text(&b.answer), buf_text(&b.thought), buf_text(&b.calls));
        result_done(&a);
        result_done(&b);
        tok_ids_done(&ids);
        tok_ids_done(&bytes);
    }
}

/* ---- random tokens ---------------------------------------------------------------------------------- */

/* Every character of output is from the tokens, in their order; every visible one is there unless it is structure. */
static void random_tokens_lose_nothing(void **state)
{
    (void)state;
    static const char *const pieces[] = {
        "<|tool_call>", "<tool_call|>", "<|channel>", "<channel|>", Q, Q, "<|tool_response>", "<turn|>", "<|turn>", "<bos>", "call:", "f", "{", "}", "{", "}",
        "[", "]", ",", ":", "a", "thought\n", "\n", " ", "1", "-", ".", "e", "true", "null", "\"", "'", "`", "=", "(", ")", "\\", "<0xE2>", "<0x82>", "<0x00>", "x y" };
    const char *tools[] = { "f", "ns:g" };
    for (uint64_t n = 0; n < 20000; n++) {
        tok_ids ids = { 0 };
        result r;
        uint32_t x[4];
        rng_philox(7, n << 20, x);
        size_t len = x[0] % 40;
        for (size_t i = 0; i < len; i++) {
            rng_philox(7, (n << 20) + 1 + i, x);
            const char *piece = pieces[x[0] % COUNT_OF(pieces)];
            int32_t id = tok_find(small, str_from(piece));
            if (id >= 0) tok_ids_add(&ids, id, NULL);
            else tok_encode(small, str_from(piece), false, &ids, NULL);
        }
        run_ids(&r, small, ids.data, ids.len, &(parser_opts){ .tools = tools, .tool_count = n % 3 ? 2 : 0, .in_thought = n % 7 == 0 }, n % 2);
        assert_true(r.count == 0 || r.counts.call > 0 || r.counts.structure > 0);
        assert_true(r.finish != PARSE_OPEN && (r.finish != PARSE_TOOL_CALLS || r.count > 0));
        /* Without calls, letters are in the answer or in a thought: "x" never belongs to a header. */
        size_t in = 0, out = 0;
        bool ended = false;
        for (size_t i = 0; i < ids.len && !ended; i++) {
            in += str_is(tok_piece(small, ids.data[i]), "x");
            ended = tok_is_end(small, ids.data[i]) || (ids.data[i] == tok_specials(small)->turn && (i > 0 || n % 7 == 0));
        }
        for (size_t i = 0; i < r.answer.len; i++) out += r.answer.data[i] == 'x';
        for (size_t i = 0; i < r.thought.len; i++) out += r.thought.data[i] == 'x';
        for (size_t i = 0; i < r.calls.len; i++) out += r.calls.data[i] == 'x';
        if (!ended && r.count == 0) assert_int_equal(out, in);
        result_done(&r);
        tok_ids_done(&ids);
    }
}

/* The same text again and again within one call: what is quadratic does not come to an end here. */
static void long_calls_are_linear(void **state)
{
    (void)state;
    static const char *const units[] = { "a,", "\"a, ", "'", "`x ", "{", "[", "\\", " ", "a:", ",a:b", "[x,", "\xFF", "\xFF,", "a,\xFF ", "((", "\"\\\"" };
    for (size_t k = 0; k < COUNT_OF(units); k++) {
        for (int shape = 0; shape < 2; shape++) {
            buf b, json;
            str name;
            bool ok;
            buf_init(&b, 1u << 30);
            buf_init(&json, 1u << 30);
            buf_add_str(&b, shape ? "call:f{a:[" : "call:f{", NULL);
            while (b.len < 2000000) buf_add_str(&b, units[k], NULL);
            buf_add_str(&b, shape ? "],b:c\xFF}" : "b:c\xFF}", NULL);
            assert_int_equal(parse_call_read((str){ b.data, b.len }, &name, &json, &ok, NULL), OK);
            buf_done(&b);
            buf_done(&json);
        }
    }
}

/* One piece again and again at each place of an output. */
static void long_outputs_are_linear(void **state)
{
    (void)state;
    static const char *const pieces[] = { " ", "x", "\xFF" };
    static const char *const begins[] = { "", "<|channel>", "<|channel>thought\n", "<|channel>thought\nx<channel|>", "<|tool_call>", "<|tool_call>call:f{a:" };
    const char *const tools[] = { "f" };
    for (size_t k = 0; k < COUNT_OF(pieces) * COUNT_OF(begins); k++) {
        tok_ids ids = { 0 }, one = { 0 };
        result r;
        err e = { 0 };
        assert_ok(tok_encode(real, str_from(begins[k / COUNT_OF(pieces)]), true, &ids, &e), &e);
        assert_ok(tok_encode(real, str_from(pieces[k % COUNT_OF(pieces)]), false, &one, &e), &e);
        for (size_t i = 0; i < 250000; i++) assert_ok(tok_ids_add(&ids, one.data[0], &e), &e);
        run_ids(&r, real, ids.data, ids.len, &(parser_opts){ .tools = tools, .tool_count = 1 }, true);
        if (k == 0) assert_int_equal(r.answer.len, 250000);
        result_done(&r);
        tok_ids_done(&ids);
        tok_ids_done(&one);
    }
}

static void prompts_that_open_a_thought(void **state)
{
    (void)state;
    static const struct { const char *text; bool open; } prompts[] = {
        { "<bos><|turn>model\n<|channel>thought\n", true }, { "<bos><|turn>model\n<|channel>thought\n<channel|>", false }, { "<bos><|turn>model\n", false },
        { "<|channel>thought\na<channel|>b<|channel>thought\n", true }, { "<|channel>thought\n<turn|>\n<|turn>model\n", false }, { "", false },
    };
    for (size_t i = 0; i < COUNT_OF(prompts); i++) {
        tok_ids ids = { 0 };
        assert_int_equal(tok_encode(real, str_from(prompts[i].text), true, &ids, NULL), OK);
        assert_int_equal(parse_prompt_opens_thought(real, ids.data, ids.len), prompts[i].open);
        tok_ids_done(&ids);
    }
}

static int load(void **state)
{
    (void)state;
    real = vocab_real();
    small = vocab_small();
    return 0;
}

static int unload(void **state)
{
    (void)state;
    tok_free(real);
    tok_free(small);
    return 0;
}

int main(void)
{
    json_use_mem();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors),
        cmocka_unit_test(cases_of_servers_and_clients),
        cmocka_unit_test(characters_are_not_tokens),
        cmocka_unit_test(any_chunking_is_the_same),
        cmocka_unit_test(random_tokens_lose_nothing),
        cmocka_unit_test(long_calls_are_linear),
        cmocka_unit_test(long_outputs_are_linear),
        cmocka_unit_test(prompts_that_open_a_thought),
    };
    return cmocka_run_group_tests_name("parse", tests, load, unload);
}
