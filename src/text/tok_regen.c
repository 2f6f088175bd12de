/* Merges for a vocabulary that comes without: every way to cut a piece into two other pieces is one, as Hugging
 * Face's converter makes them from a SentencePiece model (section 4.1). */
#include <stdlib.h>

#include "base/bits.h"
#include "base/utf8.h"
#include "text/tok_int.h"

typedef struct cut {
    int32_t id;
    float score;
    uint16_t left, right;     /* in characters */
    uint16_t left_bytes;
} cut;

static size_t char_bytes(str s, size_t i)
{
    uint32_t cp;
    int n = utf8_decode(s.p + i, s.n - i, &cp);
    return n ? (size_t)n : 1;
}

/* Higher score first, then the longer left half, the longer right half, the lower id. */
static int by_score(const void *pa, const void *pb)
{
    const cut *a = pa, *b = pb;
    if (a->score != b->score) return a->score > b->score ? -1 : 1;
    if (a->left != b->left) return a->left > b->left ? -1 : 1;
    if (a->right != b->right) return a->right > b->right ? -1 : 1;
    return (a->id > b->id) - (a->id < b->id);
}

/* Runs of newlines, spaces or tabs: Gemma's SentencePiece model gave them the score 0, the highest. */
static bool is_blank_run(str s)
{
    size_t n = char_bytes(s, 0);
    if (!str_eq((str){ s.p, n }, STR("\n")) && !str_eq((str){ s.p, n }, STR("\t")) && !str_eq((str){ s.p, n }, STR("\xE2\x96\x81"))) return false;
    for (size_t i = n; i < s.n; i += n)
        if (s.n - i < n || memcmp(s.p, s.p + i, n) != 0) return false;
    return true;
}

/* Files converted for llama.cpp say -1000 for every token.  Gemma's scores fall with the id. */
static bool scores_say_something(const float *scores, int32_t n)
{
    for (int32_t i = 1; scores && i < n; i++)
        if (scores[i] != scores[0] && scores[i] == scores[i]) return true;
    return false;
}

/* The cuts of one piece of n characters, written to out (room for n - 1); returns their number. */
static size_t cuts_of(const tok *t, int32_t id, float score, cut *out)
{
    str s = tok_piece(t, id);
    size_t n = 0, chars = 0, k = 0;
    for (size_t i = 0; i < s.n; i += char_bytes(s, i)) chars++;
    for (size_t i = char_bytes(s, 0), left = 1; i < s.n; i += char_bytes(s, i), left++) {
        if (tok_find(t, (str){ s.p, i }) < 0 || tok_find(t, str_skip(s, i)) < 0) continue;
        out[n++] = (cut){ id, score, (uint16_t)left, (uint16_t)(chars - left), (uint16_t)i };
        k++;
    }
    return k;
}

status tok_merges_regenerate(tok *t, const float *scores, err *e)
{
    status st = OK;
    cut *cuts = NULL;
    size_t n = 0, room = 0;
    bool use_scores = scores_say_something(scores, t->count);
    for (int32_t id = 0; id < t->count; id++)
        if (t->kind[id] == TOK_NORMAL) room += t->piece_n[id];
    cuts = mem_array(room, sizeof *cuts, MEM_TEXT);
    if (!cuts) FAIL(e, E_NOMEM, "could not regenerate the merges\nout of memory");
    for (int32_t id = 0; id < t->count; id++) {
        if (t->kind[id] != TOK_NORMAL || t->piece_n[id] < 2) continue;
        float score = use_scores ? scores[id] : is_blank_run(tok_piece(t, id)) ? 0.0f : -1.0f - (float)id;
        n += cuts_of(t, id, score == score ? score : 0.0f, cuts + n);
    }
    qsort(cuts, n, sizeof *cuts, by_score);
    TRY(tok_merges_begin(t, n, e));
    for (size_t i = 0; i < n; i++) {
        str s = tok_piece(t, cuts[i].id);
        tok_merge_add(t, (str){ s.p, cuts[i].left_bytes }, str_skip(s, cuts[i].left_bytes));
    }
out:
    mem_free(cuts);
    return st;
}
