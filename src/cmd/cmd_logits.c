/* facet logits: what the network computes, as a NumPy array; for comparing and for finding the first difference. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/bits.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/setup.h"
#include "fmt/npy.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/tty.h"

enum { INPUT_MAX = 1 << 30 };

/* ---- output ------------------------------------------------------------------------------------------ */

typedef struct sink {
    file_out out;              /* path NULL: none */
    int32_t total;
    bool quiet;
    const char *dump_dir;
    int32_t rows_done;         /* of earlier steps */
    status dump_status;
    err dump_why;
} sink;

static status on_row(void *user, int32_t pos, const float *logits, int32_t vocab, err *e)
{
    sink *s = user;
    if (s->dump_status != OK) {
        if (e) *e = s->dump_why;
        return s->dump_status;
    }
    s->rows_done = pos + 1;
    if (!s->quiet) tty_progress("logits", (pos + 1.0) / s->total, NULL);
    return s->out.path ? file_out_write(&s->out, logits, (size_t)vocab * sizeof *logits, e) : OK;
}

/* One file per tensor, rows appended step by step. The first failure is kept and told at the next row. */
static void on_tap(void *user, int32_t layer, const char *name, const float *data, int64_t T, int64_t width)
{
    sink *s = user;
    char path[4096], head[NPY_HEAD];
    if (s->dump_status != OK || s->rows_done >= s->total) return;
    snprintf(path, sizeof path, "%s/%d.%s.npy", s->dump_dir, layer, name);
    FILE *f = fopen(path, s->rows_done ? "ab" : "wb");
    npy_head(head, s->total, width);
    bool fine = f && (s->rows_done || fwrite(head, sizeof head, 1, f) == 1) &&
                fwrite(data, (size_t)width * sizeof *data, (size_t)T, f) == (size_t)T;
    int number = errno;
    if (f && fclose(f) != 0 && fine) { fine = false; number = errno; }
    if (!fine) {
        errno = number;
        s->dump_status = err_set(&s->dump_why, E_IO, "could not write \"%s\"\n%s", path, strerror(number));
    }
}

static status open_outputs(args *a, sink *s, int32_t vocab, err *e)
{
    status st = OK;
    char head[NPY_HEAD];
    const char *out = args_text(a, "output");
    s->dump_dir = args_text(a, "dump-layers");
    if (s->dump_dir && mkdir(s->dump_dir, 0777) != 0 && errno != EEXIST)
        FAIL(e, E_IO, "could not make the folder \"%s\"\n%s", s->dump_dir, strerror(errno));
    if (!out) return OK;
    TRY(file_out_begin(&s->out, out, e));
    npy_head(head, s->total, vocab);
    TRY(file_out_write(&s->out, head, sizeof head, e));
out:
    return st;
}

/* ---- input ------------------------------------------------------------------------------------------- */

/* "2,105,7" */
static status parse_ids(args *a, const char *text, int32_t **ids, size_t *count, err *e)
{
    status st = OK;
    err why = { 0 };
    str rest = str_from(text), one;
    size_t n = 0;
    int32_t *list = mem_array(rest.n + 1, sizeof *list, MEM_TEXT);
    if (!list) return err_set(e, E_NOMEM, "could not read the tokens\nout of memory");
    while (str_split(&rest, ',', &one)) {
        int64_t id;
        if (str_to_i64(one, "--tokens", 0, INT32_MAX, &id, &why) != OK) { st = args_mistake(a, e, "%s\n%s", why.what, why.why); goto out; }
        list[n++] = (int32_t)id;
    }
    *ids = list;
    *count = n;
    list = NULL;
out:
    mem_free(list);
    return st;
}

/* bos, then the ids of the text. */
static status text_ids(const facet_model *m, const char *text, int32_t **ids, size_t *count, err *e)
{
    status st = OK;
    facet_model_info info;
    int32_t *body = NULL, *all = NULL;
    size_t n = 0;
    TRY(facet_tokenize(m, text, strlen(text), false, &body, &n, e));
    facet_model_read_info(m, &info);
    size_t bos = info.bos >= 0 ? 1 : 0;
    all = mem_array(n + 1, sizeof *all, MEM_TEXT);
    if (!all) FAIL(e, E_NOMEM, "could not read the text\nout of memory");
    if (bos) all[0] = info.bos;
    if (n) memcpy(all + bos, body, n * sizeof *all);
    *ids = all;
    *count = n + bos;
out:
    facet_free(body);
    return st;
}

static status read_ids(args *a, const facet_model *m, int32_t **ids, size_t *count, err *e)
{
    status st = OK;
    buf b;
    const char *chat = args_text(a, "chat");
    buf_init(&b, INPUT_MAX);
    if (args_text(a, "tokens")) TRY(parse_ids(a, args_text(a, "tokens"), ids, count, e));
    else if (args_text(a, "text")) TRY(text_ids(m, args_text(a, "text"), ids, count, e));
    else {
        TRY(file_read_all(&b, chat, e));
        TRY(facet_render(m, buf_text(&b), b.len, ids, count, e));
    }
out:
    buf_done(&b);
    return st;
}

