#include "serve/gate.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/hash.h"
#include "base/mem.h"
#include "os/file.h"

enum { ORIGINS_MAX = 64, FILE_MAX = 1 << 20 };

typedef struct key { unsigned char bytes[GATE_KEY_MAX]; size_t n; } key;     /* zeros after n */

struct gate {
    key *keys;
    size_t key_count;
    char *origins[ORIGINS_MAX];
    size_t origin_count;
    bool loopback;
    char host[256], own[256];
};

/* ---- setting up -------------------------------------------------------------------------------- */

bool gate_is_loopback(const char *host)
{
    return strncmp(host, "127.", 4) == 0 || strcmp(host, "::1") == 0 || strcasecmp(host, "localhost") == 0;
}

status gate_new(gate **out, const char *host, err *e)
{
    gate *a = mem_alloc(sizeof *a, MEM_OTHER);
    if (!a) return err_set(e, E_NOMEM, "could not set up keys\nout of memory");
    a->loopback = gate_is_loopback(host);
    snprintf(a->host, sizeof a->host, "%s", host);
    if (gethostname(a->own, sizeof a->own - 1) != 0) a->own[0] = '\0';
    *out = a;
    return OK;
}

void gate_free(gate *a)
{
    if (!a) return;
    for (size_t i = 0; i < a->origin_count; i++) mem_free(a->origins[i]);
    if (a->keys) explicit_bzero(a->keys, a->key_count * sizeof *a->keys);
    mem_free(a->keys);
    mem_free(a);
}

size_t gate_keys(const gate *a) { return a->key_count; }

static status add_key(gate *a, str text, err *e)
{
    if (text.n < 8 || text.n > GATE_KEY_MAX)
        return err_set(e, E_ARG, "cannot use an API key of %zu characters\nkeys have 8 to %d\nMake one with: openssl rand -hex 24", text.n, (int)GATE_KEY_MAX);
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] <= 32 || text.p[i] >= 127) return err_set(e, E_ARG, "cannot use an API key with a space or a control character in it");
    if (a->key_count == GATE_KEYS_MAX) return err_set(e, E_ARG, "cannot use more than %d API keys", (int)GATE_KEYS_MAX);
    key *p = mem_resize(a->keys, (a->key_count + 1) * sizeof *p, MEM_OTHER);
    if (!p) return err_set(e, E_NOMEM, "could not set up keys\nout of memory");
    a->keys = p;
    p[a->key_count] = (key){ .n = text.n };
    memcpy(p[a->key_count++].bytes, text.p, text.n);
    return OK;
}

status gate_add_key(gate *a, const char *text, err *e) { return add_key(a, str_from(text), e); }

status gate_read_keys(gate *a, const char *path, err *e)
{
    status st = OK;
    struct stat s;
    buf b;
    size_t before = a->key_count;
    buf_init(&b, FILE_MAX);
    if (stat(path, &s) != 0) FAIL(e, E_IO, "could not read the key file \"%s\"\n%s", path, strerror(errno));
    if (s.st_mode & (S_IRWXG | S_IRWXO) & ~S_IRGRP)
        FAIL(e, E_ARG, "cannot trust the key file \"%s\"\nothers may read or change it (mode %03o)\nRun: chmod 600 %s", path, (unsigned)s.st_mode & 0777, path);
    TRY(file_read_all(&b, path, e));
    str rest = { buf_text(&b), b.len }, line;
    while (str_split(&rest, '\n', &line)) {
        while (line.n && (line.p[line.n - 1] == '\r' || line.p[line.n - 1] == ' ')) line.n--;
        if (line.n && line.p[0] != '#') TRY(add_key(a, line, e));
    }
    if (a->key_count == before) FAIL(e, E_ARG, "cannot use the key file \"%s\"\nit has no key in it", path);
out:
    if (b.data) explicit_bzero(b.data, b.len);
    buf_done(&b);
    return st;
}

status gate_add_origin(gate *a, const char *origin, err *e)
{
    if (a->origin_count == ORIGINS_MAX) return err_set(e, E_ARG, "cannot allow more than %d origins", (int)ORIGINS_MAX);
    if (!strstr(origin, "://") || origin[strlen(origin) - 1] == '/')
        return err_set(e, E_ARG, "cannot allow the origin \"%s\"\nan origin is a scheme and a host\nExample: --origin https://chat.example.org", origin);
    char *copy = mem_strdup(origin, strlen(origin), MEM_OTHER);
    if (!copy) return err_set(e, E_NOMEM, "could not set up origins\nout of memory");
    a->origins[a->origin_count++] = copy;
    return OK;
}

