/* GGUF files for llama.cpp (lora_gguf.c reads them): one alpha for the file, and B of an expert's down times the expert's own factor,
 * which llama.cpp applies to the weights' product alone. */
#include <stdio.h>

#include "base/bits.h"
#include "lora/lora_int.h"
#include "lora/lora_save.h"

/* A GGUF file has gate and up of experts together or apart, and llama.cpp wants the adapter likewise; one made from a folder has
 * them together. */
static bool together(const gemma *m, int32_t layer)
{
    char name[WEIGHT_NAME_CAP];
    weight_names_gguf(WEIGHT_GATE_UP_EXPS, layer, name);
    return !m->gguf || gguf_tensor_find(m->gguf, name);
}

static double alpha_of(const lora_group *g) { return (double)g->scale * (double)g->r; }

static status check(const gemma *m, const lora_group *g, err *e)
{
    if (g->which == GEMMA_PLE_MODEL_PROJ)
        return err_set(e, E_UNSUPPORTED, "cannot write this adapter for llama.cpp\nit has terms of per_layer_model_proj, which llama.cpp loads and leaves out\n"
                                         "Write it as a PEFT folder, or train without that target.");
    if (g->which == GEMMA_HEAD && !m->config.untied)
        return err_set(e, E_UNSUPPORTED, "cannot write this adapter for llama.cpp\nit has terms of the head, which in this model is the embedding\nWrite it as a PEFT folder.");
    for (int64_t i = 0; g->which == GEMMA_EXPERT_DOWN && i < g->E; i++)
        if (m->weights.layers[g->layer].expert_scale[i] == 0)
            return err_set(e, E_UNSUPPORTED, "cannot write this adapter for llama.cpp\nthe factor of expert %lld of layer %d is 0\nWrite it as a PEFT folder.", (long long)i, g->layer);
    return OK;
}

static void name_of(const lora_group *g, const char *end, char out[WEIGHT_NAME_CAP + 8])
{
    char base[WEIGHT_NAME_CAP];
    weight_names_gguf(g->both ? WEIGHT_GATE_UP_EXPS : lora_place(g->which), g->layer, base);
    snprintf(out, WEIGHT_NAME_CAP + 8, "%s%s", base, end);
}

static status declare(gguf_writer *w, const lora_group *g, err *e)
{
    status st = OK;
    char name[WEIGHT_NAME_CAP + 8];
    bool experts = g->which >= GEMMA_EXPERT_GATE && g->which <= GEMMA_EXPERT_DOWN;
    name_of(g, ".lora_a", name);
    TRY(gguf_put_tensor(w, name, DTYPE_F32, experts ? 3 : 2, (const int64_t[]){ g->in, g->r, g->E }, e));
    name_of(g, ".lora_b", name);
    TRY(gguf_put_tensor(w, name, DTYPE_F32, experts ? 3 : 2, (const int64_t[]){ g->r, g->out, g->E }, e));
out:
    return st;
}

static status write_group(gguf_writer *w, const gemma *m, const lora_group *g, double alpha, err *e)
{
    status st = OK;
    size_t na = (size_t)(g->E * g->r * g->in), nb = (size_t)(g->E * g->r * g->out);
    float *a = mem_array(na, sizeof *a, MEM_IO), *b = mem_array(nb, sizeof *b, MEM_IO), *factors = mem_array((size_t)g->E, sizeof *factors, MEM_IO);
    if (!a || !b || !factors) FAIL(e, E_NOMEM, "could not write an adapter\nout of memory");
    for (int64_t i = 0; i < g->E; i++)
        factors[i] = (float)(alpha_of(g) / alpha) * (g->which == GEMMA_EXPERT_DOWN ? m->weights.layers[g->layer].expert_scale[i] : 1.0f);
    lora_group_fill(g, a, b, (lora_strides){ .by_output = g->r, .by_rank = 1, .by_expert = g->r * g->out }, factors);
    TRY(gguf_write_data(w, a, na * sizeof *a, e));
    TRY(gguf_write_data(w, b, nb * sizeof *b, e));
out:
    mem_free(a);
    mem_free(b);
    mem_free(factors);
    return st;
}

status lora_save_gguf(const char *path, const gemma *m, const gemma_adapter *a, err *e)
{
    status st = OK;
    gguf_writer *w = NULL;
    lora_groups g = { 0 };
    TRY(lora_groups_new(&g, m, a, together, e));
    for (size_t i = 0; i < g.count; i++) TRY(check(m, &g.at[i], e));
    double alpha = (float)alpha_of(&g.at[0]);
    if (alpha == 0) alpha = 1;     /* 0 would mean that there is no factor */
    TRY(gguf_writer_new(&w, path, e));
    TRY(gguf_put_str(w, "general.type", STR("adapter"), e));
    TRY(gguf_put_str(w, "general.architecture", STR("gemma4"), e));
    TRY(gguf_put_str(w, "general.base_model.0.name", str_from(m->config.name), e));
    TRY(gguf_put_u32(w, "general.base_model.count", 1, e));
    TRY(gguf_put_str(w, "adapter.type", STR("lora"), e));
    TRY(gguf_put_f32(w, "adapter.lora.alpha", (float)alpha, e));
    for (size_t i = 0; i < g.count; i++) TRY(declare(w, &g.at[i], e));
    for (size_t i = 0; i < g.count; i++) TRY(write_group(w, m, &g.at[i], alpha, e));
    TRY(gguf_writer_end(w, e));
out:
    gguf_writer_free(w);
    lora_groups_done(&g);
    return st;
}
