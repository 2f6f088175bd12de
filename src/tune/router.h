/* What a router does over some text: which experts are chosen, with which weight, how sure it is.
 *
 * The numbers of one layer come from its scores, by the tap of the forward pass; rows that leave the pass early are not counted. */
#ifndef FC_TUNE_ROUTER_H
#define FC_TUNE_ROUTER_H

#include "base/buf.h"
#include "base/json.h"
#include "model/gemma.h"

typedef struct router_stats {
    int32_t layers, experts, used;     /* L, E, k */
    int64_t *rows;                     /* [L] */
    int64_t *chosen;                   /* [L][E] rows that chose an expert */
    double *weight;                    /* [L][E] sum of its weight among the chosen ones of a row */
    double *probability;               /* [L][E] sum of the softmax over all */
    double *margin;                    /* [L] sum of p of the last chosen one less p of the first that is not */
    int32_t *order;                    /* [E] */
} router_stats;

/* *out owned: router_stats_free.  E_ARG: the model has no experts. */
status router_stats_new(router_stats **out, const gemma *m, err *e);
void   router_stats_free(router_stats *s);          /* NULL is fine */
/* A gemma_tap_fn; user: the stats. */
void   router_stats_tap(void *user, int32_t layer, const char *name, const float *data, int64_t T, int64_t width);
/* Share of the choices of a layer that fell on an expert: sums to 1 over the experts. */
double router_share(const router_stats *s, int32_t layer, int32_t expert);
/* Mean weight of an expert over all rows: sums to 1 over the experts. */
double router_weight(const router_stats *s, int32_t layer, int32_t expert);

/* ---- hot experts: Expert-Specialized Fine-Tuning (Wang et al. 2024) --------------------------------- */

typedef enum router_by { ROUTER_BY_CHOICES, ROUTER_BY_WEIGHT } router_by;

/* {"tokens", "layers": [{"layer", "rows", "share": [E], "weight": [E]}]}; owned. */
status router_profile_json(json_t **out, const router_stats *s, int64_t tokens, err *e);
/* hot [L][E] becomes 1 for the experts of each layer with the highest scores: `count` of them or, when that is 0, as many as reach `share` of
 * the whole together.  E_FORMAT: the profile is of another model. */
status router_profile_hot(const json_t *profile, const gemma *m, router_by by, double share, int64_t count, uint8_t *hot, err *e);
/* A table for people: how many experts cover which share of the choices, by layer. */
status router_profile_print(const json_t *profile, buf *out, err *e);

#endif
