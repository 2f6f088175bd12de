/* (pointer, length) views of text, and number parsing that reports what is wrong. */
#ifndef FC_BASE_STR_H
#define FC_BASE_STR_H

#include <string.h>

#include "base/err.h"

typedef struct str { const char *p; size_t n; } str;   /* borrowed, not terminated */

#define STR(lit) ((str){ (lit), sizeof(lit) - 1 })
static inline str str_from(const char *s) { return (str){ s, s ? strlen(s) : 0 }; }
static inline bool str_eq(str a, str b) { return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0); }
static inline bool str_is(str a, const char *s) { return str_eq(a, str_from(s)); }
static inline bool str_starts(str a, const char *s) { size_t n = strlen(s); return a.n >= n && memcmp(a.p, s, n) == 0; }
static inline bool str_ends(str a, const char *s) { size_t n = strlen(s); return a.n >= n && memcmp(a.p + a.n - n, s, n) == 0; }
static inline str str_skip(str a, size_t n) { return (str){ a.p + n, a.n - n }; }
/* Position of needle in a, or a.n. */
size_t str_find(str a, str needle);
/* Cuts off the text before the first sep into *part; false when *rest was used up before. */
bool str_split(str *rest, char sep, str *part);

/* The whole text must be a number in [min, max]; the error names `what` and shows the text. */
status str_to_i64(str s, const char *what, int64_t min, int64_t max, int64_t *out, err *e);
status str_to_f64(str s, const char *what, double min, double max, double *out, err *e);
/* "512", "64K", "1.5G", "300MB", "2GiB": bytes, K/M/G = 1024-based. */
status str_to_bytes(str s, const char *what, uint64_t *out, err *e);

#endif
