/* Which tokens may come next in an answer (serving.md section 5): thought free, answer constrained.
 *
 * Phases follow each other by special tokens: a thought, then free text, a JSON value or tool calls, then the end.  Inside
 * JSON and calls an automaton over bytes decides; masks over the vocabulary come from walking its trie with it, and are
 * kept, so that the common ones cost a copy.  A value that repeats itself without end may once, in a string, not go on as it did; the
 * next time it is closed the shortest way that its schema allows. */
#ifndef FC_TEXT_GRAMMAR_H
#define FC_TEXT_GRAMMAR_H

#include "text/schema.h"
#include "text/trie.h"

enum { GRAMMAR_ROLLBACK_MAX = 32, GRAMMAR_TOOLS_MAX = 256 };

typedef enum grammar_choice { GRAMMAR_AUTO, GRAMMAR_NONE, GRAMMAR_REQUIRED } grammar_choice;

typedef struct grammar_opts {
    const tok *tok;               /* both borrowed as long as the grammar lives */
    const trie *trie;
    const schema *format;         /* JSON syntax, borrowed; NULL: the answer is free */
    int32_t format_node;
    const json_t *tools;          /* OpenAI's list, or NULL; not needed afterwards */
    grammar_choice choice;
    const char *named;            /* with GRAMMAR_REQUIRED: only this function; NULL: any */
    bool one_call;                /* no second call after the first */
    bool think;                   /* the answer may begin with a thought */
    bool in_thought;              /* the prompt ended inside one */
    const int32_t *ends;          /* ids that end an answer; copied */
    int32_t end_count;
} grammar_opts;

typedef struct grammar grammar;

/* *out owned: grammar_free.  E_ARG: a name that cannot be used, a format's schema that cannot; and in a function with
 * "strict": true, a schema that cannot be used or a keyword that is not enforced.  Other functions then take any arguments,
 * and grammar_unenforced names them. */
status grammar_new(grammar **out, const grammar_opts *o, err *e);
void   grammar_free(grammar *g);
/* Bit i of bits [trie->words]: token i may come next.  Never all zero.  The same until a token is accepted. */
void   grammar_mask(grammar *g, uint64_t *bits);
/* The token was chosen.  E_ARG: it may not come (the grammar is as before). */
status grammar_accept(grammar *g, int32_t id, err *e);
/* Takes the last n tokens back; false: more than GRAMMAR_ROLLBACK_MAX, or than there were. */
bool   grammar_rollback(grammar *g, int32_t n);
/* The answer could end here. */
bool   grammar_can_end(const grammar *g);
/* Keywords of the tools' schemas that are not enforced; "" when all are. */
const char *grammar_unenforced(const grammar *g);
/* What went wrong with the answer, or NULL. */
const char *grammar_warning(const grammar *g);

#endif
