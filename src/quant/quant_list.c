/* The tensors of a model, whatever files it comes in, under the names of a GGUF file. */
#include <inttypes.h>
#include <stdio.h>

#include "base/bits.h"
#include "quant/quant_int.h"

void quant_list_done(quant_list *l)
{
    for (size_t i = 0; i < l->count; i++) {
        mem_free(l->items[i].name);
        mem_free(l->items[i].factors);
    }
    mem_free(l->items);
    mem_free(l->rope);
    *l = (quant_list){ 0 };
}

/* Takes over what the item owns. */
static status add(quant_list *l, str name, quant_item *t, err *e)
{
    status st = OK;
    if (l->count == l->cap) {
        quant_item *more = mem_resize(l->items, (l->cap + 64) * 2 * sizeof *more, MEM_OTHER);
        if (!more) FAIL(e, E_NOMEM, "could not list the tensors\nout of memory");
        l->items = more;
        l->cap = (l->cap + 64) * 2;
    }
    t->name = mem_strdup(name.p, name.n, MEM_OTHER);
    if (!t->name) FAIL(e, E_NOMEM, "could not list the tensors\nout of memory");
    t->to = t->wanted = t->from;
    l->items[l->count++] = *t;
    t->factors = NULL;
out:
    mem_free(t->factors);
    return st;
}

/* ---- GGUF ---------------------------------------------------------------------------------------- */

/* NVFP4 files keep a factor of the whole matrix, or of each expert's, beside it; .scale of these two places is something else. */
static bool has_factor(weight_place p) { return p != WEIGHT_PLACES && p != WEIGHT_DOWN_EXPS && p != WEIGHT_ROUTER; }

/* The tensor beside `name` whose last part is `end`: "blk.0.attn_q.weight", "scale" -> "blk.0.attn_q.scale". */
static const gguf_tensor *beside(const gguf_file *g, str name, const char *end)
{
    char other[WEIGHT_NAME_CAP];
    size_t dot = name.n;
    while (dot > 0 && name.p[dot - 1] != '.') dot--;
    if (dot == 0 || dot + strlen(end) >= sizeof other) return NULL;
    snprintf(other, sizeof other, "%.*s%s", (int)dot, name.p, end);
    return gguf_tensor_find(g, other);
}

/* A factor or an input's factor of some matrix: what was quantized by it is written without it. */
static bool is_factor(const gguf_file *g, const gguf_tensor *t)
{
    int32_t layer;
    bool input = str_ends(t->name, ".input_scale");
    if (!input && !str_ends(t->name, ".scale")) return false;
    const gguf_tensor *matrix = beside(g, t->name, "weight");
    if (!matrix || weight_names_place(t->name, &layer) != WEIGHT_PLACES) return false;
    weight_place p = weight_names_place(matrix->name, &layer);
    return input ? p != WEIGHT_PLACES : has_factor(p);
}

static status read_factors(const gguf_file *g, const gguf_tensor *t, quant_item *item, err *e)
{
    const gguf_tensor *f = has_factor(item->place) ? beside(g, t->name, "scale") : NULL;
    int32_t layer;
    if (!f || weight_names_place(f->name, &layer) != WEIGHT_PLACES) return OK;
    if (f->ne[0] != 1 && f->ne[0] != t->ne[2])
        return err_set(e, E_FORMAT, "tensor \"%.*s\" has %" PRId64 " elements\nthe matrix beside it has %" PRId64 " parts", (int)f->name.n, f->name.p, f->ne[0], t->ne[2]);
    item->factors = mem_array((size_t)f->ne[0], sizeof *item->factors, MEM_OTHER);
    if (!item->factors) return err_set(e, E_NOMEM, "could not list the tensors\nout of memory");
    item->factor_count = f->ne[0];
    dtype_of(f->type)->decode(f->data, item->factors, f->ne[0]);
    return OK;
}

static status list_gguf(quant_list *l, const gguf_file *g, err *e)
{
    status st = OK;
    for (uint64_t i = 0; i < gguf_tensor_count(g); i++) {
        const gguf_tensor *t = gguf_tensor_at(g, i);
        if (is_factor(g, t)) continue;
        quant_item item = { .from = t->type, .n_dims = t->n_dims, .data = t->data, .mapped = true };
        item.place = weight_names_place(t->name, &item.layer);
        memcpy(item.ne, t->ne, sizeof item.ne);
        TRY(read_factors(g, t, &item, e));
        TRY(add(l, t->name, &item, e));
    }
out:
    return st;
}

/* ---- Hugging Face -------------------------------------------------------------------------------- */

static bool is_plain(const st_tensor *t) { return (t->type == ST_F32 || t->type == ST_F16 || t->type == ST_BF16) && t->n_dims <= 4; }

