/* mk_grads MODEL ADAPTER THREADS exact|fast < ROWS > OUT: loss and gradients of one micro-batch, for comparing (tests/oracle/gradients.py).
 *
 * ROWS: lines "token position document label".  OUT: a line "loss VALUE"; then of each matrix a line "NAME EXPERT A|B ROWS COLS" and its float32. */
#include <stdlib.h>
#include <string.h>

#include "lora/lora.h"
#include "support/gradients.h"
#include "support/must.h"

enum { ROWS_MAX = 4096 };

static void put(const tune_param *p, char which, const float *g, int64_t rows, int64_t cols)
{
    char name[96];
    gradients_name(p, name, sizeof name);
    printf("%s %d %c %lld %lld\n", name, p->expert, which, (long long)rows, (long long)cols);
    fwrite(g, sizeof *g, (size_t)(rows * cols), stdout);
}

int main(int argc, char **argv)
{
    static tune_row rows[ROWS_MAX];
    err e = { 0 };
    gemma *m = NULL;
    gemma_adapter *a = NULL;
    tune_params *p = NULL;
    tune_step *s = NULL;
    tune_sums sums = { 0 };
    int32_t T = 0;
    int64_t targets = 0;
    if (argc != 5) {
        fprintf(stderr, "usage: mk_grads MODEL ADAPTER THREADS exact|fast < ROWS > OUT\n");
        return 2;
    }
    while (T < ROWS_MAX && scanf("%d %d %d %d", &rows[T].id, &rows[T].pos, &rows[T].doc, &rows[T].label) == 4) targets += rows[T++].label >= 0;
    lora_part part = { .path = argv[2], .scale = 1 };
    tune_step_opts o = { .threads = atoi(argv[3]), .exact = strcmp(argv[4], "exact") == 0, .rows_max = T };
    must(gemma_open(&m, argv[1], &e), &e);
    must(lora_load(&a, m, &part, 1, &e), &e);
    must(tune_params_from(&p, m, a, &e), &e);
    must(tune_step_new(&s, m, p, &o, NULL, &e), &e);
    must(tune_step_add(s, rows, T, targets, &sums, &e), &e);
    printf("loss %.9g\n", sums.loss / (double)targets);
    for (int64_t i = 0; i < p->count; i++) {
        put(&p->p[i], 'A', p->p[i].da, p->p[i].rank, p->p[i].in);
        put(&p->p[i], 'B', p->p[i].db, p->p[i].out, p->p[i].rank);
    }
    tune_step_free(s);
    tune_params_free(p);
    gemma_adapter_free(a);
    gemma_close(m);
    return ferror(stdout) || fflush(stdout) != 0;
}
