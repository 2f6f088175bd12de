/* Any JSON as config.json, alone and as its own generation_config.json: refused with a reason, or a configuration whose
 * numbers are within their bounds. */
#include <math.h>
#include <stdlib.h>

#include "model/gemma_config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void need(bool ok)
{
    if (!ok) abort();
}

static void check(const gemma_config *c)
{
    gemma_parameters p;
    need(c->layer_count >= 1 && c->layer_count <= GEMMA_LAYERS_MAX && c->kv_layers >= 1 && c->kv_layers <= c->layer_count);
    need(c->hidden >= 1 && c->vocab >= 1 && c->window >= 1 && c->ple >= 0 && isfinite(c->eps) && c->eps > 0 && c->softcap >= 0);
    need(c->expert_used <= c->expert_count && c->top_p > 0 && c->top_p <= 1 && c->temperature >= 0 && c->top_k >= 0);
    need(c->eos_count <= GEMMA_EOS_MAX && c->suppress_count <= GEMMA_SUPPRESS_MAX);
    for (int32_t i = 0; i < c->layer_count; i++) {
        const gemma_layer_config *l = &c->layers[i];
        need(l->nq >= 1 && l->nkv >= 1 && l->nq % l->nkv == 0 && l->d >= 2 && l->d <= GEMMA_HEAD_MAX && l->d % 2 == 0 && l->ff >= 1);
        need(l->kv_source >= 0 && l->kv_source < c->kv_layers && c->layers[l->kv_source].full == l->full);
        if (l->full) need(c->rope_pairs_full >= 0 && c->rope_pairs_full <= l->d / 2);
    }
    gemma_config_parameters(c, &p);   /* must not overflow */
    need(p.total > 0 && p.active > 0 && p.active <= p.total);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    err e = { 0 };
    gemma_config c;
    json_t *j = NULL;
    if (json_parse(&j, (str){ (const char *)data, n }, "fuzz", false, &e) != OK) return 0;
    for (int i = 0; i < 2; i++) {
        if (gemma_config_from_hf(&c, j, i ? j : NULL, "fuzz", &e) == OK) {
            check(&c);
            gemma_config_done(&c);
        } else {
            need(e.what[0] != 0);
        }
    }
    json_decref(j);
    return 0;
}
