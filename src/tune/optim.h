/* The optimizer: AdamW over a set of parameters, its states as f32 or in 8 bits, clipping, and how the rate goes over the run.
 *
 * A parameter whose gradient is 0 throughout is left alone in a step when it is an expert's: no token chose it, so neither its numbers
 * nor its states move (its own count of steps goes on only with data).  Others go on with a gradient of 0, as elsewhere.
 * One thread; the same bits every time. */
#ifndef FC_TUNE_OPTIM_H
#define FC_TUNE_OPTIM_H

#include "tune/params.h"

typedef enum optim_kind {
    OPTIM_ADAMW,               /* m and v as f32: 8 bytes a number */
    OPTIM_ADAMW_8BIT,          /* in blocks of 256 with one scale each: 2.03 bytes a number */
    OPTIM_KINDS
} optim_kind;

typedef struct optim_opts {
    optim_kind kind;
    double beta1, beta2, eps;
    double decay;              /* decoupled: values *= 1 - rate * decay */
    double clip;               /* largest norm of the whole gradient; 0: none */
} optim_opts;

void optim_defaults(optim_opts *o);     /* AdamW, 0.9, 0.999, 1e-8, no decay, clipped at 1 */

/* Norms of gradients, before clipping. */
typedef struct optim_norms {
    double all, group[TUNE_GROUP_COUNT];
    bool clipped;
    int64_t idle;              /* parameters that were left alone */
} optim_norms;

typedef struct optim {
    optim_opts o;
    tune_params *p;            /* borrowed */
    int64_t *steps;            /* [p->count] steps that moved a parameter */
    int64_t *touched;          /* [p->count] of these, with a gradient that was not 0 */
    float *m, *v;              /* [numbers], or NULL with 8 bits */
    uint8_t *m8, *v8;          /* [numbers], or NULL */
    float *m_scale, *v_scale;  /* [blocks] */
    int64_t blocks;
} optim;

/* *out owned: optim_free.  With measure != NULL nothing is made and the bytes are written there. */
status optim_new(optim **out, tune_params *p, const optim_opts *o, uint64_t *measure, err *e);
void   optim_free(optim *x);            /* NULL is fine */

/* The norms of the gradients as they are. */
void   optim_norms_read(const tune_params *p, optim_norms *out);
/* One step from p->grads to p->values; rates: by group.  *norms: as optim_norms_read gives them, then told what was clipped and idle. */
void   optim_step(optim *x, const double rates[TUNE_GROUP_COUNT], optim_norms *norms);
/* The first number of the gradients that is none (NaN, infinity): its parameter, and *at within it; -1 when all are numbers. */
int64_t optim_find_bad(const tune_params *p, int64_t *at);

typedef enum optim_schedule { OPTIM_COSINE, OPTIM_LINEAR, OPTIM_CONSTANT, OPTIM_SCHEDULES } optim_schedule;
/* The factor of the rate in a step (from 0) of `total`: up over the first `warmup` steps, then cosine to a tenth, linearly to
 * nothing behind the last step, or constant. */
double optim_factor(optim_schedule s, int64_t step, int64_t warmup, int64_t total);

#endif
