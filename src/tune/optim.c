#include "tune/optim.h"

#include <math.h>
#include <string.h>

#include "base/bits.h"
#include "base/mem.h"

enum { BLOCK = 256 };

void optim_defaults(optim_opts *o) { *o = (optim_opts){ .kind = OPTIM_ADAMW, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .clip = 1 }; }

static int64_t numbers_of(const tune_param *p) { return p->rank * (p->in + p->out); }
static int64_t blocks_of(const tune_param *p) { return (numbers_of(p) + BLOCK - 1) / BLOCK; }

/* ---- making ---------------------------------------------------------------------------------------- */

static status make_states(optim *x, err *e)
{
    size_t n = (size_t)x->p->numbers, count = (size_t)x->p->count, blocks = (size_t)x->blocks;
    bool full = x->o.kind == OPTIM_ADAMW;
    x->steps = mem_array(count, sizeof *x->steps, MEM_OPTIMIZER);
    x->touched = mem_array(count, sizeof *x->touched, MEM_OPTIMIZER);
    if (full) {
        x->m = mem_array(n, sizeof *x->m, MEM_OPTIMIZER);
        x->v = mem_array(n, sizeof *x->v, MEM_OPTIMIZER);
    } else {
        x->m8 = mem_alloc(n, MEM_OPTIMIZER);
        x->v8 = mem_alloc(n, MEM_OPTIMIZER);
        x->m_scale = mem_array(blocks, sizeof *x->m_scale, MEM_OPTIMIZER);
        x->v_scale = mem_array(blocks, sizeof *x->v_scale, MEM_OPTIMIZER);
    }
    if (x->steps && x->touched && (full ? x->m && x->v : x->m8 && x->v8 && x->m_scale && x->v_scale)) return OK;
    return err_set(e, E_NOMEM, "could not make room for the optimizer of %lld numbers\nout of memory\nUse its 8-bit states, a lower rank, or train fewer kinds of weights.",
                   (long long)x->p->numbers);
}

status optim_new(optim **out, tune_params *p, const optim_opts *o, uint64_t *measure, err *e)
{
    status st = OK;
    int64_t blocks = 0;
    optim *x = NULL;
    if (!(o->beta1 >= 0 && o->beta1 < 1 && o->beta2 >= 0 && o->beta2 < 1 && o->eps > 0 && o->decay >= 0 && o->clip >= 0))
        FAIL(e, E_ARG, "cannot optimize so\nbetas are from 0 to below 1, eps above 0, decay and clip at least 0");
    for (int64_t i = 0; i < p->count; i++) blocks += blocks_of(&p->p[i]);
    if (measure) {
        uint64_t n = (uint64_t)p->numbers;
        *measure = (uint64_t)p->count * 2 * sizeof(int64_t) + (o->kind == OPTIM_ADAMW ? n * 2 * sizeof(float) : n * 2 + (uint64_t)blocks * 2 * sizeof(float));
        goto out;
    }
    x = mem_alloc(sizeof *x, MEM_OPTIMIZER);
    if (!x) FAIL(e, E_NOMEM, "could not make an optimizer\nout of memory");
    *x = (optim){ .o = *o, .p = p, .blocks = blocks };
    TRY(make_states(x, e));
    *out = x;
    x = NULL;
out:
    optim_free(x);
    return st;
}

void optim_free(optim *x)
{
    if (!x) return;
    mem_free(x->steps);
    mem_free(x->touched);
    mem_free(x->m);
    mem_free(x->v);
    mem_free(x->m8);
    mem_free(x->v8);
    mem_free(x->m_scale);
    mem_free(x->v_scale);
    mem_free(x);
}

/* ---- gradients -------------------------------------------------------------------------------------- */

static const float *grads_of(const tune_params *p, int64_t i) { return p->grads + p->p[i].first; }

void optim_norms_read(const tune_params *p, optim_norms *out)
{
    double sum[TUNE_GROUP_COUNT] = { 0 }, all = 0;
    *out = (optim_norms){ 0 };
    for (int64_t i = 0; i < p->count; i++) {
        const float *g = grads_of(p, i);
        double s = 0;
        for (int64_t k = 0, n = numbers_of(&p->p[i]); k < n; k++) s += (double)g[k] * g[k];
        sum[p->p[i].group] += s;
    }
    for (int g = 0; g < TUNE_GROUP_COUNT; g++) {
        out->group[g] = sqrt(sum[g]);
        all += sum[g];
    }
    out->all = sqrt(all);
}

int64_t optim_find_bad(const tune_params *p, int64_t *at)
{
    for (int64_t i = 0; i < p->count; i++)
        for (int64_t k = 0, n = numbers_of(&p->p[i]); k < n; k++)
            if (!isfinite(grads_of(p, i)[k])) {
                *at = k;
                return i;
            }
    return -1;
}

static bool is_zero(const float *g, int64_t n)
{
    for (int64_t k = 0; k < n; k++)
        if (g[k] != 0) return false;
    return true;
}

