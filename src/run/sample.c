#include "run/sample.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/mem.h"
#include "base/rng.h"

/* counts[id]: occurrences in the answer; the top bit says that the prompt or the answer has the token. */
enum { SEEN_BIT = 31 };
#define SEEN (1u << SEEN_BIT)

struct sample_state {
    facet_sampling s;
    facet_bias *bias;
    int32_t *suppress;
    int32_t suppress_count, vocab;
    uint32_t *counts;          /* [vocab], NULL without penalties */
    int32_t *seen;             /* ids with a count, in order of appearance; [vocab] */
    int32_t seen_count;
};

static status check(const facet_sampling *s, int32_t vocab, err *e)
{
    status st = OK;
    if (!(s->temperature >= 0) || !isfinite(s->temperature)) FAIL(e, E_ARG, "temperature cannot be %g\nit is 0 or more", (double)s->temperature);
    if (s->top_k < 0) FAIL(e, E_ARG, "top-k cannot be %d\nit is 0 (off) or more", s->top_k);
    if (!(s->top_p >= 0 && s->top_p <= 1)) FAIL(e, E_ARG, "top-p cannot be %g\nit lies between 0 and 1", (double)s->top_p);
    if (!(s->min_p >= 0 && s->min_p <= 1)) FAIL(e, E_ARG, "min-p cannot be %g\nit lies between 0 and 1", (double)s->min_p);
    if (!(s->repeat_penalty > 0) || !isfinite(s->repeat_penalty)) FAIL(e, E_ARG, "the repetition penalty cannot be %g\nit is above 0; 1 is off", (double)s->repeat_penalty);
    if (!isfinite(s->presence_penalty) || !isfinite(s->frequency_penalty)) FAIL(e, E_ARG, "a penalty is not a number");
    if (s->top_logprobs < 0 || s->top_logprobs > SAMPLE_LOGPROBS_MAX)
        FAIL(e, E_ARG, "cannot give %d log-probabilities per token\nat most %d", s->top_logprobs, SAMPLE_LOGPROBS_MAX);
    if (s->max_tokens < 0) FAIL(e, E_ARG, "cannot produce %d tokens", s->max_tokens);
    for (size_t i = 0; i < s->bias_count; i++) {
        if (s->bias[i].id < 0 || s->bias[i].id >= vocab)
            FAIL(e, E_ARG, "cannot bias token %d\nthe vocabulary has %d tokens", s->bias[i].id, vocab);
        if (isnan(s->bias[i].add) || s->bias[i].add == INFINITY) FAIL(e, E_ARG, "the bias of token %d is not a number", s->bias[i].id);
    }
out:
    return st;
}

static bool has_penalties(const facet_sampling *s)
{
    return s->repeat_penalty != 1 || s->presence_penalty != 0 || s->frequency_penalty != 0;
}

/* A copy of n items; NULL for none. */
static void *copy(const void *p, size_t n, size_t size)
{
    void *q = mem_array(n, size, MEM_OTHER);
    if (q && n) memcpy(q, p, n * size);
    return q;
}

status sample_new(sample_state **out, const facet_sampling *s, const int32_t *suppress, int32_t suppress_count, int32_t vocab, err *e)
{
    status st = OK;
    sample_state *x = NULL;
    TRY(check(s, vocab, e));
    x = mem_alloc(sizeof *x, MEM_OTHER);
    if (!x) FAIL(e, E_NOMEM, "could not set up sampling\nout of memory");
    x->s = *s;
    x->vocab = vocab;
    x->bias = copy(s->bias, s->bias_count, sizeof *s->bias);
    x->suppress = copy(suppress, (size_t)suppress_count, sizeof *suppress);
    x->suppress_count = suppress_count;
    if (has_penalties(s)) {
        x->counts = mem_array((size_t)vocab, sizeof *x->counts, MEM_OTHER);
        x->seen = mem_array((size_t)vocab, sizeof *x->seen, MEM_OTHER);
    }
    if (!x->bias || !x->suppress || (has_penalties(s) && (!x->counts || !x->seen)))
        FAIL(e, E_NOMEM, "could not set up sampling\nout of memory");
    *out = x;
    x = NULL;
out:
    sample_free(x);
    return st;
}

