/* Addresses: how clients and proxies write them, ranges, who counts as one client. */
#include "serve/address.h"

#include "support/test.h"

static address parsed(const char *text)
{
    address a;
    if (!address_parse(str_from(text), &a)) fail_msg("%s is an address", text);
    return a;
}

static void as_proxies_write_them(void **state)
{
    (void)state;
    static const struct { const char *text, *printed; } good[] = {
        { "192.0.2.1", "192.0.2.1" }, { "192.0.2.1:8080", "192.0.2.1" }, { "2001:DB8::1", "2001:db8::1" }, { "[2001:db8::1]", "2001:db8::1" },
        { "[2001:db8::1]:443", "2001:db8::1" }, { "::ffff:192.0.2.1", "192.0.2.1" }, { "::1", "::1" }, { "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8" } };
    static const char *const bad[] = { "", "unknown", "_hidden", "192.0.2", "192.0.2.256", "192.0.2.1.1", "[2001:db8::1", "2001:db8::1]", "[]", "[::1]x", ":", ":80", "1:2:3:4:5:6:7:8:9",
                                       "192.0.2.1 ", "fe80::1%eth0", "2001:0db8:0000:0000:0000:0000:0000:0001:0000:0000:0000:0000:0000:0000:0000" };
    char text[64];
    address a;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        a = parsed(good[i].text);
        address_print(&a, text, sizeof text);
        assert_string_equal(text, good[i].printed);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (address_parse(str_from(bad[i]), &a)) fail_msg("%s is no address", bad[i]);
    assert_false(address_parse((str){ "192.0.2.1\0x", 11 }, &a));
}

static void ranges(void **state)
{
    (void)state;
    static const struct { const char *range, *address; bool in; } all[] = {
        { "10.0.0.0/8", "10.255.1.2", true }, { "10.0.0.0/8", "11.0.0.0", false }, { "192.0.2.1", "192.0.2.1", true }, { "192.0.2.1", "192.0.2.2", false },
        { "172.16.0.0/12", "172.31.255.255", true }, { "172.16.0.0/12", "172.32.0.0", false }, { "0.0.0.0/0", "8.8.8.8", true }, { "0.0.0.0/0", "2001:db8::1", false },
        { "fd00::/8", "fdff::1", true }, { "fd00::/8", "fe00::1", false }, { "2001:db8::/33", "2001:db8:7fff::", true }, { "2001:db8::/33", "2001:db8:8000::", false },
        { "::1", "::1", true }, { "::/0", "192.0.2.1", true }, { "192.0.2.1/32", "192.0.2.1", true } };
    static const char *const bad[] = { "", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "fd00::/129", "10.0.0.0/8/8", "proxy.example.org", "/8", "10.0.0.0:80/8" };
    address_range r;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        address a = parsed(all[i].address);
        assert_true(address_parse_range(str_from(all[i].range), &r));
        if (address_is_in(&a, &r) != all[i].in) fail_msg("%s in %s", all[i].address, all[i].range);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (address_parse_range(str_from(bad[i]), &r)) fail_msg("%s is no range", bad[i]);
}

static bool one_client(const char *x, const char *y)
{
    address a = parsed(x), b = parsed(y), ca = address_client(&a), cb = address_client(&b);
    return address_same(&ca, &cb);
}

static void one_subscriber(void **state)
{
    (void)state;
    assert_true(one_client("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff"));
    assert_false(one_client("2001:db8:1:2::1", "2001:db8:1:3::1"));
    assert_false(one_client("192.0.2.1", "192.0.2.2"));
    assert_true(one_client("192.0.2.1", "::ffff:192.0.2.1"));
    static const char *const own[] = { "127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1" }, *const others[] = { "128.0.0.1", "::2", "::127.0.0.1", "2001:db8::1" };
    for (int i = 0; i < 4; i++) {
        address a = parsed(own[i]), b = parsed(others[i]);
        assert_true(address_is_loopback(&a));
        assert_false(address_is_loopback(&b));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(as_proxies_write_them), cmocka_unit_test(ranges), cmocka_unit_test(one_subscriber) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
