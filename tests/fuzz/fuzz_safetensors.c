/* Any bytes as a safetensors file: what opens must lie inside it, and its tensors must tile the data. */
#include <stdlib.h>

#include "fmt/safetensors.h"
#include "model/weights.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void need(bool ok)
{
    if (!ok) abort();
}

/* A model of the least size: most inputs fail at their first tensor, with its name. */
static void place(const st_file *s)
{
    err e = { 0 };
    weights w;
    gemma_layer_config layer = { .full = true, .nq = 1, .nkv = 1, .d = 2, .ff = 2 };
    gemma_config c = { .layer_count = 1, .hidden = 2, .vocab = 2, .kv_layers = 1, .layers = &layer };
    if (weights_from_safetensors(&w, &c, s, &e) == OK) weights_done(&w);
    else need(e.what[0] != 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    err e = { 0 };
    st_file *s = NULL;
    uint64_t bytes = 0;
    if (st_open_memory(&s, data, n, &e) != OK) {
        need(s == NULL && e.what[0] != 0);
        return 0;
    }
    for (uint64_t i = 0; i < st_count(s); i++) {
        const st_tensor *t = st_at(s, i);
        need(t->data >= data && t->bytes <= n && (size_t)(t->data - data) <= n - t->bytes);
        need(st_find(s, t->name) == t);
        bytes += t->bytes;
    }
    need(bytes <= n);
    place(s);
    st_close(s);
    return 0;
}