void sample_free(sample_state *x)
{
    if (!x) return;
    mem_free(x->bias);
    mem_free(x->suppress);
    mem_free(x->counts);
    mem_free(x->seen);
    mem_free(x);
}

void sample_seen(sample_state *x, int32_t id, bool answer)
{
    if (!x->counts || id < 0 || id >= x->vocab) return;
    if (!x->counts[id]) x->seen[x->seen_count++] = id;
    x->counts[id] |= SEEN;
    if (answer && (x->counts[id] & ~SEEN) < ~SEEN) x->counts[id]++;
}

/* ---- steps ------------------------------------------------------------------------------------- */

static void penalize(const sample_state *x, float *logits)
{
    for (int32_t i = 0; i < x->seen_count; i++) {
        int32_t id = x->seen[i];
        uint32_t n = x->counts[id] & ~SEEN;
        float l = logits[id];
        l = l > 0 ? l / x->s.repeat_penalty : l * x->s.repeat_penalty;
        if (n) l -= x->s.presence_penalty + (float)n * x->s.frequency_penalty;
        logits[id] = l;
    }
    for (size_t i = 0; i < x->s.bias_count; i++) logits[x->bias[i].id] += x->bias[i].add;
    for (int32_t i = 0; i < x->suppress_count; i++)
        if (x->suppress[i] >= 0 && x->suppress[i] < x->vocab) logits[x->suppress[i]] = -INFINITY;
}

void sample_mask(float *logits, int32_t vocab, const uint64_t *bits, size_t words)
{
    for (int32_t i = 0; i < vocab; i += 64) {
        uint64_t w = (size_t)(i / 64) < words ? bits[i / 64] : 0;
        if (w == UINT64_MAX) continue;
        for (int32_t k = i; k < MIN(i + 64, vocab); k++)
            if (!(w >> (k - i) & 1)) logits[k] = -INFINITY;
    }
}

int32_t sample_likeliest(const float *logits, int32_t vocab)
{
    int32_t best = -1;
    for (int32_t i = 0; i < vocab; i++)
        if (logits[i] > -INFINITY && (best < 0 || logits[i] > logits[best])) best = i;
    return best;
}

/* True when a is drawn before b: higher, or equal with a lower id. */
static bool before(sample_candidate a, sample_candidate b)
{
    return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}

/* Moves item i of a heap down; the root is the last in drawing order (worst) or the first. */
static void sift(sample_candidate *h, int32_t n, int32_t i, bool worst_first)
{
    sample_candidate v = h[i];
    for (int32_t c; (c = 2 * i + 1) < n; i = c) {
        if (c + 1 < n && before(h[c], h[c + 1]) == worst_first) c++;
        if (before(h[c], v) == worst_first) break;
        h[i] = h[c];
    }
    h[i] = v;
}

static void heapify(sample_candidate *h, int32_t n, bool worst_first)
{
    for (int32_t i = n / 2 - 1; i >= 0; i--) sift(h, n, i, worst_first);
}

/* h[0..k): the k first in drawing order as a heap with the worst at the root.  Returns min(k, finite logits). */
static int32_t select_top(const float *logits, int32_t vocab, int32_t k, sample_candidate *h)
{
    int32_t n = 0, i = 0;
    for (; i < vocab && n < k; i++)
        if (logits[i] > -INFINITY) h[n++] = (sample_candidate){ logits[i], i };
    heapify(h, n, true);
    for (; i < vocab; i++) {
        if (!(logits[i] > h[0].logit)) continue;    /* an equal one has the higher id, so it comes later anyway */
        h[0] = (sample_candidate){ logits[i], i };
        sift(h, n, 0, true);
    }
    return n;
}

/* Everything at or above the k-th likeliest: equals of it stay, as in the reference.  In order of id. */
static int32_t keep_top_k(const float *logits, int32_t vocab, int32_t k, sample_candidate *c)
{
    float limit = -INFINITY;
    int32_t n = 0;
    if (k > 0 && k < vocab && select_top(logits, vocab, k, c) == k) limit = c[0].logit;
    for (int32_t i = 0; i < vocab; i++)
        if (logits[i] >= limit && logits[i] > -INFINITY) c[n++] = (sample_candidate){ logits[i], i };
    return n;
}

