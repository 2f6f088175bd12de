#include "plan/inspect.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/bits.h"

const char *inspect_part_name(int part) { return part == INSPECT_MEDIA ? "image and audio" : weight_names_part_text((weight_part)part); }

/* Towers and projectors in one-file GGUFs and in multimodal checkpoints. */
static bool is_media(str name)
{
    static const char *const marks[] = { "v.", "a.", "mm.", "model.vision_", "model.audio_", "model.embed_vision", "model.embed_audio",
                                         "vision_tower.", "audio_tower.", "embed_vision.", "embed_audio.", "multi_modal_projector." };
    for (size_t i = 0; i < COUNT_OF(marks); i++)
        if (str_starts(name, marks[i])) return true;
    return false;
}

static int part_of(str name)
{
    int32_t layer;
    return is_media(name) ? (int)INSPECT_MEDIA : (int)weight_names_part(weight_names_place(name, &layer));
}

/* Names of safetensors types as everything else in facet writes them. */
static const char *st_type(const st_tensor *t)
{
    return t->type == ST_BF16 ? "bf16" : t->type == ST_F16 ? "f16" : t->type == ST_F32 ? "f32" : t->type_name;
}

uint64_t inspect_tensor_count(const gguf_file *g, const st_file *s) { return g ? gguf_tensor_count(g) : st_count(s); }

void inspect_tensor_at(const gguf_file *g, const st_file *s, uint64_t i, inspect_tensor *out)
{
    *out = (inspect_tensor){ .elements = 1 };
    if (g) {
        const gguf_tensor *t = gguf_tensor_at(g, i);
        out->name = t->name;
        out->type = dtype_of(t->type)->name;
        out->bytes = t->bytes;
        out->n_dims = t->n_dims;
        memcpy(out->dims, t->ne, sizeof t->ne);
    } else {
        const st_tensor *t = st_at(s, i);
        out->name = t->name;
        out->type = st_type(t);
        out->bytes = t->bytes;
        out->n_dims = t->n_dims;
        for (int k = 0; k < t->n_dims; k++) out->dims[k] = t->shape[t->n_dims - 1 - k];
    }
    for (int k = 0; k < out->n_dims; k++) out->elements *= out->dims[k];   /* the reader has checked the product */
    out->part = part_of(out->name);
}

static void add(inspect_sum *sum, const char *name, const inspect_tensor *t)
{
    sum->name = name;
    sum->tensors++;
    sum->bytes += t->bytes;
    sum->elements += t->elements;
}

static void add_type(inspect_sum *types, const inspect_tensor *t)
{
    int i = 0;
    while (i < INSPECT_TYPES - 2 && types[i].name && strcmp(types[i].name, t->type) != 0) i++;
    add(&types[i], t->type, t);
}

static int by_bytes(const void *a, const void *b)
{
    const inspect_sum *x = a, *y = b;
    return (x->bytes < y->bytes) - (x->bytes > y->bytes);
}

static void sort_types(inspect_sum *types)
{
    size_t n = 0;
    while (types[n].name) n++;
    if (n) qsort(types, n, sizeof *types, by_bytes);
}

static void sum_up(inspect_report *r, const gguf_file *g, const st_file *s)
{
    for (uint64_t i = 0; i < inspect_tensor_count(g, s); i++) {
        inspect_tensor t;
        inspect_tensor_at(g, s, i, &t);
        add(&r->all, "all", &t);
        add(&r->parts[t.part], inspect_part_name(t.part), &t);
        add_type(r->types[t.part], &t);
        add_type(r->all_types, &t);
    }
    for (int p = 0; p < INSPECT_PARTS; p++) sort_types(r->types[p]);
    sort_types(r->all_types);
}

static status read_architecture(inspect_report *r, const gguf_file *g, const json_t *config, err *e)
{
    status st = OK;
    str arch = STR("unknown");
    if (g) TRY(gguf_str_or(g, "general.architecture", arch, &arch, e));
    else if (json_is_string(json_object_get(config, "model_type"))) arch = str_from(json_string_value(json_object_get(config, "model_type")));
    snprintf(r->architecture, sizeof r->architecture, "%.*s", (int)MIN(arch.n, sizeof r->architecture - 1), arch.p);
out:
    return st;
}

status inspect_read(inspect_report *out, const gguf_file *g, const st_file *s, const json_t *config, const json_t *generation, const char *name, err *e)
{
    status st = OK;
    *out = (inspect_report){ .format = g ? "GGUF" : "safetensors", .file_bytes = g ? gguf_file_bytes(g) : st_file_bytes(s) };
    TRY(read_architecture(out, g, config, e));
    sum_up(out, g, s);
    st = g ? gemma_config_from_gguf(&out->config, g, &out->why) : gemma_config_from_hf(&out->config, config, generation, name, &out->why);
    if (st == E_NOMEM) {
        if (e) *e = out->why;
        goto out;
    }
    out->known = st == OK;   /* what facet cannot run can still be looked at */
    st = OK;
    if (!out->known) goto out;
    gemma_config_parameters(&out->config, &out->parameters);
out:
    return st;
}

void inspect_done(inspect_report *r) { gemma_config_done(&r->config); }

void inspect_layer_pattern(const gemma_config *c, char *out, size_t cap)
{
    size_t n = MIN((size_t)c->layer_count, cap - 1);
    for (size_t i = 0; i < n; i++) out[i] = c->layers[i].full ? 'F' : 's';
    out[n] = '\0';
}