static status check_options(args *a, err *e)
{
    int inputs = (args_text(a, "tokens") != NULL) + (args_text(a, "text") != NULL) + (args_text(a, "chat") != NULL);
    if (inputs != 1) return args_mistake(a, e, "one of --tokens, --text and --chat says what to compute, and only one");
    if (!args_text(a, "output") && !args_int(a, "greedy") && !args_text(a, "dump-layers"))
        return args_mistake(a, e, "nothing to do\n-o FILE keeps the logits, --greedy N goes on with tokens, --dump-layers DIR keeps tensors");
    return OK;
}

static void print_tokens(const int32_t *ids, int32_t n)
{
    printf("{\"tokens\":[");
    for (int32_t i = 0; i < n; i++) printf("%s%d", i ? "," : "", ids[i]);
    printf("]}\n");
}

static status run(args *a, err *e)
{
    status st = OK;
    facet_model *m = NULL;
    facet_model_info info;
    int32_t *ids = NULL, *greedy = NULL;
    size_t count = 0;
    setup_adapters adapters = { 0 };
    sink s = { .out = { .fd = -1 }, .quiet = args_flag(a, "quiet") };
    facet_logits_opts o = { .row = on_row, .row_user = &s, .greedy = (int32_t)args_int(a, "greedy") };
    setup_log(a);
    TRY(check_options(a, e));
    TRY(setup_engine(a, &o.engine, e));
    TRY(setup_adapters_read(a, false, &adapters, &o.engine, e));
    TRY(setup_model(a, &m, e));
    TRY(read_ids(a, m, &ids, &count, e));
    facet_model_read_info(m, &info);
    s.total = (int32_t)MIN(count, (size_t)INT32_MAX);
    greedy = mem_array((size_t)o.greedy + 1, sizeof *greedy, MEM_TEXT);
    if (!greedy) FAIL(e, E_NOMEM, "could not compute logits\nout of memory");
    o.greedy_out = greedy;
    /* room for what was asked, unless --ctx says otherwise */
    if (!o.engine.ctx) o.engine.ctx = (int32_t)MIN(MAX(count, (size_t)1) + (size_t)o.greedy, (size_t)info.context);
    TRY(open_outputs(a, &s, info.vocab, e));
    if (s.dump_dir) { o.tap = on_tap; o.tap_user = &s; }
    double start = clock_seconds();
    TRY(facet_logits(m, ids, count, &o, e));
    if (s.dump_status != OK) { *e = s.dump_why; st = s.dump_status; goto out; }
    if (s.out.path) TRY(file_out_commit(&s.out, e));
    tty_progress_done();
    if (!s.quiet) fprintf(stderr, "[%zu tokens, %d more, %.2f s]\n", count, o.greedy, clock_seconds() - start);
    if (o.greedy) print_tokens(greedy, o.greedy);
out:
    tty_progress_done();
    file_out_abort(&s.out);
    facet_free(ids);
    mem_free(greedy);
    facet_model_close(m);
    setup_adapters_done(&adapters);
    return st;
}

static const opt options[] = {
    { "tokens", 0, OPT_TEXT, .argument = "ID,ID,...", .group = "Input", .help = "These ids, exactly." },
    { "text", 0, OPT_TEXT, .argument = "TEXT", .group = "Input", .help = "The ids of this text, after the one that begins every text." },
    { "chat", 0, OPT_TEXT, .argument = "FILE", .group = "Input", .help = "The prompt of this conversation, as \"facet render\" takes it." },
    { "output", 'o', OPT_TEXT, .argument = "FILE", .group = "Output", .help = "The logits as a NumPy array: float32 [tokens, vocabulary], softcapped." },
    { "greedy", 0, OPT_INT, .argument = "N", .min = 0, .max = 1 << 24, .group = "Output",
      .help = "Go on with the N likeliest tokens; the last line printed is {\"tokens\":[...]}." },
    { "dump-layers", 0, OPT_TEXT, .argument = "DIR", .group = "Output", .help = "Write named intermediate tensors of each layer into this folder." },
    { 0 } };

const cmd cmd_logits = {
    .name = "logits", .summary = "write what the network computes, for comparing",
    .options = { opt_model, opt_adapter, options, opt_context, opt_machine, opt_output }, .run = run,
    .examples = { { "facet logits -m e2b --tokens 2,105,2364,107 --exact -o out.npy", "logits of four tokens, in reference arithmetic" },
                  { "facet logits -m e2b --text \"Once upon\" --greedy 20 -o out.npy", "and the twenty likeliest tokens after them" } } };