static double weight(float logit, float top, float temperature)
{
    return exp(((double)logit - (double)top) / (double)temperature);
}

/* Brings the likeliest to the front, one after the other, until their share is p; returns how many.  The rest of a
 * heap stays behind them, so nothing is sorted that is not wanted. */
static int32_t keep_top_p(sample_candidate *c, int32_t n, float p, float top, float temperature)
{
    double sum = 0, got = 0;
    int32_t kept = 0, left = n;
    for (int32_t i = 0; i < n; i++) sum += weight(c[i].logit, top, temperature);
    heapify(c, n, false);
    /* the heap shrinks from the front of c: what is popped goes to the back */
    do {
        sample_candidate best = c[0];
        c[0] = c[--left];
        sift(c, left, 0, false);
        c[left] = best;
        got += weight(best.logit, top, temperature);
        kept++;
    } while (left > 0 && got < (double)p * sum);
    /* popped ones lie at the back, likeliest last */
    for (int32_t i = 0; i < kept / 2; i++) {
        sample_candidate t = c[n - 1 - i];
        c[n - 1 - i] = c[n - kept + i];
        c[n - kept + i] = t;
    }
    memmove(c, c + (n - kept), (size_t)kept * sizeof *c);
    return kept;
}

static int32_t keep_min_p(sample_candidate *c, int32_t n, float min_p, float top, float temperature)
{
    int32_t kept = 0;
    for (int32_t i = 0; i < n; i++)
        if (weight(c[i].logit, top, temperature) >= (double)min_p) c[kept++] = c[i];
    return kept;
}

status sample_pick(const sample_state *x, uint64_t n, float *logits, sample_candidate *scratch, int32_t *id, err *e)
{
    const facet_sampling *s = &x->s;
    penalize(x, logits);
    int32_t best = sample_likeliest(logits, x->vocab);
    if (best < 0 || isinf(logits[best])) return err_set(e, E_INTERNAL, "could not choose a token\nno token has a finite score\nThe file may be damaged; \"facet inspect\" shows its types.");
    *id = best;
    if (s->temperature == 0 || s->top_k == 1) return OK;
    float top = logits[best];
    int32_t count = keep_top_k(logits, x->vocab, s->top_k, scratch);
    if (s->top_p < 1) count = keep_top_p(scratch, count, s->top_p, top, s->temperature);
    if (s->min_p > 0) count = keep_min_p(scratch, count, s->min_p, top, s->temperature);
    double sum = 0, at = 0;
    for (int32_t i = 0; i < count; i++) sum += weight(scratch[i].logit, top, s->temperature);
    double target = rng_uniform(s->seed, n) * sum;
    for (int32_t i = 0; i < count; i++) {
        double w = weight(scratch[i].logit, top, s->temperature);
        at += w;
        if (w > 0) *id = scratch[i].id;
        if (at > target) break;
    }
    return OK;
}

static int compare(const void *a, const void *b)
{
    const sample_candidate *x = a, *y = b;
    return before(*x, *y) ? -1 : before(*y, *x) ? 1 : 0;
}

int32_t sample_logprobs(const float *logits, int32_t vocab, facet_logprob *chosen, facet_logprob *out, int32_t n)
{
    sample_candidate c[SAMPLE_LOGPROBS_MAX];
    int32_t found = select_top(logits, vocab, MIN(MAX(n, 1), SAMPLE_LOGPROBS_MAX), c);
    qsort(c, (size_t)found, sizeof *c, compare);
    double sum = 0, top = found ? (double)c[0].logit : 0;
    for (int32_t i = 0; i < vocab; i++) sum += exp((double)logits[i] - top);
    double total = top + log(sum);
    for (int32_t i = 0; i < MIN(n, found); i++) out[i] = (facet_logprob){ c[i].id, (float)((double)c[i].logit - total) };
    chosen->logprob = (float)((double)logits[chosen->id] - total);
    return MIN(n, found);
}
