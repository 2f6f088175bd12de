/* mk_adapter MODEL ADAPTER text|multimodal|gguf OUT: an adapter read and written again (tests/oracle/adapters.py). */
#include <stdio.h>
#include <string.h>

#include "lora/lora.h"
#include "lora/lora_save.h"

int main(int argc, char **argv)
{
    status st = OK;
    err e = { 0 };
    gemma *m = NULL;
    gemma_adapter *a = NULL;
    if (argc != 5) FAIL(&e, E_ARG, "usage: mk_adapter MODEL ADAPTER text|multimodal|gguf OUT");
    lora_part part = { .path = argv[2], .scale = 1 };
    TRY(gemma_open(&m, argv[1], &e));
    TRY(lora_load(&a, m, &part, 1, &e));
    if (strcmp(argv[3], "gguf") == 0) st = lora_save_gguf(argv[4], m, a, &e);
    else st = lora_save_peft(argv[4], m, a, strcmp(argv[3], "text") == 0 ? LORA_CLASS_TEXT : LORA_CLASS_MULTIMODAL, &e);
out:
    if (st != OK) fprintf(stderr, "mk_adapter: %s\n%s\n", e.what, e.why);
    gemma_adapter_free(a);
    gemma_close(m);
    return st != OK;
}
