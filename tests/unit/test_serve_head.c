/* Heads of requests: what is read, what is refused and with which status; chunked bodies cut anywhere. */
#include "serve/head.h"
#include "support/test.h"

static int parse(head *h, const char *text)
{
    const char *why = NULL;
    int code = head_parse(h, text, strlen(text), &why);
    assert_non_null(why);
    assert_true(code == 0 || why[0]);
    return code;
}

static void refuses(int want, const char *text)
{
    head h;
    int code = parse(&h, text);
    if (code != want) fail_msg("%d, not %d: %s", code, want, text);
}

static void reads(void **state)
{
    (void)state;
    head h;
    assert_int_equal(parse(&h, "POST /v1/messages?beta=true HTTP/1.1\r\nHost: a:1\r\ncontent-LENGTH: 12\r\nX: \t b c \r\n\r\n"), 0);
    assert_true(str_is(h.method, "POST") && str_is(h.path, "/v1/messages") && str_is(h.query, "beta=true"));
    assert_true(h.keep_alive && !h.chunked && h.length == 12 && h.minor == 1);
    assert_true(str_is(*head_find(&h, "x"), "b c"));
    assert_null(head_find(&h, "xy"));
    assert_int_equal(parse(&h, "GET http://host/path HTTP/1.0\r\n\r\n"), 0);
    assert_true(str_is(h.path, "/path") && !h.keep_alive && h.minor == 0);
    assert_int_equal(parse(&h, "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"), 0);
    assert_true(h.keep_alive);
    assert_int_equal(parse(&h, "GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n"), 0);
    assert_false(h.keep_alive);
    assert_int_equal(parse(&h, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"), 0);
    assert_true(h.chunked && h.expect_continue);
}

static void refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "\r\n", "GET\r\n\r\n", "GET /\r\n\r\n", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
        "G(T / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / http/1.1\r\nHost: a\r\n\r\n", "GET x HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n folded\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: \x01\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n: y\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) refuses(400, bad[i]);
    refuses(501, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n");
    refuses(505, "GET / HTTP/2.0\r\nHost: a\r\n\r\n");
}

static void many_fields(void **state)
{
    (void)state;
    for (int extra = 0; extra < 2; extra++) {
        head h;
        buf b;
        buf_init(&b, 1 << 20);
        buf_add_str(&b, "GET / HTTP/1.1\r\nHost: a\r\n", NULL);
        for (int i = 1; i < HEAD_FIELDS_MAX + extra; i++) buf_addf(&b, NULL, "X%d: y\r\n", i);
        buf_add_str(&b, "\r\n", NULL);
        assert_int_equal(parse(&h, b.data), extra ? 431 : 0);
        buf_done(&b);
    }
}

static void finds_the_end(void **state)
{
    (void)state;
    const char *text = "GET / HTTP/1.1\r\nHost: a\r\n\r\nmore";
    size_t end = strlen(text) - 4;
    for (size_t n = 0; n <= strlen(text); n++) assert_int_equal(head_find_end(text, n), n < end ? 0 : end);
}

/* Two pieces, cut at every place. */
static int chunked(const char *text, size_t cut, size_t max, buf *body, bool *over)
{
    head_chunks c = { 0 };
    size_t used = 0, n = strlen(text);
    int code = 0;
    *over = false;
    buf_init(body, max);
    code = head_chunks_take(&c, text, cut, body, &used, over);
    if (code == 0 && !*over) {
        assert_int_equal(used, cut);
        code = head_chunks_take(&c, text + cut, n - cut, body, &used, over);
    }
    return code;
}

static void chunks(void **state)
{
    (void)state;
    const char *good = "5\r\nhello\r\n00a;x=\"y\"\r\n, world!!!\r\n0\r\nTrailer: z\r\n\r\n";
    static const char *const bad[] = { "\r\n", "g\r\n", "-5\r\nhello\r\n", "5\nhello\r\n0\r\n\r\n", "5\r\nhelloX\r\n", "5\r\nhello\r\r\n", "1000000000000000\r\n", "0\r\nX\n\r\n" };
    buf body;
    bool over;
    for (size_t cut = 0; cut <= strlen(good); cut++) {
        assert_int_equal(chunked(good, cut, 100, &body, &over), 0);
        assert_true(over);
        assert_string_equal(buf_text(&body), "hello, world!!!");
        buf_done(&body);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int code = chunked(bad[i], 0, 100, &body, &over);
        if (code != 400 && !(i == 6 && code == 413)) fail_msg("%d: %s", code, bad[i]);
        buf_done(&body);
    }
    assert_int_equal(chunked(good, 0, 14, &body, &over), 413);
    buf_done(&body);
    assert_int_equal(chunked("fffffffffffffff\r\n", 0, 100, &body, &over), 413);
    buf_done(&body);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(reads), cmocka_unit_test(refused), cmocka_unit_test(many_fields),
                                        cmocka_unit_test(finds_the_end), cmocka_unit_test(chunks) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
