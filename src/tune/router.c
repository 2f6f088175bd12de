#include "tune/router.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"

status router_stats_new(router_stats **out, const gemma *m, err *e)
{
    status st = OK;
    const gemma_config *c = &m->config;
    size_t L = (size_t)c->layer_count, E = (size_t)c->expert_count;
    router_stats *s = mem_alloc(sizeof *s, MEM_OTHER);
    if (!s) FAIL(e, E_NOMEM, "could not count experts\nout of memory");
    if (!E) FAIL(e, E_ARG, "cannot profile experts\nthis model has none\nUse the preset dense.");
    *s = (router_stats){ .layers = c->layer_count, .experts = c->expert_count, .used = c->expert_used };
    s->rows = mem_array(L, sizeof *s->rows, MEM_OTHER);
    s->chosen = mem_array(L * E, sizeof *s->chosen, MEM_OTHER);
    s->weight = mem_array(L * E, sizeof *s->weight, MEM_OTHER);
    s->probability = mem_array(L * E, sizeof *s->probability, MEM_OTHER);
    s->margin = mem_array(L, sizeof *s->margin, MEM_OTHER);
    s->order = mem_array(E, sizeof *s->order, MEM_OTHER);
    if (!s->rows || !s->chosen || !s->weight || !s->probability || !s->margin || !s->order) FAIL(e, E_NOMEM, "could not count experts\nout of memory");
    *out = s;
    s = NULL;
out:
    router_stats_free(s);
    return st;
}

void router_stats_free(router_stats *s)
{
    if (!s) return;
    mem_free(s->rows);
    mem_free(s->chosen);
    mem_free(s->weight);
    mem_free(s->probability);
    mem_free(s->margin);
    mem_free(s->order);
    mem_free(s);
}

/* order[0 .. k] become the k + 1 experts with the highest scores, the lower number first among equals. */
static void highest(int32_t *order, const float *score, int32_t E, int32_t k)
{
    for (int32_t i = 0; i < E; i++) {
        int32_t at = MIN(i, k + 1);
        while (at > 0 && score[order[at - 1]] < score[i]) {
            if (at <= k) order[at] = order[at - 1];
            at--;
        }
        if (at <= k) order[at] = i;
    }
}

static void count_row(router_stats *s, int32_t layer, const float *score)
{
    int32_t E = s->experts, k = s->used;
    int64_t at = (int64_t)layer * E;
    double all = 0, picked = 0;
    highest(s->order, score, E, MIN(k, E - 1));
    double top = (double)score[s->order[0]];
    for (int32_t i = 0; i < E; i++) all += exp((double)score[i] - top);
    for (int32_t i = 0; i < E; i++) s->probability[at + i] += exp((double)score[i] - top) / all;
    for (int32_t i = 0; i < k; i++) picked += exp((double)score[s->order[i]] - top);
    for (int32_t i = 0; i < k; i++) {
        s->chosen[at + s->order[i]]++;
        s->weight[at + s->order[i]] += exp((double)score[s->order[i]] - top) / picked;
    }
    if (k < E) s->margin[layer] += (exp((double)score[s->order[k - 1]] - top) - exp((double)score[s->order[k]] - top)) / all;
    s->rows[layer]++;
}

void router_stats_tap(void *user, int32_t layer, const char *name, const float *data, int64_t T, int64_t width)
{
    if (strcmp(name, "router") != 0) return;
    for (int64_t t = 0; t < T; t++) count_row(user, layer, data + t * width);
}

double router_share(const router_stats *s, int32_t layer, int32_t expert)
{
    double all = (double)s->rows[layer] * s->used;
    return all > 0 ? (double)s->chosen[(int64_t)layer * s->experts + expert] / all : 0;
}

double router_weight(const router_stats *s, int32_t layer, int32_t expert)
{
    return s->rows[layer] ? s->weight[(int64_t)layer * s->experts + expert] / (double)s->rows[layer] : 0;
}
