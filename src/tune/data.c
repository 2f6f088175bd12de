/* Files to documents. */
#include <math.h>
#include <stdio.h>

#include "base/bits.h"
#include "base/hash.h"
#include "text/chat_value.h"
#include "tune/data_int.h"

enum { HELD_OUT_ROWS_MIN = 50 };

status data_reserve(void *list, int64_t *cap, int64_t count, int64_t more, size_t size, err *e)
{
    void **p = list;
    if (count + more <= *cap) return OK;
    int64_t wanted = MAX(MAX(*cap * 2, count + more), (int64_t)64);
    size_t bytes;
    void *grown = mul_size((size_t)wanted, size, &bytes) ? mem_resize(*p, bytes, MEM_TEXT) : NULL;
    if (!grown) return err_set(e, E_NOMEM, "could not hold the training data\nout of memory");
    *p = grown;
    *cap = wanted;
    return OK;
}

void data_free(data_set *d)
{
    if (!d) return;
    for (int32_t i = 0; i < d->file_count; i++) mem_free(d->files[i].path);
    for (int64_t i = 0; i < d->bad_count; i++) mem_free(d->bad[i].reason);
    mem_free(d->files);
    mem_free(d->ids);
    mem_free(d->target);
    mem_free(d->docs);
    mem_free(d->examples);
    mem_free(d->bad);
    mem_free(d);
}

/* ---- documents -------------------------------------------------------------------------------------------- */

status data_add_example(data_builder *b, err *e)
{
    data_set *d = b->set;
    status st = data_reserve(&d->examples, &d->example_cap, d->example_count, 1, sizeof *d->examples, e);
    if (st != OK) return st;
    d->examples[d->example_count++] = (data_example){ .first = d->doc_count, .row = b->row, .file = b->file };
    return OK;
}

static status reserve_tokens(data_set *d, int64_t n, err *e)
{
    status st = OK;
    int64_t cap = d->token_cap, flag_cap = d->token_cap;
    if (d->tokens + n > DATA_TOKENS_MAX) FAIL(e, E_FORMAT, "cannot use the training data\nit has more than %lld tokens", (long long)DATA_TOKENS_MAX);
    TRY(data_reserve(&d->ids, &cap, d->tokens, n, sizeof *d->ids, e));
    TRY(data_reserve(&d->target, &flag_cap, d->tokens, n, sizeof *d->target, e));
    d->token_cap = cap;
out:
    return st;
}

status data_add_doc(data_builder *b, const int32_t *ids, const uint8_t *target, size_t n, data_side side, int32_t turns_cut, err *e)
{
    status st = OK;
    data_set *d = b->set;
    data_doc doc = { .begin = d->tokens, .n = (int32_t)n, .file = b->file, .line = b->line, .side = side, .turns_cut = turns_cut,
                     .example = d->example_count - 1 };
    TRY(reserve_tokens(d, (int64_t)n, e));
    TRY(data_reserve(&d->docs, &d->doc_cap, d->doc_count, 1, sizeof *d->docs, e));
    memcpy(d->ids + d->tokens, ids, n * sizeof *ids);
    memcpy(d->target + d->tokens, target, n);
    for (size_t i = 0; i < n; i++) doc.targets += target[i];
    d->docs[d->doc_count++] = doc;
    d->examples[d->example_count - 1].count++;
    d->tokens += doc.n;
out:
    return st;
}

/* ---- rows -------------------------------------------------------------------------------------------------- */

typedef struct mark { int64_t tokens, docs, examples; } mark;

static mark mark_of(const data_set *d) { return (mark){ d->tokens, d->doc_count, d->example_count }; }

static void go_back(data_set *d, mark m)
{
    d->tokens = m.tokens;
    d->doc_count = m.docs;
    d->example_count = m.examples;
}

static const char *unknown_shape(const json_t *row)
{
    if (!json_is_object(row)) return "it is no object";
    if (json_object_get(row, "label")) return "it has a label for a single answer (KTO), which cannot be trained here";
    return "it is of no known form: none of messages, conversations, instruction and output, prompt and completion, text, chosen and rejected";
}

