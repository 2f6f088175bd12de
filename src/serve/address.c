#include "serve/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>

static const unsigned char mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF };

static bool is_four(const address *a) { return memcmp(a->b, mapped, sizeof mapped) == 0; }

static address four(const void *bytes)
{
    address a;
    memcpy(a.b, mapped, sizeof mapped);
    memcpy(a.b + sizeof mapped, bytes, 4);
    return a;
}

address address_from(const struct sockaddr *sa)
{
    address a = { { 0 } };
    if (sa->sa_family == AF_INET) return four(&((const struct sockaddr_in *)(const void *)sa)->sin_addr);
    if (sa->sa_family == AF_INET6) memcpy(a.b, &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr, sizeof a.b);
    return a;
}

/* Without brackets and port. */
static bool parse_plain(str text, address *out)
{
    char copy[64];
    unsigned char bytes[16];
    if (text.n == 0 || text.n >= sizeof copy || memchr(text.p, 0, text.n)) return false;
    memcpy(copy, text.p, text.n);
    copy[text.n] = '\0';
    if (inet_pton(AF_INET, copy, bytes) == 1) *out = four(bytes);
    else if (inet_pton(AF_INET6, copy, bytes) == 1) memcpy(out->b, bytes, sizeof out->b);
    else return false;
    return true;
}

bool address_parse(str text, address *out)
{
    size_t colon = str_find(text, STR(":"));
    if (str_starts(text, "[")) {
        size_t end = str_find(text, STR("]"));
        return end < text.n && (end + 1 == text.n || text.p[end + 1] == ':') && parse_plain((str){ text.p + 1, end - 1 }, out);
    }
    bool port = colon < text.n && str_find(str_skip(text, colon + 1), STR(":")) == text.n - colon - 1;      /* one colon alone: IPv4 with a port */
    return parse_plain(port ? (str){ text.p, colon } : text, out);
}

bool address_parse_range(str text, address_range *out)
{
    size_t slash = str_find(text, STR("/"));
    int64_t bits = 0;
    if (!parse_plain((str){ text.p, slash }, &out->base)) return false;
    bool v4 = is_four(&out->base);
    if (slash < text.n && str_to_i64(str_skip(text, slash + 1), "bits", 0, v4 ? 32 : 128, &bits, NULL) != OK) return false;
    out->bits = slash == text.n ? 128 : (int)bits + (v4 ? 96 : 0);
    return true;
}

bool address_is_in(const address *a, const address_range *r)
{
    int whole = r->bits / 8, rest = r->bits % 8;
    if (memcmp(a->b, r->base.b, (size_t)whole) != 0) return false;
    return rest == 0 || ((a->b[whole] ^ r->base.b[whole]) & (0xFF << (8 - rest)) & 0xFF) == 0;
}

bool address_is_loopback(const address *a)
{
    static const address one = { { [15] = 1 } };
    return is_four(a) ? a->b[12] == 127 : address_same(a, &one);
}

address address_client(const address *a)
{
    address c = *a;
    if (!is_four(a)) memset(c.b + 8, 0, 8);
    return c;
}

bool address_same(const address *a, const address *b) { return memcmp(a->b, b->b, sizeof a->b) == 0; }

void address_print(const address *a, char *out, size_t cap)
{
    if (is_four(a)) inet_ntop(AF_INET, a->b + sizeof mapped, out, (socklen_t)cap);
    else inet_ntop(AF_INET6, a->b, out, (socklen_t)cap);
}
