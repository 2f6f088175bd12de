#include "lora/lora_int.h"

#include <math.h>

#include "base/bits.h"
#include "os/file.h"

/* ---- shared ---------------------------------------------------------------------------------------- */

static const struct { weight_place place; gemma_linear which; } linears[] = {
    { WEIGHT_Q, GEMMA_Q }, { WEIGHT_K, GEMMA_K }, { WEIGHT_V, GEMMA_V }, { WEIGHT_O, GEMMA_O }, { WEIGHT_GATE, GEMMA_GATE }, { WEIGHT_UP, GEMMA_UP },
    { WEIGHT_DOWN, GEMMA_DOWN }, { WEIGHT_ROUTER, GEMMA_ROUTER }, { WEIGHT_PLE_GATE, GEMMA_PLE_GATE }, { WEIGHT_PLE_PROJ, GEMMA_PLE_PROJ },
    { WEIGHT_PLE_MODEL_PROJ, GEMMA_PLE_MODEL_PROJ }, { WEIGHT_HEAD, GEMMA_HEAD },
};

gemma_linear lora_linear(weight_place p)
{
    for (size_t i = 0; i < COUNT_OF(linears); i++)
        if (linears[i].place == p) return linears[i].which;
    return GEMMA_LINEAR_COUNT;
}

weight_place lora_place(gemma_linear which)
{
    for (size_t i = 0; i < COUNT_OF(linears); i++)
        if (linears[i].which == which) return linears[i].place;
    return which == GEMMA_EXPERT_GATE ? WEIGHT_GATE_EXPS : which == GEMMA_EXPERT_UP ? WEIGHT_UP_EXPS : WEIGHT_DOWN_EXPS;
}

bool lora_is_dead(const gemma *m, int32_t layer, weight_place p)
{
    return (p == WEIGHT_K || p == WEIGHT_V) && layer >= 0 && layer < m->config.layer_count && m->config.layers[layer].kv_source != layer;
}

status lora_nothing(str key, err *e)
{
    return err_set(e, E_FORMAT, "cannot apply the tensor \"%.*s\"\nit belongs to nothing in this model\nUse the adapter with the model that it was made for.",
                   (int)MIN(key.n, (size_t)300), key.p);
}

status lora_shape(str key, const char *expected, err *e)
{
    return err_set(e, E_FORMAT, "cannot apply the tensor \"%.*s\"\nits shape does not fit: expected %s\nUse the adapter with the model that it was made for.",
                   (int)MIN(key.n, (size_t)300), key.p, expected);
}

status lora_check_rank(str key, int64_t r, err *e)
{
    if (r >= 1 && r <= LORA_RANK_MAX) return OK;
    return err_set(e, E_UNSUPPORTED, "cannot apply the tensor \"%.*s\"\nits rank is %lld: ranks go from 1 to %d", (int)MIN(key.n, (size_t)300), key.p, (long long)r, LORA_RANK_MAX);
}

status lora_decode(str key, dtype type, const void *src, float *dst, int64_t n, err *e)
{
    dtype_of(type)->decode(src, dst, n);
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(dst[i])) return err_set(e, E_FORMAT, "cannot apply the tensor \"%.*s\"\nit holds numbers that are none (NaN, infinity)", (int)MIN(key.n, (size_t)300), key.p);
    return OK;
}

/* ---- files ----------------------------------------------------------------------------------------- */

typedef struct source {
    lora_peft *peft;       /* one of the two */
    gguf_file *gguf;
    const lora_part *part;
} source;

static void source_close(source *s)
{
    lora_peft_close(s->peft);
    gguf_close(s->gguf);
}

static status source_open(source *s, const gemma *m, const lora_part *part, err *e)
{
    status st = OK;
    s->part = part;
    if (!part->path || !part->path[0]) FAIL(e, E_ARG, "cannot load an adapter\nno path was given");
    if (!(fabs(part->scale) <= 1e6)) FAIL(e, E_ARG, "cannot use the adapter \"%s\" with the scale %g", part->path, part->scale);
    if (file_is_dir(part->path)) return lora_peft_open(&s->peft, m, part->path, part->order, e);
    if (str_ends(str_from(part->path), ".safetensors"))
        FAIL(e, E_ARG, "cannot use the adapter \"%s\" alone\nits configuration lies beside it\nGive the folder that it is in.", part->path);
    TRY(gguf_open(&s->gguf, part->path, e));
    if ((st = lora_gguf_check(m, s->gguf, e)) != OK) err_wrap(e, "%s", part->path);
out:
    return st;
}

static status source_fill(const source *s, const gemma *m, gemma_adapter *to, err *e)
{
    status st = s->peft ? lora_peft_fill(s->peft, to, s->part->scale, e) : lora_gguf_fill(m, s->gguf, to, s->part->scale, e);
    if (st != OK && st != E_NOMEM) err_wrap(e, "%s", s->part->path);
    return st;
}

/* The terms of all sources, with room for them or to see how much they need. */
static status fill(gemma_adapter **out, const gemma *m, const source *s, size_t count, size_t bytes, err *e)
{
    status st = OK;
    gemma_adapter *a = NULL;
    TRY(gemma_adapter_new(&a, m, bytes, e));
    for (size_t i = 0; i < count; i++) TRY(source_fill(&s[i], m, a, e));
    *out = a;
    a = NULL;
out:
    gemma_adapter_free(a);
    return st;
}

static status load(gemma_adapter **out, uint64_t *bytes, const gemma *m, const lora_part *parts, size_t count, err *e)
{
    status st = OK;
    gemma_adapter *measured = NULL;
    source *s = mem_array(count, sizeof *s, MEM_OTHER);
    if (!s || !count) FAIL(e, count ? E_NOMEM : E_ARG, "could not load an adapter\n%s", count ? "out of memory" : "no file was given");
    for (size_t i = 0; i < count; i++) TRY(source_open(&s[i], m, &parts[i], e));
    TRY(fill(&measured, m, s, count, 0, e));
    *bytes = gemma_adapter_bytes(measured);
    if (!*bytes) FAIL(e, E_FORMAT, "%s: the adapter is empty\nit has nothing that this model could use", parts[0].path);
    if (out) TRY(fill(out, m, s, count, *bytes, e));
out:
    for (size_t i = 0; s && i < count; i++) source_close(&s[i]);
    mem_free(s);
    gemma_adapter_free(measured);
    return st;
}

status lora_load(gemma_adapter **out, const gemma *m, const lora_part *parts, size_t count, err *e)
{
    uint64_t bytes;
    return load(out, &bytes, m, parts, count, e);
}

status lora_measure(uint64_t *bytes, const gemma *m, const lora_part *parts, size_t count, err *e)
{
    return load(NULL, bytes, m, parts, count, e);
}