/* The form of a file is that of its first row that has one; the others must have it too. */
static status check_form(data_builder *b, const json_t *row, err *e)
{
    data_file *f = &b->set->files[b->file];
    data_form form = data_shape_of(row);
    if (form == DATA_UNKNOWN) return err_set(e, E_FORMAT, "%s", unknown_shape(row));
    if ((form == DATA_PREFERENCE) != b->set->opts.pairs)
        return err_set(e, E_FORMAT, b->set->opts.pairs ? "it has no chosen and rejected answer, which this method needs"
                                                       : "it has a chosen and a rejected answer, which only DPO and ORPO train");
    if (f->form == DATA_UNKNOWN) f->form = form;
    if (f->form != form)
        return err_set(e, E_FORMAT, "it is a row of %s; the file began with %s", data_form_name(form), data_form_name(f->form));
    return OK;
}

static status render_all(data_builder *b, const data_talk *talks, int count, err *e)
{
    status st = OK;
    for (int i = 0; i < count; i++) TRY(data_render_talk(b, &talks[i], e));
out:
    return st;
}

/* Both answers of a pair stand behind the same turns: what one loses for its length, the other loses too. */
static status render_pair(data_builder *b, data_talk talks[2], err *e)
{
    status st = OK;
    data_set *d = b->set;
    mark before = mark_of(d);
    const data_report counts = *b->report;
    TRY(render_all(b, talks, 2, e));
    int32_t chosen = d->docs[before.docs].turns_cut, rejected = d->docs[before.docs + 1].turns_cut;
    if (chosen == rejected) return OK;
    go_back(d, before);
    d->examples[d->example_count - 1].count = 0;
    *b->report = counts;
    talks[0].least_cut = talks[1].least_cut = (size_t)MAX(chosen, rejected);
    TRY(render_all(b, talks, 2, e));
out:
    return st;
}

static status use_row(data_builder *b, const data_row *row, err *e)
{
    status st = OK;
    json_t *j = NULL;
    data_talk talks[2];
    int count = 0;
    if (row->bad) FAIL(e, E_FORMAT, "%s", row->bad);
    TRY(chat_value_read(&j, row->text, "it", e));
    TRY(check_form(b, j, e));
    TRY(data_add_example(b, e));
    TRY(data_shape_read(talks, &count, j, b->set->files[b->file].form, &b->set->opts, b->report, e));
    if (count == 2 && talks[0].messages)       /* both answers to one and the same prompt */
        talks[0].think = talks[1].think = data_render_thinks(&talks[0], b->set->opts.think) || data_render_thinks(&talks[1], b->set->opts.think);
    TRY(count == 2 ? render_pair(b, talks, e) : render_all(b, talks, count, e));
out:
    for (int i = 0; i < count; i++) data_talk_done(&talks[i]);
    json_decref(j);
    return st;
}

static void add_counts(data_report *to, const data_report *row)
{
    to->rows++;
    to->texts_split += row->texts_split;
    to->thoughts_moved += row->thoughts_moved;
    to->thoughts_dropped += row->thoughts_dropped;
    to->answers_untrained += row->answers_untrained;
}

static status add_bad(data_set *d, int32_t file, int64_t line, const err *why, err *e)
{
    status st = OK;
    char reason[sizeof why->what + sizeof why->why + 3];
    snprintf(reason, sizeof reason, "%s%s%s", why->what, why->why[0] ? ": " : "", why->why);
    TRY(data_reserve(&d->bad, &d->bad_cap, d->bad_count, 1, sizeof *d->bad, e));
    char *copy = mem_strdup(reason, strlen(reason), MEM_TEXT);
    if (!copy) FAIL(e, E_NOMEM, "could not hold the training data\nout of memory");
    d->bad[d->bad_count++] = (data_bad){ file, line, copy };
    d->files[file].bad++;
    if (d->bad_count > d->opts.bad_max)
        FAIL(e, E_FORMAT, "cannot use \"%s\"\nline %lld: %s\n%s %lld bad row%s may be skipped: correct them, or allow more.", d->files[d->bad[0].file].path,
             (long long)d->bad[0].line, d->bad[0].reason, d->opts.bad_max ? "Only" : "No more than", (long long)d->opts.bad_max, d->opts.bad_max == 1 ? "" : "s");
out:
    return st;
}