static status add_folder_tensor(quant_list *l, const st_tensor *t, str name, weight_place p, int32_t layer, err *e)
{
    if (!is_plain(t))
        return err_set(e, E_UNSUPPORTED, "cannot convert tensor \"%.*s\"\nits type is %s with %d dimensions", (int)t->name.n, t->name.p, t->type_name, t->n_dims);
    quant_item item = { .place = p, .layer = layer, .from = t->type == ST_F32 ? DTYPE_F32 : t->type == ST_F16 ? DTYPE_F16 : DTYPE_BF16,
                        .n_dims = MAX(t->n_dims, 1), .ne = { 1, 1, 1, 1 }, .data = t->data, .mapped = true };
    for (int i = 0; i < t->n_dims; i++) item.ne[i] = t->shape[t->n_dims - 1 - i];
    return add(l, name, &item, e);
}

/* The factors that GGUF files carry: pairs of full layers that turn, and those that do not. */
static status add_rope(quant_list *l, const gemma_config *c, err *e)
{
    char name[WEIGHT_NAME_CAP];
    int64_t pairs = 0;
    for (int32_t i = 0; i < c->layer_count; i++)
        if (c->layers[i].full) pairs = c->layers[i].d / 2;
    if (pairs == 0) return OK;
    l->rope = mem_array((size_t)pairs, sizeof *l->rope, MEM_OTHER);
    if (!l->rope) return err_set(e, E_NOMEM, "could not list the tensors\nout of memory");
    for (int64_t i = 0; i < pairs; i++) l->rope[i] = i < c->rope_pairs_full ? 1.0f : 1e30f;
    weight_names_gguf(WEIGHT_ROPE_FACTORS, -1, name);
    return add(l, str_from(name), &(quant_item){ .place = WEIGHT_ROPE_FACTORS, .layer = -1, .from = DTYPE_F32, .n_dims = 1, .ne = { pairs, 1, 1, 1 },
                                                 .data = (const uint8_t *)l->rope }, e);
}

/* Of all names of the text model, as the loader found it. */
static size_t prefix_bytes(const gemma *m) { return strlen(m->weights.embed.name) - strlen("embed_tokens.weight"); }

/* Keys and values of layers that read an earlier layer's are dead weight, but other programs may ask for them. */
static status list_by_place(quant_list *l, const gemma *m, err *e)
{
    status st = OK;
    char prefix[WEIGHT_NAME_CAP], name[WEIGHT_NAME_CAP];
    const gemma_config *c = &m->config;
    snprintf(prefix, sizeof prefix, "%.*s", (int)prefix_bytes(m), m->weights.embed.name);
    TRY(add_rope(l, c, e));
    for (int32_t layer = -1; layer < c->layer_count; layer++)
        for (int p = 0; p < WEIGHT_PLACES; p++) {
            if (weight_names_per_layer((weight_place)p) != (layer >= 0) || (p == WEIGHT_HEAD && !c->untied)) continue;
            if (!weight_names_hf((weight_place)p, layer, prefix, name)) continue;
            const st_tensor *t = st_find(m->safetensors, str_from(name));
            if (!t) continue;
            weight_names_gguf((weight_place)p, layer, name);
            TRY(add_folder_tensor(l, t, str_from(name), (weight_place)p, layer, e));
        }
out:
    return st;
}

status quant_list_read(quant_list *out, const gemma *m, err *e)
{
    quant_list l = { 0 };
    status st = m->gguf ? list_gguf(&l, m->gguf, e) : list_by_place(&l, m, e);
    if (st == OK) *out = l;
    else quant_list_done(&l);
    return st;
}

/* Towers, and what has no numbers that this program computes with, go through as bytes. */
static status add_own(quant_list *l, const gemma *m, const st_tensor *t, err *e)
{
    int32_t layer = -1;
    str own = { m->weights.embed.name, prefix_bytes(m) };
    weight_place p = weight_names_place(t->name, &layer);
    bool ours = p == WEIGHT_HEAD || (t->name.n >= own.n && str_eq((str){ t->name.p, own.n }, own));
    if (p != WEIGHT_PLACES && ours && is_plain(t)) return add_folder_tensor(l, t, t->name, p, layer, e);
    return add(l, t->name, &(quant_item){ .place = WEIGHT_PLACES, .layer = -1, .from = DTYPE_I8, .n_dims = 1, .ne = { (int64_t)t->bytes, 1, 1, 1 },
                                          .data = t->data, .mapped = true }, e);
}

status quant_list_folder(quant_list *out, const gemma *m, err *e)
{
    status st = OK;
    quant_list l = { 0 };
    for (uint64_t i = 0; i < st_count(m->safetensors); i++) TRY(add_own(&l, m, st_at(m->safetensors, i), e));
    *out = l;
    l = (quant_list){ 0 };
out:
    quant_list_done(&l);
    return st;
}

uint64_t quant_list_bytes(const quant_list *l)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < l->count; i++) sum += quant_bytes(&l->items[i], l->items[i].from);
    return sum;
}
