#include "quant/quant.h"

#include "base/bits.h"
#include "os/file.h"
#include "quant/quant_int.h"

/* ---- what may be written ------------------------------------------------------------------------- */

static status check_types(const quant_opts *o, err *e)
{
    const dtype asked[] = { o->type, o->embedding, o->ple };
    for (size_t i = 0; i < COUNT_OF(asked); i++)
        if (!quant_types_is_written(asked[i]) && (i == 0 || asked[i] != DTYPE_COUNT)) {
            const dtype_info *d = dtype_of(asked[i]);
            return err_set(e, E_ARG, "cannot write tensors as %s\nthis program only reads that type", d ? d->name : "this type");
        }
    return OK;
}

status quant_check_out(const gemma *m, const char *out, bool force, err *e)
{
    if (m->gguf ? gguf_has_file(m->gguf, out) : st_has_file(m->safetensors, out))
        return err_set(e, E_ARG, "cannot write \"%s\"\nit is the model that is read\nGive another name.", out);
    if (file_is_dir(out)) return err_set(e, E_ARG, "cannot write \"%s\"\nit is a folder\nGive the name of a file.", out);
    if (!force && file_is_regular(out)) return err_set(e, E_ARG, "\"%s\" is there already\nit would be replaced\nGive another name, or --force.", out);
    return OK;
}

uint64_t quant_model_bytes(const gemma *m) { return m->gguf ? gguf_file_bytes(m->gguf) : st_file_bytes(m->safetensors); }

/* ---- the report ---------------------------------------------------------------------------------- */

static void note(void *user, const quant_item *t, const quant_sum *sum)
{
    quant_report *r = user;
    quant_kind *k = &r->kinds[t->place];
    k->tensors++;
    k->elements += t->ne[0] * quant_rows(t);
    k->before += quant_bytes(t, t->from);
    k->after += quant_bytes(t, t->to);
    k->from |= (uint64_t)1 << t->from;
    k->to |= (uint64_t)1 << t->to;
    k->error += sum->error;
    k->power += sum->power;
    if (t->to == t->wanted) return;
    k->fell++;
    k->fell_cols = t->ne[0];
    k->fell_from = t->wanted;
    k->fell_to = t->to;
}

/* ---- writing ------------------------------------------------------------------------------------- */

static status to_gguf(void *user, const void *p, size_t n, err *e) { return gguf_write_data(user, p, n, e); }

status quant_write_gguf(const gemma *m, const quant_list *l, const char *out, dtype main_type, quant_stream *s, quant_note fn, void *user, err *e)
{
    status st = OK;
    gguf_writer *w = NULL;
    TRY(gguf_writer_new(&w, out, e));
    TRY(quant_keys_write(w, m, main_type, e));
    for (size_t i = 0; i < l->count; i++) TRY(gguf_put_tensor(w, l->items[i].name, l->items[i].to, l->items[i].n_dims, l->items[i].ne, e));
    for (size_t i = 0; i < l->count; i++) {
        quant_sum sum;
        TRY(quant_stream_item(s, &l->items[i], to_gguf, w, &sum, e));
        fn(user, &l->items[i], &sum);
    }
    TRY(gguf_writer_end(w, e));
out:
    gguf_writer_free(w);
    return st;
}

status quant_file(const char *in, const char *out, const quant_opts *o, quant_report *report, err *e)
{
    status st = OK;
    gemma *m = NULL;
    quant_list l = { 0 };
    quant_stream *s = NULL;
    quant_report r = { 0 };
    TRY(check_types(o, e));
    TRY(gemma_open(&m, in, e));
    TRY(quant_check_out(m, out, o->force, e));
    TRY(quant_list_read(&l, m, e));
    for (size_t i = 0; i < l.count; i++) quant_types_choose(&l.items[i], o);
    TRY(quant_stream_new(&s, &l, o->threads, e));
    quant_stream_watch(s, o->progress, o->user, quant_list_bytes(&l));
    TRY(quant_write_gguf(m, &l, out, o->type, s, note, &r, e));
    r.file_before = quant_model_bytes(m);
    r.file_after = (uint64_t)MAX(file_size(out), 0);
    *report = r;
out:
    quant_stream_free(s);
    quant_list_done(&l);
    gemma_close(m);
    return st;
}
