#include "quant/merge.h"

#include <stdio.h>

#include "base/bits.h"
#include "os/file.h"
#include "quant/merge_int.h"

/* A term, and the rows of its tensor that it changes. */
typedef struct span {
    int64_t first_row, rows, cols;
    int32_t r;
    float scale;
    const float *down, *up;
} span;

/* All terms of one tensor. */
typedef struct spans { span *list; int64_t count, cap; } spans;

typedef struct work {
    const gemma *m;
    quant_list list;
    spans *by_item;              /* [list.count] */
    merge_report report;
} work;

/* ---- which rows of which tensor a term changes ---------------------------------------------------- */

static status add_span(spans *s, const span *x, err *e)
{
    if (s->count == s->cap) {
        span *more = mem_resize(s->list, (size_t)(s->cap + 4) * 2 * sizeof *more, MEM_OTHER);
        if (!more) return err_set(e, E_NOMEM, "could not merge the adapter\nout of memory");
        s->list = more;
        s->cap = (s->cap + 4) * 2;
    }
    s->list[s->count++] = *x;
    return OK;
}

/* By the place of its matrix in the file: gate and up of fused experts are rows of one tensor. */
static int64_t item_of(const quant_list *l, const uint8_t *data)
{
    for (size_t i = 0; i < l->count; i++)
        if (l->items[i].mapped && data >= l->items[i].data && data < l->items[i].data + quant_bytes(&l->items[i], l->items[i].from)) return (int64_t)i;
    return -1;
}

static status add_term(void *user, const gemma_term *t, err *e)
{
    work *k = user;
    const weight *w = gemma_adapter_weight(k->m, t->layer, t->which);
    int64_t i = item_of(&k->list, w->data);
    if (i < 0) return err_set(e, E_INTERNAL, "could not merge the adapter\nits matrix \"%s\" is in no tensor", w->name);
    quant_item *item = &k->list.items[i];
    if (t->which == GEMMA_HEAD && item->place == WEIGHT_EMBED)
        return err_set(e, E_UNSUPPORTED, "cannot merge the adapter's term of the head\nthis model's head and its token table are one tensor, which the term would change for both\n"
                                         "Run the adapter beside the model: --adapter.");
    k->report.terms++;
    span x = { .first_row = (w->data - item->data) / (int64_t)w->row_bytes + MAX(t->expert, 0) * w->mat_rows, .rows = w->rows, .cols = w->cols, .r = t->rank,
               .scale = t->scale, .down = t->a, .up = t->b };
    return add_span(&k->by_item[i], &x, e);
}

/* A quant_row_fn.  Terms whose B is zero in this row change nothing: an expert that was not trained keeps its bits. */
static bool row_delta(const void *user, int64_t row, float *delta)
{
    const spans *s = user;
    bool any = false;
    for (int64_t i = 0; i < s->count; i++) {
        const span *x = &s->list[i];
        if (row < x->first_row || row >= x->first_row + x->rows) continue;
        const float *up = x->up + (row - x->first_row) * x->r;
        for (int32_t k = 0; k < x->r; k++) {
            float b = x->scale * up[k];
            if (b == 0) continue;
            if (!any) memset(delta, 0, (size_t)x->cols * sizeof *delta);
            any = true;
            for (int64_t c = 0; c < x->cols; c++) delta[c] += b * x->down[k * x->cols + c];
        }
    }
    return any;
}

/* ---- types ---------------------------------------------------------------------------------------- */

static status choose_types(work *k, const merge_opts *o, bool folder, err *e)
{
    const quant_opts types = { .type = o->type, .embedding = DTYPE_COUNT, .ple = DTYPE_COUNT };
    for (size_t i = 0; i < k->list.count; i++) {
        quant_item *t = &k->list.items[i];
        if (k->by_item[i].count) {
            t->row = row_delta;
            t->row_user = &k->by_item[i];
        }
        if (o->type != DTYPE_COUNT && !folder) quant_types_choose(t, &types);
        else if (o->type != DTYPE_COUNT && t->place != WEIGHT_PLACES) t->to = t->wanted = o->type;
        if ((t->row || t->factors) && !dtype_of(t->to)->encode)
            return err_set(e, E_UNSUPPORTED, "cannot write tensor \"%s\" as %s again\nthis program only reads that type\nSay what it should be: --type q8_0, for example.",
                           t->name, dtype_of(t->to)->name);
    }
    return OK;
}

