#include "model/rope.h"

#include <math.h>

static int32_t pairs_of(const gemma_config *c, bool full, int32_t d)
{
    if (!full) return d / 2;
    if (!c->rope_factors) return c->rope_pairs_full;
    int32_t pairs = d / 2;
    while (pairs > 0 && c->rope_factors[pairs - 1] >= 1e29f) pairs--;
    return pairs;
}

/* In f32 steps like the reference, which rounds the power, its inverse and later the angle: at position
 * 100,000 an unrounded angle would differ from its by 4e-3. */
static float frequency(double theta, int32_t i, int32_t d)
{
    float exponent = (float)(2 * i) / (float)d;
    float power = (float)pow(theta, (double)exponent);
    return 1.0f / power;
}

status rope_layout(rope_kind *r, const gemma_config *c, bool full, arena *a, err *e)
{
    status st = OK;
    *r = (rope_kind){ 0 };
    for (int32_t l = 0; l < c->layer_count; l++) {
        if (c->layers[l].full != full) continue;
        if (r->d && r->d != c->layers[l].d)
            FAIL(e, E_UNSUPPORTED, "cannot run this model\nits %s layers have head sizes %d and %d", full ? "full" : "sliding", r->d, c->layers[l].d);
        r->d = c->layers[l].d;
    }
    if (!r->d) return OK;
    r->pairs = pairs_of(c, full, r->d);
    TRY(arena_array(a, &r->freq, r->pairs, e));
    if (!r->freq) return OK;
    for (int32_t i = 0; i < r->pairs; i++) {
        r->freq[i] = frequency(full ? c->theta_full : c->theta_sliding, i, r->d);
        if (full && c->rope_factors) r->freq[i] /= c->rope_factors[i];
    }
out:
    return st;
}

void rope_at(const rope_kind *r, int32_t pos, float *cs)
{
    for (int32_t i = 0; i < r->pairs; i++) {
        double angle = (float)pos * r->freq[i];
        cs[2 * i] = (float)cos(angle);
        cs[2 * i + 1] = (float)sin(angle);
    }
}
