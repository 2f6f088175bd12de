/* Any bytes as a GGUF: the reader, every getter, the configuration and the placing of weights.  What opens must be
 * readable to its last byte. */
#include <stdlib.h>

#include "base/bits.h"
#include "fmt/gguf.h"
#include "model/weights.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void need(bool ok)
{
    if (!ok) abort();
}

static status count_string(void *user, uint64_t i, str s, err *e)
{
    (void)i;
    (void)e;
    for (size_t k = 0; k < s.n; k++) *(uint64_t *)user += (unsigned char)s.p[k];
    return OK;
}

static void read_values(const gguf_file *g)
{
    for (uint64_t i = 0; i < gguf_value_count(g); i++) {
        const gguf_value *v = gguf_value_at(g, i);
        err e;
        int64_t number;
        uint64_t sum = 0;
        need(v->key.n > 0);
        for (uint64_t k = 0; k < MIN(v->count, 64u); k++) (void)gguf_item_i64(v, k, &number, &e);
        if (v->count) (void)gguf_item_i64(v, v->count - 1, &number, &e);
        need(gguf_item_i64(v, v->count, &number, &e) != OK);
        (void)gguf_each_str(v, count_string, &sum, &e);
    }
}

static void read_tensors(const gguf_file *g, const uint8_t *data, size_t n)
{
    for (uint64_t i = 0; i < gguf_tensor_count(g); i++) {
        const gguf_tensor *t = gguf_tensor_at(g, i);
        need(t->data >= data && t->bytes <= n && (size_t)(t->data - data) <= n - t->bytes);
        need(t->ne[0] % dtype_of(t->type)->block == 0);
        need(t->bytes == dtype_row_bytes(t->type, t->ne[0]) * (size_t)(t->ne[1] * t->ne[2] * t->ne[3]));
    }
}

/* The bytes that a placed matrix says it has must be there. */
static void touch(const weight *w, uint64_t *sum)
{
    if (!weight_has(w)) return;
    *sum += weight_row(w, w->mats - 1, w->rows - 1)[w->row_bytes - 1];
    *sum += w->data[0];
}

static void read_weights(gemma_config *c, const gguf_file *g)
{
    err e;
    weights w;
    uint64_t sum = 0;
    if (weights_from_gguf(&w, c, g, &e) != OK) return;
    touch(&w.embed, &sum);
    touch(&w.head, &sum);
    touch(&w.ple_embed, &sum);
    for (int32_t i = 0; i < c->layer_count; i++) {
        const layer_weights *l = &w.layers[i];
        const weight *all[] = { &l->q, &l->k, &l->v, &l->o, &l->gate, &l->up, &l->down, &l->router, &l->gate_exps, &l->up_exps, &l->down_exps, &l->ple_gate, &l->ple_proj };
        for (size_t k = 0; k < COUNT_OF(all); k++) touch(all[k], &sum);
        need(c->layers[i].kv_source <= i && c->layers[i].nq % c->layers[i].nkv == 0);
    }
    weights_done(&w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    err e = { 0 };
    gguf_file *g = NULL;
    gemma_config c;
    if (gguf_open_memory(&g, data, n, &e) != OK) {
        need(g == NULL && e.what[0] != 0);
        return 0;
    }
    read_values(g);
    read_tensors(g, data, n);
    if (gemma_config_from_gguf(&c, g, &e) == OK) {
        read_weights(&c, g);
        gemma_config_done(&c);
    } else {
        need(e.what[0] != 0);
    }
    gguf_close(g);
    return 0;
}