static status check_type(const merge_opts *o, bool folder, err *e)
{
    bool is_float = o->type == DTYPE_F32 || o->type == DTYPE_F16 || o->type == DTYPE_BF16;
    if (o->type == DTYPE_COUNT || (folder ? is_float : quant_types_is_written(o->type))) return OK;
    return err_set(e, E_ARG, "cannot write a %s as %s\n%s", folder ? "folder" : "file", dtype_of(o->type)->name,
                   folder ? "folders have f32, f16 and bf16\nGive OUT a name that ends in .gguf." : "this program only reads that type");
}

/* The type that the file says it has: the one asked for, or that of most weights. */
static dtype main_type(const work *k, const merge_opts *o)
{
    return o->type != DTYPE_COUNT ? o->type : weights_main_type(&k->m->weights, k->m->config.layer_count);
}

/* ---- the report ----------------------------------------------------------------------------------- */

static void add_sum(merge_kind *to, const quant_item *t, const quant_sum *sum)
{
    to->tensors++;
    to->from |= (uint64_t)1 << t->from;
    to->to |= (uint64_t)1 << t->to;
    to->power += sum->power;
    to->delta += sum->delta;
    to->error += sum->error;
    to->kept += sum->kept;
}

static void note(void *user, const quant_item *t, const quant_sum *sum)
{
    merge_report *r = user;
    if (!t->row) return;
    add_sum(&r->kinds[t->place], t, sum);
    add_sum(&r->all, t, sum);
}

/* ---- all of it ------------------------------------------------------------------------------------ */

static status write_out(work *k, const char *out, const merge_opts *o, bool folder, err *e)
{
    status st = OK;
    quant_stream *s = NULL;
    TRY(quant_stream_new(&s, &k->list, o->threads, e));
    quant_stream_watch(s, o->progress, o->user, quant_list_bytes(&k->list));
    if (folder) TRY(merge_folder_write(k->m, &k->list, out, o->type, s, note, &k->report, e));
    else TRY(quant_write_gguf(k->m, &k->list, out, main_type(k, o), s, note, &k->report, e));
out:
    quant_stream_free(s);
    return st;
}

static void work_done(work *k)
{
    for (size_t i = 0; k->by_item && i < k->list.count; i++) mem_free(k->by_item[i].list);
    mem_free(k->by_item);
    quant_list_done(&k->list);
}

status merge_model(const char *in, const lora_part *parts, size_t count, const char *out, const merge_opts *o, merge_report *report, err *e)
{
    status st = OK;
    gemma *m = NULL, *merged = NULL;
    gemma_adapter *a = NULL;
    int32_t *ids = NULL, id_count = 0;
    work k = { 0 };
    TRY(gemma_open(&m, in, e));
    bool folder = m->safetensors && !str_ends(str_from(out), ".gguf");
    k.m = m;
    TRY(check_type(o, folder, e));
    if (!folder) TRY(quant_check_out(m, out, o->force, e));
    TRY(merge_tokens(m, o->text, &ids, &id_count, e));       /* nothing is written before all that was given is fine */
    TRY(lora_load(&a, m, parts, count, e));
    TRY(folder ? quant_list_folder(&k.list, m, e) : quant_list_read(&k.list, m, e));
    k.by_item = mem_array(k.list.count, sizeof *k.by_item, MEM_OTHER);
    if (!k.by_item) FAIL(e, E_NOMEM, "could not merge the adapter\nout of memory");
    TRY(gemma_adapter_visit(a, add_term, &k, e));
    TRY(choose_types(&k, o, folder, e));
    TRY(write_out(&k, out, o, folder, e));
    TRY(gemma_open(&merged, out, e));
    k.report.file_before = quant_model_bytes(m);
    k.report.file_after = quant_model_bytes(merged);
    st = merge_compare(m, a, merged, ids, id_count, o, &k.report, e);
    a = NULL;
    if (st == OK) *report = k.report;
out:
    gemma_adapter_free(a);
    work_done(&k);
    mem_free(ids);
    gemma_close(merged);
    gemma_close(m);
    return st;
}
