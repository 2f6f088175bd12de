/* Linears: the frozen matrix as the file has it, and the set's terms. */
#include "tune/step_int.h"

/* The parameter of a place and where in it: the upper half of a fused one is half 1. */
static tune_param *find(const tune_step *s, int32_t layer, gemma_linear which, int32_t expert, int *half)
{
    tune_param *p = tune_params_find(s->p, layer, which, expert);
    *half = p && p->which != which;
    return p;
}

dev_product back_product(const tune_step *s, int32_t layer, gemma_linear which, int32_t expert, const weight *w, const float *x, int64_t T, float *y)
{
    int half = 0;
    const tune_param *q = find(s, layer, which, expert, &half);
    dev_product p = { .w = weight_mat(w), .x = x, .x_stride = w->cols, .T = T, .y = y, .y_stride = w->rows, .factor = 1 };
    if (q && !s->base) {
        p.lora = &s->lora[2 * (q - s->p->p) + half];
        p.adapter = s->ones;
    }
    return p;
}

void back_linear(tune_step *s, int32_t layer, gemma_linear which, int32_t expert, const weight *w, const float *x, const float *dy, int64_t T, bool add, float *dx)
{
    int half = 0;
    const tune_param *q = find(s, layer, which, expert, &half);
    if (dx) {
        dev_back p = { .w = weight_mat(w), .dy = dy, .dy_stride = w->rows, .T = T, .dx = dx, .dx_stride = w->cols, .factor = 1, .add = add };
        s->dev->op->mul_back(s->dev, &p, 1);
    }
    if (!q) return;
    int64_t skip = half * w->rows * q->rank;
    dev_lora_back l = { .x = x, .x_stride = w->cols, .dy = dy, .dy_stride = w->rows, .T = T, .in = w->cols, .out = w->rows, .rank = q->rank, .a = q->a,
                        .b = q->b + skip, .scale = q->scale, .da = q->da, .db = q->db + skip, .dx = dx, .dx_stride = w->cols };
    s->dev->op->lora_back(s->dev, &l);
}
