/* facet bench masks: which tokens may come next in constrained answers. */
#include <stdio.h>

#include "bench/bench_masks.h"
#include "cmd/cmd_bench.h"
#include "text/text_model.h"

typedef struct table { json_t *rows; bool begun; } table;

static void print_row(void *user, const bench_masks *m)
{
    table *t = user;
    if (t->rows) {
        json_array_append_new(t->rows, json_pack("{s:s, s:I, s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "schema", m->what, "masks", (json_int_t)m->mask.count, "compile_ms", m->compile_s * 1e3,
                                                 "mask_us", m->mask.median * 1e6, "mask_p99_us", m->mask_p99 * 1e6, "mask_max_us", m->mask.max * 1e6,
                                                 "accept_us", m->accept.median * 1e6, "accept_p99_us", m->accept_p99 * 1e6, "accept_max_us", m->accept.max * 1e6));
        return;
    }
    if (!t->begun) printf("%-20s %8s %11s %10s %8s %8s %10s %8s %8s\n", "schema", "masks", "compile ms", "mask us", "p99", "max", "accept us", "p99", "max");
    t->begun = true;
    printf("%-20s %8zu %11.2f %10.2f %8.2f %8.1f %10.2f %8.2f %8.1f\n", m->what, m->mask.count, m->compile_s * 1e3, m->mask.median * 1e6, m->mask_p99 * 1e6, m->mask.max * 1e6,
           m->accept.median * 1e6, m->accept_p99 * 1e6, m->accept.max * 1e6);
    fflush(stdout);
}

status cmd_bench_masks(args *a, err *e)
{
    status st = OK;
    char *path = NULL;
    text_model m = { 0 };
    table t = { 0 };
    TRY(setup_path(a, &path, e));
    TRY(text_model_open(&m, path, e));
    if (args_flag(a, "json") && !(t.rows = json_array())) FAIL(e, E_NOMEM, "could not print the results\nout of memory");
    bench_masks_opts o = { .tok = m.tok, .answers = (int)args_int(a, "rounds"), .row = print_row, .user = &t };
    TRY(bench_masks_run(&o, e));
    if (t.rows) TRY(cmd_bench_print(json_pack("{s:i, s:O}", "tokens", (int)tok_count(m.tok), "results", t.rows), e));
out:
    json_decref(t.rows);
    text_model_done(&m);
    mem_free(path);
    return st;
}