/* ---- keys -------------------------------------------------------------------------------------- */

/* "Authorization: Bearer KEY" and "x-api-key: KEY": which of them comes depends on the client, not on the route. */
static int match(const gate *a, str given)
{
    unsigned char padded[GATE_KEY_MAX] = { 0 };
    int found = -1;
    memcpy(padded, given.p, MIN(given.n, sizeof padded));
    for (size_t i = 0; i < a->key_count; i++) {
        const key *k = &a->keys[i];
        volatile unsigned difference = (unsigned)(k->n != given.n);
        for (size_t b = 0; b < sizeof padded; b++) difference |= (unsigned)(padded[b] ^ k->bytes[b]);
        int hit = -(int)(difference == 0);                   /* all ones when equal */
        found = (hit & (int)i) | (~hit & found);
    }
    return found;
}

int gate_key(const gate *a, const head *h)
{
    if (a->key_count == 0) return 0;
    const str *bearer = head_find(h, "Authorization"), *plain = head_find(h, "x-api-key");
    int found = -1;
    if (bearer && bearer->n > 7 && strncasecmp(bearer->p, "Bearer ", 7) == 0) found = match(a, str_skip(*bearer, 7));
    if (found < 0 && plain) found = match(a, *plain);
    return found;
}

uint64_t gate_scope(const gate *a, const head *h)
{
    int number = gate_key(a, h);
    return a->key_count == 0 || number < 0 ? 0 : hash_bytes(a->keys[number].bytes, a->keys[number].n, 1) | 1;     /* 0 is nobody's */
}

/* ---- Host and Origin ----------------------------------------------------------------------------- */

/* The host of "host:port", "[::1]:port"; false when what follows it is no port. */
static bool split_host(str s, str *host)
{
    size_t end = str_starts(s, "[") ? str_find(s, STR("]")) : str_find(s, STR(":"));
    if (str_starts(s, "[")) {
        if (end == s.n) return false;
        *host = (str){ s.p + 1, end - 1 };
        end++;
    } else {
        *host = (str){ s.p, end };
    }
    str port = str_skip(s, end);
    if (port.n == 0) return host->n > 0;
    if (port.p[0] != ':' || port.n > 6) return false;
    for (size_t i = 1; i < port.n; i++)
        if (port.p[i] < '0' || port.p[i] > '9') return false;
    return host->n > 0;
}

static bool ends_in(str s, const char *tail)
{
    size_t n = strlen(tail);
    return s.n > n && strncasecmp(s.p + s.n - n, tail, n) == 0;
}

static bool is_local(str host)
{
    bool four = str_starts(host, "127.");
    for (size_t i = 0; four && i < host.n; i++) four = (host.p[i] >= '0' && host.p[i] <= '9') || host.p[i] == '.';
    return four || str_is(host, "::1") || head_same(host, "localhost") || ends_in(host, ".localhost");
}

bool gate_host(const gate *a, const head *h)
{
    const str *field = head_find(h, "Host");
    str host;
    if (!a->loopback) return true;
    if (!field) return h->minor == 0;
    if (!split_host(*field, &host)) return false;
    return is_local(host) || ends_in(host, ".local") || ends_in(host, ".internal") || head_same(host, a->host) || (a->own[0] && head_same(host, a->own));
}

/* This server's own page, asked for by another machine.  A name that an attacker's DNS points here looks the same, so without keys
 * only an address counts. */
static bool is_own(const gate *a, const head *h, str authority, str host)
{
    const str *own = head_find(h, "Host");
    bool address = str_find(host, STR(":")) < host.n;
    if (a->loopback || !own || own->n != authority.n || strncasecmp(own->p, authority.p, own->n) != 0) return false;
    for (size_t i = 0; !address && i < host.n; i++)
        if (host.p[i] != '.' && (host.p[i] < '0' || host.p[i] > '9')) return a->key_count > 0;
    return true;
}

bool gate_origin(const gate *a, const head *h)
{
    const str *origin = head_find(h, "Origin");
    str host;
    if (!origin) return true;
    for (size_t i = 0; i < a->origin_count; i++)
        if (head_same(*origin, a->origins[i])) return true;
    size_t at = str_find(*origin, STR("://"));
    if (at == origin->n || !split_host(str_skip(*origin, at + 3), &host)) return false;
    return is_local(host) || is_own(a, h, str_skip(*origin, at + 3), host);
}
