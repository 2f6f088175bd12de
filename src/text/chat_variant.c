/* Which template a file carries. */
#include "base/bits.h"
#include "text/chat.h"

typedef enum sizes { SIZES_EDGE, SIZES_LARGE, SIZES_ANY } sizes;

/* Google's templates and llama.cpp's early replacement, by a hash of their text without white space (copies differ in
 * line ends and a final newline).  A hash and not a search for features: a template that somebody has changed looks
 * like Google's but prints something else, and deserves the warning. */
static const struct { uint64_t hash; sizes for_sizes; } KNOWN[] = {
    { 0x52CD53D9439852DF, SIZES_LARGE },    /* 2026-07-09, 12B, 26B-A4B, 31B */
    { 0xC832CF7F20D2799E, SIZES_EDGE },     /* 2026-07-09, E2B, E4B */
    { 0x9CF1331B1D9729F2, SIZES_LARGE },    /* 2026-04, 31B, after the first fix */
    { 0x595A5D863C31CAC7, SIZES_LARGE },    /* 2026-04, interleaved, llama.cpp's */
    { 0x43980CA46578D6C9, SIZES_ANY },      /* 2026-04, launch day, without the empty thought */
    { 0x359ACA5AAF7723FB, SIZES_LARGE },    /* 2026-04, launch day, 26B-A4B */
};

/* FNV-1a over everything but white space. */
static uint64_t hash_of(str s)
{
    uint64_t h = 0xCBF29CE484222325u;
    for (size_t i = 0; i < s.n; i++)
        if (!memchr(" \t\r\n", s.p[i], 4)) h = (h ^ (unsigned char)s.p[i]) * 0x100000001B3u;
    return h;
}

chat_variant chat_variant_of(str template_text, bool large_model, bool *known)
{
    uint64_t h = hash_of(template_text);
    sizes found = SIZES_ANY;
    bool hit = false;
    for (size_t i = 0; i < COUNT_OF(KNOWN); i++)
        if (KNOWN[i].hash == h) found = KNOWN[i].for_sizes, hit = true;
    if (known) *known = hit;
    if (found == SIZES_ANY) return large_model ? CHAT_LARGE : CHAT_EDGE;
    return found == SIZES_LARGE ? CHAT_LARGE : CHAT_EDGE;
}