/* ---- one parameter ---------------------------------------------------------------------------------- */

/* What is the same for all numbers of a parameter in one step. */
typedef struct factors { float scale, b1, b2, c1, c2, keep, rate, root, eps; } factors;

static factors factors_of(const optim *x, int64_t step, double rate, double scale)
{
    const optim_opts *o = &x->o;
    double bias1 = 1 - pow(o->beta1, (double)step), bias2 = 1 - pow(o->beta2, (double)step);
    return (factors){ .scale = (float)scale, .b1 = (float)o->beta1, .b2 = (float)o->beta2, .c1 = (float)(1 - o->beta1), .c2 = (float)(1 - o->beta2),
                      .keep = (float)(1 - rate * o->decay), .rate = (float)(rate / bias1), .root = (float)sqrt(bias2), .eps = (float)o->eps };
}

static void update(const factors *f, float *w, const float *g, float *m, float *v, int64_t n)
{
    for (int64_t k = 0; k < n; k++) {
        float d = g[k] * f->scale;
        m[k] += f->c1 * (d - m[k]);
        v[k] = f->b2 * v[k] + f->c2 * d * d;
        w[k] = w[k] * f->keep - f->rate * (m[k] / (sqrtf(v[k]) / f->root + f->eps));
    }
}

/* Codes are finer near 0, where most of the numbers of a block are: m is the sign and the square of q / 127, v the fourth power of
 * q / 255, times the block's largest.  A v that is not 0 never becomes 0: the step that it holds back would be without bound. */
static void unpack(const uint8_t *m8, const uint8_t *v8, float ms, float vs, float *m, float *v, int64_t n)
{
    for (int64_t k = 0; k < n; k++) {
        float q = (float)((int)m8[k] - 128) / 127, u = (float)v8[k] / 255;
        m[k] = ms * q * fabsf(q);
        v[k] = vs * (u * u) * (u * u);
    }
}

static void pack(uint8_t *m8, uint8_t *v8, float *ms, float *vs, const float *m, const float *v, int64_t n)
{
    float a = 0, b = 0;
    for (int64_t k = 0; k < n; k++) {
        a = MAX(a, fabsf(m[k]));
        b = MAX(b, v[k]);
    }
    *ms = a;
    *vs = b;
    for (int64_t k = 0; k < n; k++) {
        float q = a > 0 ? sqrtf(fabsf(m[k]) / a) * 127 : 0, u = b > 0 ? sqrtf(sqrtf(v[k] / b)) * 255 : 0;
        m8[k] = (uint8_t)(128 + (int)copysignf(roundf(q), m[k]));
        v8[k] = (uint8_t)(v[k] > 0 ? MAX(roundf(u), 1.0f) : 0);
    }
}

static void update_8bit(optim *x, int64_t block, const tune_param *p, const factors *f)
{
    float m[BLOCK], v[BLOCK];
    for (int64_t at = 0, n = numbers_of(p); at < n; at += BLOCK, block++) {
        int64_t first = p->first + at, some = MIN(n - at, (int64_t)BLOCK);
        unpack(x->m8 + first, x->v8 + first, x->m_scale[block], x->v_scale[block], m, v, some);
        update(f, x->p->values + first, x->p->grads + first, m, v, some);
        pack(x->m8 + first, x->v8 + first, &x->m_scale[block], &x->v_scale[block], m, v, some);
    }
}

void optim_step(optim *x, const double rates[TUNE_GROUP_COUNT], optim_norms *norms)
{
    double scale = 1;
    int64_t block = 0;
    norms->clipped = x->o.clip > 0 && norms->all > x->o.clip;
    norms->idle = 0;
    if (norms->clipped) scale = x->o.clip / (norms->all + 1e-6);
    for (int64_t i = 0; i < x->p->count; block += blocks_of(&x->p->p[i]), i++) {
        const tune_param *p = &x->p->p[i];
        bool zero = is_zero(grads_of(x->p, i), numbers_of(p));
        if (zero && p->group == TUNE_EXPERTS) {
            norms->idle++;
            continue;
        }
        x->steps[i]++;
        x->touched[i] += !zero;
        factors f = factors_of(x, x->steps[i], rates[p->group], scale);
        if (x->o.kind == OPTIM_ADAMW) update(&f, x->p->values + p->first, grads_of(x->p, i), x->m + p->first, x->v + p->first, numbers_of(p));
        else update_8bit(x, block, p, &f);
    }
}

/* ---- rates ------------------------------------------------------------------------------------------ */

double optim_factor(optim_schedule s, int64_t step, int64_t warmup, int64_t total)
{
    if (step < warmup) return (double)(step + 1) / (double)(warmup + 1);
    double at = total > warmup ? MIN((double)(step - warmup) / (double)(total - warmup), 1.0) : 1.0;
    if (s == OPTIM_CONSTANT) return 1;
    if (s == OPTIM_LINEAR) return 1 - at;
    return 0.1 + 0.9 * 0.5 * (1 + cos(at * acos(-1.0)));
}