/* A row that cannot be used leaves nothing behind; running out of memory or of disk is no fault of the row. */
static status read_row(data_builder *b, const data_row *row, err *e)
{
    data_set *d = b->set;
    data_report counts = { 0 };
    mark before = mark_of(d);
    err why = { 0 };
    b->line = row->line;
    b->row = d->report.rows;
    b->report = &counts;
    status st = use_row(b, row, &why);
    if (st == OK) {
        add_counts(&d->report, &counts);
        d->files[b->file].rows++;
        return OK;
    }
    go_back(d, before);
    if (st == E_FORMAT || st == E_ARG || st == E_UNSUPPORTED) return add_bad(d, b->file, row->line, &why, e);
    if (e) *e = why;
    return st;
}

static status read_file(data_builder *b, data_stream *s, err *e)
{
    status st = OK;
    data_rows *rows = NULL;
    data_row row;
    bool have = true;
    TRY(data_rows_new(&rows, s, b->set->files[b->file].path, e));
    for (;;) {
        TRY(data_rows_next(rows, &row, &have, e));
        if (!have) break;
        TRY(read_row(b, &row, e));
    }
out:
    data_rows_free(rows);
    return st;
}

/* ---- the end ------------------------------------------------------------------------------------------------- */

/* Whole rows, chosen by lot. */
static status hold_out(data_set *d, err *e)
{
    status st = OK;
    int64_t rows = d->report.rows, wanted = llround((double)rows * d->opts.held_out);
    data_lot *lots = NULL;
    uint8_t *held = NULL;
    if (!(d->opts.held_out > 0) || rows < HELD_OUT_ROWS_MIN) goto out;
    wanted = MIN(MAX(wanted, 1), rows - 1);
    lots = mem_array((size_t)rows, sizeof *lots, MEM_TEXT);
    held = mem_alloc((size_t)rows, MEM_TEXT);
    if (!lots || !held) FAIL(e, E_NOMEM, "could not hold the training data\nout of memory");
    for (int64_t i = 0; i < rows; i++) lots[i].value = i;
    data_order_draw(lots, rows, d->opts.seed, 0, 0x68656C64u);
    for (int64_t i = 0; i < wanted; i++) held[lots[i].value] = 1;
    for (int64_t i = 0; i < d->example_count; i++) d->examples[i].held_out = held[d->examples[i].row];
    d->report.held_out_rows = wanted;
out:
    mem_free(lots);
    mem_free(held);
    return st;
}

static int bucket_of(int32_t n)
{
    int k = 0;
    while (k + 1 < DATA_BUCKETS && n >> (k + 1)) k++;
    return k;
}

static void count(data_set *d)
{
    data_report *r = &d->report;
    r->examples = d->example_count;
    r->docs = d->doc_count;
    r->tokens = d->tokens;
    for (int64_t i = 0; i < d->doc_count; i++) {
        const data_doc *doc = &d->docs[i];
        r->targets += doc->targets;
        r->longest = MAX(r->longest, doc->n);
        r->docs_cut += doc->turns_cut > 0;
        r->turns_cut += doc->turns_cut;
        r->held_out_docs += d->examples[doc->example].held_out;
        r->histogram[bucket_of(doc->n)]++;
        d->files[doc->file].docs++;
        d->files[doc->file].tokens += doc->n;
    }
}

