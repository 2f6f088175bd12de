#include "support/mini_adapter.h"

#include <sys/stat.h>

#include "support/test.h"

enum { LAYERS = 6, H = 256, F = 192, RANK = 2 };

static void write_text(const char *dir, const char *name, const char *text, size_t n, const float *numbers, size_t count)
{
    char path[768];
    uint64_t length = n;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    if (count) assert_int_equal(fwrite(&length, sizeof length, 1, f), 1);
    assert_int_equal(fwrite(text, 1, n, f), n);
    assert_int_equal(fwrite(numbers, sizeof *numbers, count, f), count);
    assert_int_equal(fclose(f), 0);
}

void mini_adapter_write(const char *dir, uint32_t seed, float size)
{
    static const char config[] = "{\"peft_type\":\"LORA\",\"task_type\":\"CAUSAL_LM\",\"r\":2,\"lora_alpha\":2,\"bias\":\"none\",\"target_modules\":[\"down_proj\"]}";
    static float numbers[LAYERS * RANK * (H + F)];
    char head[4096];
    size_t n = 0, at = 0;
    if (mkdir(dir, 0700) != 0) fail_msg("could not make %s", dir);
    for (int layer = 0; layer < LAYERS; layer++)
        for (int b = 0; b < 2; b++) {
            size_t rows = b ? H : RANK, columns = b ? RANK : F, end = at + rows * columns * sizeof *numbers;
            n += (size_t)snprintf(head + n, sizeof head - n, "%s\"base_model.model.model.layers.%d.mlp.down_proj.lora_%c.weight\":{\"dtype\":\"F32\",\"shape\":[%zu,%zu],"
                                  "\"data_offsets\":[%zu,%zu]}", at ? "," : "{", layer, b ? 'B' : 'A', rows, columns, at, end);
            at = end;
        }
    n += (size_t)snprintf(head + n, sizeof head - n, "}");
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        seed = seed * 1664525u + 1013904223u;
        numbers[i] = ((float)(seed >> 8) / (float)(1 << 23) - 1) * size;
    }
    write_text(dir, "adapter_config.json", config, sizeof config - 1, numbers, 0);
    write_text(dir, "adapter_model.safetensors", head, n, numbers, sizeof numbers / sizeof *numbers);
}
