/* The head of an HTTP/1.1 request (RFC 9112): bytes to method, path, fields; and the framing of its body.
 *
 * Strict where leniency has let requests be smuggled past proxies: lines end with CRLF, no folded lines, no space before a
 * colon, one Content-Length or chunked and never both.  Knows no sockets, so that it can be fuzzed. */
#ifndef FC_SERVE_HEAD_H
#define FC_SERVE_HEAD_H

#include "base/buf.h"
#include "base/str.h"

enum { HEAD_BYTES_MAX = 16 << 10, HEAD_FIELDS_MAX = 100 };

typedef struct head_field { str name, value; } head_field;

typedef struct head {
    str method, path, query;      /* path without the query, percent signs as they came */
    int minor;                    /* HTTP/1.minor: 0 or 1 */
    head_field fields[HEAD_FIELDS_MAX];
    size_t count;
    bool keep_alive;              /* the client wants to ask more on this connection */
    bool chunked;                 /* body in chunks; otherwise of `length` bytes */
    bool expect_continue;
    uint64_t length;
} head;

/* The bytes up to and with the empty line that ends the head in p[0..n); 0: not complete yet. */
size_t head_find_end(const char *p, size_t n);
/* Reads a whole head of n bytes.  0, or the HTTP status to refuse it with and a sentence in *why.  All texts are borrowed
 * from p. */
int  head_parse(head *out, const char *p, size_t n, const char **why);
/* The value of a field, names without regard to case; NULL when it is absent. */
const str *head_find(const head *h, const char *name);
/* The comma-separated field `name` has this word in it, without regard to case. */
bool head_has_word(const head *h, const char *name, const char *word);
/* What stands behind the last slash of the path, %XX taken as the byte that it means.  False: longer than cap - 1, or with a NUL in it. */
bool head_last_part(const head *h, char *out, size_t cap);
/* Same letters, without regard to case of ASCII. */
bool head_same(str a, const char *b);

/* A chunked body, taken apart piece by piece. */
typedef struct head_chunks { int state; uint64_t left; size_t line; } head_chunks;   /* {0} at the start */
/* Takes what it can of p[0..n), appending content to *body (its max is the limit).  *used: bytes taken; *over: the body is
 * complete.  0, or the HTTP status to refuse it with: 400, 413. */
int  head_chunks_take(head_chunks *c, const char *p, size_t n, buf *body, size_t *used, bool *over);

#endif
