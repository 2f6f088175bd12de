/* UTF-8: decode, encode, validate; width in terminal columns. */
#ifndef FC_BASE_UTF8_H
#define FC_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Length 1..4 of the valid sequence at p (n bytes left) and its code point; 0 when invalid or cut. */
int utf8_decode(const char *p, size_t n, uint32_t *cp);
int utf8_encode(uint32_t cp, char out[4]);          /* 1..4; surrogates and > 0x10FFFF give U+FFFD */
bool utf8_valid(const char *p, size_t n);
/* How many bytes at the end of [p, p+n) begin a sequence that could still become valid: 0..3. */
size_t utf8_incomplete_tail(const char *p, size_t n);
/* Copies p[0..n) for a terminal: control characters and invalid bytes become '?', what does not fit is left out.  out [cap > 0]. */
const char *utf8_plain(char *out, size_t cap, const char *p, size_t n);
/* Columns that a terminal needs for the text (wcwidth of each code point, invalid bytes 1). */
int utf8_width(const char *p, size_t n);

#endif
