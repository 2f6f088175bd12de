#include <math.h>

#include "base/bits.h"
#include "base/log.h"
#include "base/mem.h"
#include "model/weights_int.h"

/* "blk.0.attn_q.weight" + "scale" -> "blk.0.attn_q.scale". */
static void replace_last_part(char *name, const char *suffix)
{
    char *dot = strrchr(name, '.');
    size_t used = (size_t)(dot - name) + 1;
    if (used + strlen(suffix) < WEIGHT_NAME_CAP) strcpy(dot + 1, suffix);
}

static status find(const weight_source *s, weight_place p, int32_t layer, const char *suffix, weight_found *f, err *e)
{
    weight_names_gguf(p, layer, f->name);
    if (suffix) replace_last_part(f->name, suffix);
    const gguf_tensor *t = gguf_tensor_find(s->file, f->name);
    f->there = t != NULL;
    if (!t) return OK;
    if (!dtype_of(t->type)->decode)
        return err_set(e, E_UNSUPPORTED, "cannot compute with tensor \"%s\"\nits type is %s\nConvert the model again with a type made for weights.", f->name, dtype_of(t->type)->name);
    f->type = t->type;
    memcpy(f->ne, t->ne, sizeof f->ne);
    f->data = t->data;
    return OK;
}

/* A tensor of the text model that no place asks for may mean that the file computes something else. */
static status check_strangers(const gguf_file *g, err *e)
{
    for (uint64_t i = 0; i < gguf_tensor_count(g); i++) {
        str name = gguf_tensor_at(g, i)->name;
        int32_t layer;
        if (!str_starts(name, "blk.") || weight_names_place(name, &layer) != WEIGHT_PLACES) continue;
        if (str_ends(name, ".scale") || str_ends(name, ".input_scale")) continue;
        if (str_ends(name, ".bias") || str_ends(name, ".attn_qkv.weight"))
            return err_set(e, E_UNSUPPORTED, "cannot run this model\nit has tensor \"%.*s\", which facet does not implement", (int)name.n, name.p);
        log_print(LOG_WARN, "tensor \"%.*s\" is not used", (int)name.n, name.p);
    }
    return OK;
}

/* The angle of pair j is divided by factor j. */
static status rope_factors(gemma_config *c, const gguf_file *g, err *e)
{
    status st = OK;
    float *x = NULL;
    int64_t pairs = 0;
    for (int32_t i = 0; i < c->layer_count; i++)
        if (c->layers[i].full) pairs = c->layers[i].d / 2;
    weight_source s = { .file = g };
    weight_found f = { .ne = { 1, 1, 1, 1 } };
    TRY(find(&s, WEIGHT_ROPE_FACTORS, -1, NULL, &f, e));
    if (!f.there || pairs == 0) goto out;
    if (f.ne[0] != pairs || f.ne[1] != 1 || f.ne[2] != 1 || f.ne[3] != 1)
        FAIL(e, E_FORMAT, "tensor \"%s\" has the wrong shape\nfull layers have %d pairs", f.name, (int)pairs);
    x = mem_array((size_t)pairs, sizeof *x, MEM_WEIGHTS);
    if (!x) FAIL(e, E_NOMEM, "could not load the model\nout of memory");
    dtype_of(f.type)->decode(f.data, x, pairs);
    for (int64_t i = 0; i < pairs; i++)
        if (!isfinite(x[i]) || x[i] <= 0) FAIL(e, E_FORMAT, "tensor \"%s\" is damaged\nelement %d is no positive number", f.name, (int)i);
    mem_free(c->rope_factors);
    c->rope_factors = x;
    x = NULL;
out:
    mem_free(x);
    return st;
}

status weights_from_gguf(weights *w, gemma_config *c, const gguf_file *g, err *e)
{
    status st = OK;
    weight_source s = { .find = find, .file = g };
    if (gguf_tensor_count(g) == 0)
        FAIL(e, E_FORMAT, "this file has no weights\nit is a vocabulary only\nIt serves \"facet tokenize\" and \"facet render\"; give a whole model to run.");
    TRY(check_strangers(g, e));
    TRY(rope_factors(c, g, e));
    TRY(weights_place(w, c, &s, e));
out:
    return st;
}
