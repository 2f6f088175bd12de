/* The inside of a tokenizer, for the files that build and use it. */
#ifndef FC_TEXT_TOK_INT_H
#define FC_TEXT_TOK_INT_H

#include "text/tok.h"

/* The numbers of the GGUF key tokenizer.ggml.token_type. */
typedef enum tok_kind { TOK_NORMAL = 1, TOK_UNKNOWN, TOK_CONTROL, TOK_USER_DEFINED, TOK_UNUSED, TOK_BYTE } tok_kind;

/* One merge in an open-addressing table; left is id + 1, so that 0 marks an empty slot. */
typedef struct tok_merge { uint32_t left, right, rank; } tok_merge;

enum { TOK_PAIR_BITS = 20, TOK_LENGTHS_MAX = 64 };

struct tok {
    int32_t count;
    buf blob;                        /* pieces, then the texts that differ from their piece */
    uint32_t *piece_at, *text_at;    /* [count] offsets into blob */
    uint16_t *piece_n, *text_n;      /* [count] bytes */
    uint8_t *kind;                   /* [count] tok_kind */
    uint32_t *index; uint32_t index_mask;     /* spelling -> id + 1 in the low 24 bits, 8 bits of the hash above */
    tok_merge *merges; uint32_t merge_mask;
    uint32_t *result;                /* [merge_count] rank -> merged id */
    uint32_t merge_count, merge_cap;
    uint64_t *pairs;                 /* bit set of (last, first) code points that some merge joins */
    int32_t ascii[128];              /* id of each one-character piece, or -1 */
    int32_t byte[256];               /* id of <0xXX>, or -1 */
    uint16_t special_n[TOK_LENGTHS_MAX]; int special_lengths;   /* lengths of the special tokens, longest first */
    bool special_first[256];         /* bytes with which one begins */
    tok_special special;
};

/* Building, in this order: tok_begin, tok_set for each id, tok_seal, then merges in order of rank. */
status tok_begin(tok **out, uint64_t count, err *e);
status tok_set(tok *t, int32_t id, str piece, tok_kind kind, err *e);
status tok_seal(tok *t, err *e);
status tok_merges_begin(tok *t, uint64_t count, err *e);   /* forgets those that are there */
/* Skips a merge of which a half or the whole is no token (section 4.1), and one that is there already. */
void   tok_merge_add(tok *t, str left, str right);
/* scores: NULL, or [count]. */
status tok_merges_regenerate(tok *t, const float *scores, err *e);

/* Rank of the merge, UINT32_MAX when there is none. */
uint32_t tok_merge_rank(const tok *t, int32_t left, int32_t right);
uint64_t *tok_pair_word(const tok *t, uint32_t a, uint32_t b, uint64_t *bit);

#endif
