/* From one row of logits to one token: penalties and bias, temperature, top-k, top-p, min-p, draw.
 *
 * The order and the meaning of each step are those of Hugging Face's logits processors.  The draw number n of a seed is
 * a pure function of both, so a text depends neither on threads nor on the other requests.  No full sort: a heap finds
 * the k likeliest of V in one pass. */
#ifndef FC_RUN_SAMPLE_H
#define FC_RUN_SAMPLE_H

#include "base/err.h"

enum { SAMPLE_LOGPROBS_MAX = 20 };

typedef struct sample_state sample_state;

/* A token that may be drawn. */
typedef struct sample_candidate { float logit; int32_t id; } sample_candidate;

/* E_ARG when a parameter makes no sense.  Copies what it needs of s.  suppress: ids that are never drawn.
 * *out owned: sample_free. */
status sample_new(sample_state **out, const facet_sampling *s, const int32_t *suppress, int32_t suppress_count, int32_t vocab, err *e);
void   sample_free(sample_state *x);
/* Tells the penalties about a token of the prompt or of the answer. */
void   sample_seen(sample_state *x, int32_t id, bool answer);
/* *id: the next token, draw number n.  logits [vocab] are changed; scratch [vocab] belongs to the caller.
 * E_INTERNAL when no token has a finite score. */
status sample_pick(const sample_state *x, uint64_t n, float *logits, sample_candidate *scratch, int32_t *id, err *e);

/* Forbids the tokens whose bit is not set and those beyond the words: their logits become -infinity. */
void   sample_mask(float *logits, int32_t vocab, const uint64_t *bits, size_t words);

/* The likeliest token, the lowest id of equals; -1 when none is finite. */
int32_t sample_likeliest(const float *logits, int32_t vocab);
/* out[0..n): the n likeliest tokens (n at most SAMPLE_LOGPROBS_MAX), falling, equals by rising id, with their
 * log-probabilities; chosen->logprob is filled for chosen->id.  Returns how many there are: min(n, finite logits). */
int32_t sample_logprobs(const float *logits, int32_t vocab, facet_logprob *chosen, facet_logprob *out, int32_t n);

#endif
