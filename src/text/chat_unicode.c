#include "text/chat_unicode.h"

#include "base/bits.h"
#include "base/utf8.h"

typedef struct case_run { uint32_t first, last; int32_t step, delta; } case_run;   /* every step-th one moves by delta */
typedef struct case_word { uint32_t cp; const char *to; } case_word;               /* becomes several characters */
typedef struct cp_range { uint32_t first, last; } cp_range;
#include "text/chat_unicode.inc"

static const case_run *run_of(const case_run *r, size_t n, uint32_t cp)
{
    while (n > 0) {
        const case_run *mid = r + n / 2;
        if (cp < mid->first) n /= 2;
        else if (cp > mid->last) r = mid + 1, n -= n / 2 + 1;
        else return (cp - mid->first) % (uint32_t)mid->step == 0 ? mid : NULL;
    }
    return NULL;
}

typedef struct mapping { const case_run *runs; size_t run_count; const case_word *words; size_t word_count; char first; } mapping;
static const mapping UPPER = { upper_runs, COUNT_OF(upper_runs), upper_words, COUNT_OF(upper_words), 'a' };
static const mapping LOWER = { lower_runs, COUNT_OF(lower_runs), lower_words, COUNT_OF(lower_words), 'A' };

static status map_case(buf *out, str s, const mapping *m, err *e)
{
    status st = OK;
    uint32_t cp = 0;
    for (size_t i = 0; i < s.n;) {
        int n = utf8_decode(s.p + i, s.n - i, &cp);
        char c[4];
        str piece = { s.p + i, n ? (size_t)n : 1 };
        i += piece.n;
        if (n == 1) {
            c[0] = (char)(cp >= (uint32_t)m->first && cp < (uint32_t)m->first + 26 ? cp ^ 0x20 : cp);
            piece = (str){ c, 1 };
        } else if (n > 1) {
            const case_run *r = run_of(m->runs, m->run_count, cp);
            if (r) piece = (str){ c, (size_t)utf8_encode((uint32_t)((int32_t)cp + r->delta), c) };
            for (size_t k = 0; k < m->word_count; k++)
                if (m->words[k].cp == cp) piece = str_from(m->words[k].to);
        }
        TRY(buf_add(out, piece.p, piece.n, e));
    }
out:
    return st;
}

status chat_unicode_upper(buf *out, str s, err *e) { return map_case(out, s, &UPPER, e); }
status chat_unicode_lower(buf *out, str s, err *e) { return map_case(out, s, &LOWER, e); }

static bool is_space(uint32_t cp)
{
    return (cp >= 0x09 && cp <= 0x0D) || (cp >= 0x1C && cp <= 0x20) || cp == 0x85 || cp == 0xA0 || cp == 0x1680 ||
           (cp >= 0x2000 && cp <= 0x200A) || cp == 0x2028 || cp == 0x2029 || cp == 0x202F || cp == 0x205F || cp == 0x3000;
}

str chat_unicode_trim(str s)
{
    uint32_t cp;
    int n;
    while (s.n && (n = utf8_decode(s.p, s.n, &cp)) > 0 && is_space(cp)) s = str_skip(s, (size_t)n);
    while (s.n) {
        size_t k = 1;
        while (k < 4 && k < s.n && ((unsigned char)s.p[s.n - k] & 0xC0) == 0x80) k++;
        if (utf8_decode(s.p + s.n - k, k, &cp) != (int)k || !is_space(cp)) break;
        s.n -= k;
    }
    return s;
}

bool chat_unicode_printable(uint32_t cp)
{
    if (cp < 0x80) return cp >= 0x20 && cp < 0x7F;
    size_t n = COUNT_OF(unprintable);
    for (const cp_range *r = unprintable; n > 0;) {
        const cp_range *mid = r + n / 2;
        if (cp < mid->first) n /= 2;
        else if (cp > mid->last) r = mid + 1, n -= n / 2 + 1;
        else return false;
    }
    return true;
}
