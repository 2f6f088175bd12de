/* Any bytes as an adapter of a miniature: a configuration, a NUL, then safetensors; or a GGUF file.  Refused with a reason, or terms
 * within the model. */
#include <stdlib.h>
#include <string.h>

#include "lora/lora_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static gemma *model;

static void need(bool ok)
{
    if (!ok) abort();
}

typedef struct input { lora_peft *peft; gguf_file *gguf; } input;

static status fill(const input *in, gemma_adapter *a, err *e)
{
    return in->peft ? lora_peft_fill(in->peft, a, 1, e) : lora_gguf_fill(model, in->gguf, a, 1, e);
}

/* Both passes must want the same. */
static void use(const input *in)
{
    err e = { 0 };
    gemma_adapter *measured = NULL, *real = NULL;
    if (gemma_adapter_new(&measured, model, 0, &e) == OK && fill(in, measured, &e) == OK && gemma_adapter_count(measured)) {
        size_t bytes = gemma_adapter_bytes(measured);
        need(gemma_adapter_rank(measured) <= LORA_RANK_MAX);
        if (gemma_adapter_new(&real, model, bytes, &e) == OK && fill(in, real, &e) == OK) need(gemma_adapter_bytes(real) == bytes);
    }
    gemma_adapter_free(measured);
    gemma_adapter_free(real);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    err e = { 0 };
    input in = { 0 };
    json_t *config = NULL;
    status st;
    if (!model) need(gemma_open(&model, "tests/golden/26b-odd/model", &e) == OK);
    if (n >= 4 && memcmp(data, "GGUF", 4) == 0) {
        st = gguf_open_memory(&in.gguf, data, n, &e);
        if (st == OK) st = lora_gguf_check(model, in.gguf, &e);
    } else {
        const uint8_t *end = memchr(data, 0, n);
        if (!end || json_parse(&config, (str){ (const char *)data, (size_t)(end - data) }, "fuzz", false, &e) != OK) return 0;
        st = lora_peft_open_memory(&in.peft, model, config, (str){ (const char *)end + 1, n - 1 - (size_t)(end - data) }, LORA_ORDER_FILE, &e);
    }
    if (st == OK) use(&in);
    else need(e.what[0] != 0);
    json_decref(config);
    lora_peft_close(in.peft);
    gguf_close(in.gguf);
    return 0;
}