static void fingerprint(data_set *d)
{
    uint64_t h = hash_bytes(d->ids, (size_t)d->tokens * sizeof *d->ids, d->opts.seed);
    h = hash_bytes(d->target, (size_t)d->tokens, h);
    for (int64_t i = 0; i < d->doc_count; i++) {
        int64_t part[3] = { d->docs[i].n, d->docs[i].example, d->examples[d->docs[i].example].held_out };
        h = hash_bytes(part, sizeof part, h);
    }
    for (int32_t i = 0; i < d->file_count; i++) h = hash_bytes(&d->files[i].weight, sizeof d->files[i].weight, h ^ (uint64_t)d->files[i].docs);
    d->fingerprint = h;
}

static status finish(data_set *d, err *e)
{
    status st = OK;
    if (!d->doc_count && d->bad_count)
        FAIL(e, E_FORMAT, "cannot use \"%s\"\nno row of it can be trained; line %lld: %s", d->files[d->bad[0].file].path, (long long)d->bad[0].line, d->bad[0].reason);
    if (!d->doc_count) FAIL(e, E_FORMAT, "cannot use \"%s\"\nit has no rows", d->files[0].path);
    TRY(hold_out(d, e));
    count(d);
    fingerprint(d);
out:
    return st;
}

static status start(data_set **out, const data_source *sources, int32_t n, const data_opts *o, err *e)
{
    status st = OK;
    data_set *d = mem_alloc(sizeof *d, MEM_TEXT);
    if (!d) FAIL(e, E_NOMEM, "could not hold the training data\nout of memory");
    d->opts = *o;
    if (n < 1) FAIL(e, E_ARG, "cannot train without data\nno file is named");
    if (o->max_length < DATA_LENGTH_MIN || o->max_length > DATA_LENGTH_MAX)
        FAIL(e, E_ARG, "documents cannot have %d tokens\na length is from %d to %d", o->max_length, (int)DATA_LENGTH_MIN, (int)DATA_LENGTH_MAX);
    if (!(o->held_out >= 0 && o->held_out < 1)) FAIL(e, E_ARG, "cannot hold out a share of %g\nit is from 0 to less than 1", o->held_out);
    d->files = mem_array((size_t)n, sizeof *d->files, MEM_TEXT);
    if (!d->files) FAIL(e, E_NOMEM, "could not hold the training data\nout of memory");
    for (; d->file_count < n; d->file_count++) {
        const data_source *s = &sources[d->file_count];
        if (!(s->weight > 0 && s->weight <= 100)) FAIL(e, E_ARG, "\"%s\" cannot have the weight %g\na weight is more than 0 and at most 100", s->path, s->weight);
        char *path = mem_strdup(s->path, strlen(s->path), MEM_TEXT);
        if (!path) FAIL(e, E_NOMEM, "could not hold the training data\nout of memory");
        d->files[d->file_count] = (data_file){ .path = path, .weight = s->weight };
    }
    *out = d;
    d = NULL;
out:
    data_free(d);
    return st;
}

/* bytes NULL: the sources are files. */
static status load(data_set **out, const data_source *sources, int32_t n, const str *bytes, const tok *t, const data_opts *o, err *e)
{
    status st = OK;
    data_set *d = NULL;
    data_stream *s = NULL;
    TRY(start(&d, sources, n, o, e));
    for (int32_t i = 0; i < n; i++) {
        data_builder b = { .set = d, .tok = t, .file = i };
        TRY(bytes ? data_stream_memory(&s, sources[i].path, *bytes, e) : data_stream_open(&s, sources[i].path, e));
        TRY(read_file(&b, s, e));
        data_stream_close(s);
        s = NULL;
    }
    TRY(finish(d, e));
    *out = d;
    d = NULL;
out:
    data_stream_close(s);
    data_free(d);
    return st;
}

status data_load(data_set **out, const data_source *sources, int32_t n, const tok *t, const data_opts *o, err *e)
{
    return load(out, sources, n, NULL, t, o, e);
}

status data_load_memory(data_set **out, const char *name, str bytes, const tok *t, const data_opts *o, err *e)
{
    return load(out, &(data_source){ name, 1 }, 1, &bytes, t, o, e);
}
