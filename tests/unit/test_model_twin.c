/* The same weights in safetensors and in GGUF, written here: not one bit of the logits differs. */
#include "support/gguf_twin.h"
#include "support/model.h"

static float *run(const gemma *m, const golden *g, bool exact)
{
    float *logits = malloc(sizeof *logits * (size_t)g->T * (size_t)g->V);
    gemma_ctx_opts o = model_opts(exact);
    gemma_ctx *x = model_ctx(m, &o);
    assert_non_null(logits);
    model_run(x, model_seq(x), g->tokens, g->T, g->T, logits, g->V);
    gemma_ctx_free(x);
    return logits;
}

static void compare(const golden *g, const gemma *twin, const char *name, bool exact)
{
    float *a = run(g->m, g, exact), *b = run(twin, g, exact);
    for (int64_t i = 0; i < (int64_t)g->T * g->V; i++)
        if (memcmp(&a[i], &b[i], sizeof *a) != 0)
            fail_msg("%s, %s path: row %d, token %d: %.9g from safetensors, %.9g from GGUF", name, exact ? "exact" : "fast",
                     (int)(i / g->V), (int)(i % g->V), (double)a[i], (double)b[i]);
    free(a);
    free(b);
}

/* On the exact path a weight is its value in float32, so the F32 twin of a bf16 folder gives the same bits too; the fast
 * path rounds inputs by the weight's type. */
static void twins(bool f32)
{
    for (int i = 0; i < GOLDEN_FOLDERS; i++) {
        err e = { 0 };
        golden g;
        gemma *twin = NULL;
        char path[] = "/tmp/facet-twin-XXXXXX";
        int fd = mkstemp(path);
        assert_true(fd >= 0);
        close(fd);
        golden_open(&g, golden_names[i]);
        gguf_twin_write(g.m, path, f32);
        assert_ok(gemma_open(&twin, path, &e), &e);
        compare(&g, twin, golden_names[i], true);
        if (!f32) compare(&g, twin, golden_names[i], false);
        gemma_close(twin);
        golden_close(&g);
        unlink(path);
    }
}

static void gguf_of_the_same_type(void **state)
{
    (void)state;
    twins(false);
}

static void gguf_in_f32(void **state)
{
    (void)state;
    twins(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gguf_of_the_same_type),
        cmocka_unit_test(gguf_in_f32),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
