#include <stdio.h>

#include "base/bits.h"
#include "model/weights_int.h"

static bool float_type(st_dtype t, dtype *out)
{
    switch (t) {
    case ST_F32: *out = DTYPE_F32; return true;
    case ST_F16: *out = DTYPE_F16; return true;
    case ST_BF16: *out = DTYPE_BF16; return true;
    default: return false;
    }
}

/* Shapes turn round: PyTorch's last dimension is ggml's first. */
static status find(const weight_source *s, weight_place p, int32_t layer, const char *suffix, weight_found *f, err *e)
{
    f->there = false;
    if (suffix || !weight_names_hf(p, layer, s->prefix, f->name)) return OK;
    const st_tensor *t = st_find(s->file, str_from(f->name));
    if (!t) return OK;
    if (!float_type(t->type, &f->type))
        return err_set(e, E_UNSUPPORTED, "cannot compute with tensor \"%s\"\nits type is %s; facet runs BF16, F16 and F32 from safetensors\nTake the model's original files, or a GGUF.", f->name, t->type_name);
    if (t->n_dims > 4) return err_set(e, E_FORMAT, "tensor \"%s\" has %d dimensions\nthere are at most 4", f->name, t->n_dims);
    for (int i = 0; i < t->n_dims; i++) f->ne[i] = t->shape[t->n_dims - 1 - i];
    f->data = t->data;
    f->there = true;
    return OK;
}

/* The prefix under which the file has a text model, or NULL. */
static const char *find_prefix(const st_file *s)
{
    char name[WEIGHT_NAME_CAP];
    for (const char *const *p = weight_names_hf_prefixes; *p; p++)
        if (weight_names_hf(WEIGHT_EMBED, -1, *p, name) && st_find(s, str_from(name))) return *p;
    return NULL;
}

status weights_from_safetensors(weights *w, const gemma_config *c, const st_file *s, err *e)
{
    weight_source source = { .find = find, .file = s, .prefix = find_prefix(s), .untied = c->untied, .ignore_head = !c->untied };
    if (!source.prefix)
        return err_set(e, E_FORMAT, "the files have no tensor \"model.language_model.embed_tokens.weight\"\nthis may be no Gemma 4 model, or only a part of one");
    return weights_place(w, c, &source, e);
}
