/* Answers to many schemas, drawn and given, with the mask of each of their tokens over Gemma 4's vocabulary: the same ones each time,
 * so that masks can be compared with those of before (tests/unit/test_masks.c) and with those of another program
 * (tests/gen/mk_masks.c, tests/oracle/masks.py). */
#ifndef FC_TESTS_SUPPORT_MASK_WALKS_H
#define FC_TESTS_SUPPORT_MASK_WALKS_H

#include "base/json.h"
#include "text/grammar.h"

#define MASK_WALKS_SCHEMAS "tests/data/masks/schemas.json"

typedef struct mask_walks_step {
    int32_t schema, walk, step;
    int32_t id;                  /* the token that follows, -1: the walk ends here */
    const uint64_t *bits;        /* [words] its mask */
    size_t words;
} mask_walks_step;

/* The list of MASK_WALKS_SCHEMAS: objects with name, schema, texts.  Owned: json_decref.  Ends the program when that fails, as
 * the others do. */
json_t *mask_walks_schemas(void);
/* Its i-th schema compiled.  *s owned: schema_free. */
void mask_walks_compile(const json_t *schemas, size_t i, schema **s, int32_t *node);
/* All walks of all schemas, in order. */
void mask_walks_run(const json_t *schemas, const tok *t, const trie *x, void (*seen)(void *user, const mask_walks_step *), void *user);
/* What a golden keeps of all that: a line for each walk, with how many tokens each step allows and a hash of which, and of the
 * tokens that were drawn.  *out: buf_done. */
void mask_walks_golden(buf *out);

#endif
