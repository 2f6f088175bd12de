#include "model/gemma_config.h"

#include <math.h>
#include <stdio.h>

#include "base/bits.h"
#include "base/mem.h"
#include "model/gemma_config_int.h"

void gemma_config_begin(gemma_config *c)
{
    *c = (gemma_config){ .eps = 1e-6f, .theta_sliding = 1e4, .theta_full = 1e6, .temperature = 1.0f, .top_p = 0.95f, .top_k = 64 };
}

status gemma_config_new_layers(gemma_config *c, int64_t count, err *e)
{
    c->layers = mem_array((size_t)count, sizeof *c->layers, MEM_WEIGHTS);
    if (!c->layers) return err_set(e, E_NOMEM, "could not read the configuration\nout of memory");
    c->layer_count = c->kv_layers = (int32_t)count;
    return OK;
}

void gemma_config_done(gemma_config *c)
{
    mem_free(c->layers);
    mem_free(c->rope_factors);
    *c = (gemma_config){ 0 };
}

static void add_id(int32_t *ids, int32_t *count, int32_t max, int64_t id)
{
    if (id < 0 || id > INT32_MAX || *count == max) return;
    for (int32_t i = 0; i < *count; i++)
        if (ids[i] == id) return;
    ids[(*count)++] = (int32_t)id;
}

void gemma_config_add_eos(gemma_config *c, int64_t id) { add_id(c->eos, &c->eos_count, GEMMA_EOS_MAX, id); }
void gemma_config_add_suppress(gemma_config *c, int64_t id) { add_id(c->suppress, &c->suppress_count, GEMMA_SUPPRESS_MAX, id); }

/* The last layer with K and V of its own that is of the same kind (architecture section 2.7). */
static status find_kv_sources(gemma_config *c, err *e)
{
    for (int32_t i = 0; i < c->layer_count; i++) {
        gemma_layer_config *l = &c->layers[i];
        l->kv_source = i;
        if (i < c->kv_layers) continue;
        int32_t s = c->kv_layers - 1;
        while (s >= 0 && c->layers[s].full != l->full) s--;
        if (s < 0)
            return err_set(e, E_FORMAT, "layer %d shares keys and values\nno earlier %s layer has any", i, l->full ? "full" : "sliding");
        if (c->layers[s].nkv != l->nkv || c->layers[s].d != l->d)
            return err_set(e, E_FORMAT, "layer %d cannot share the keys and values of layer %d\ntheir heads differ (%d of %d and %d of %d)", i, s, l->nkv, l->d, c->layers[s].nkv, c->layers[s].d);
        l->kv_source = s;
        l->k_eq_v = c->layers[s].k_eq_v;
    }
    return OK;
}

static status check_layers(const gemma_config *c, err *e)
{
    int32_t d_full = 0;
    for (int32_t i = 0; i < c->layer_count; i++) {
        const gemma_layer_config *l = &c->layers[i];
        if (l->nq % l->nkv) return err_set(e, E_FORMAT, "layer %d has %d query heads for %d key/value heads\nthe first must be a multiple of the second", i, l->nq, l->nkv);
        if (l->d % 2) return err_set(e, E_FORMAT, "layer %d has heads of size %d\nthe size must be even", i, l->d);
        if (l->full && d_full && l->d != d_full) return err_set(e, E_UNSUPPORTED, "full layers have heads of different sizes (%d and %d)", d_full, l->d);
        if (l->full) d_full = l->d;
    }
    if (c->rope_pairs_full < 0 || (d_full && c->rope_pairs_full > d_full / 2)) return err_set(e, E_FORMAT, "the rotated part of full heads is larger than the head");
    return OK;
}

static bool positive(double x) { return isfinite(x) && x > 0; }

status gemma_config_finish(gemma_config *c, err *e)
{
    status st = OK;
    TRY(find_kv_sources(c, e));
    TRY(check_layers(c, e));
    if (c->expert_count && (c->expert_used < 1 || c->expert_used > c->expert_count || c->expert_ff < 1))
        FAIL(e, E_FORMAT, "%d of %d experts of width %d are impossible", c->expert_used, c->expert_count, c->expert_ff);
    if (!positive((double)c->eps) || !positive(c->theta_sliding) || !positive(c->theta_full) || !isfinite(c->softcap) || c->softcap < 0)
        FAIL(e, E_FORMAT, "the configuration has impossible numbers\nnorm epsilon %g, rope bases %g and %g, softcap %g", (double)c->eps, c->theta_sliding, c->theta_full, (double)c->softcap);
    /* Sampling defaults are a convenience: nonsense is replaced, not refused. */
    if (!isfinite(c->temperature) || c->temperature < 0) c->temperature = 1.0f;
    if (!(c->top_p > 0 && c->top_p <= 1)) c->top_p = 0.95f;
    if (c->top_k < 0) c->top_k = 64;
    for (int32_t i = c->suppress_count; i-- > 0;)
        if (c->suppress[i] >= c->vocab) c->suppress[i] = c->suppress[--c->suppress_count];
    for (int32_t i = c->eos_count; i-- > 0;)
        if (c->eos[i] >= c->vocab) c->eos[i] = c->eos[--c->eos_count];
out:
    return st;
}

const char *gemma_config_size_name(const gemma_config *c, char *out, size_t cap)
{
    static const struct { int32_t layers, hidden, experts; const char *name; } sizes[] = {
        { 35, 1536, 0, "E2B" }, { 42, 2560, 0, "E4B" }, { 48, 3840, 0, "12B" }, { 30, 2816, 128, "26B-A4B" }, { 60, 5376, 0, "31B" } };
    for (size_t i = 0; i < COUNT_OF(sizes); i++)
        if (c->layer_count == sizes[i].layers && c->hidden == sizes[i].hidden && c->expert_count == sizes[i].experts) {
            snprintf(out, cap, "%s", sizes[i].name);
            return out;
        }
    int n = snprintf(out, cap, "%d layer%s, hidden %d", c->layer_count, c->layer_count == 1 ? "" : "s", c->hidden);
    if (c->expert_count && n > 0 && (size_t)n < cap) snprintf(out + n, cap - (size_t)n, ", %d experts", c->expert_count);
    return out;
}
