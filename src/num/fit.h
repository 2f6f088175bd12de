/* Searches for the scale of a block that the encoders share (file-formats section 5.4: fit_sym, fit_aff; the last
 * one is used for scales of scales).  Float32 throughout, sums in order: the bytes of other writers depend on it. */
#ifndef FC_NUM_FIT_H
#define FC_NUM_FIT_H

#include <math.h>
#include <stdint.h>

#include "base/bits.h"

enum { FIT_MAX = 32 };      /* most elements in one fit */

/* Rounds to nearest even, then limits; safe for any float. */
static inline int fit_round(float x, int lo, int hi)
{
    x = MAX(x, -1e6f);
    x = MIN(x, 1e6f);
    int i = (int)lrintf(x);
    return MIN(MAX(i, lo), hi);
}

/* x ~ scale * (code - N), codes 0..2N-1; w: weights, or NULL for x^2.  Returns the scale. */
float fit_symmetric(int n, int N, const float *x, const float *w, uint8_t *code);
/* x ~ scale * code - *min, codes 0..N, *min >= 0 unless all are equal; w: weights; K + 1 tries from r in steps of delta. */
float fit_affine(int n, int N, const float *x, const float *w, float r, float delta, int K, uint8_t *code, float *min);
/* x >= 0 ~ scale * code, codes 0..N.  w: weights. */
float fit_positive(int n, int N, const float *x, const float *w, uint8_t *code);
/* w_i = importance_i * sqrt(sigma2 + x_i^2) */
void  fit_weights(int n, const float *x, const float *importance, float sigma2, float *w);
float fit_mean_square(int64_t n, const float *x);
/* Codes 0..N of the 32 values of a Q4_1 or Q5_1 block: x ~ d * code + *min; returns d.  Without importance (NULL) the
 * range of the values decides. */
float fit_range(int N, const float *x, const float *importance, float sigma2, uint8_t *code, float *min);

#endif
