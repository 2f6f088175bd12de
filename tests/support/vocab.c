#include "support/vocab.h"

#include "support/must.h"
#include "support/packed.h"

tok *vocab_real(void)
{
    err e = { 0 };
    buf b;
    gguf_file *g = NULL;
    tok *t = NULL;
    packed_read(&b, "tests/data/tokenizer/gemma-4-vocab.gguf.xz");
    must(gguf_open_memory(&g, b.data, b.len, &e), &e);
    must(tok_from_gguf(&t, g, &e), &e);
    gguf_close(g);
    buf_done(&b);
    return t;
}

static const char *const specials[] = {
    "<bos>", "<eos>", "<pad>", "<unk>", "<|turn>", "<turn|>", "<|channel>", "<channel|>", "<|tool>", "<tool|>", "<|tool_call>", "<tool_call|>",
    "<|tool_response>", "<tool_response|>", "<|\\\"|>", "<|think|>", "<|image|>", "<|audio|>", "<|video|>",
};
static const char *const merges[][2] = {
    { "t", "h" }, { "th", "e" }, { "\xE2\x96\x81", "\xE2\x96\x81" }, { "\xE2\x96\x81", "the" }, { "a", "a" }, { "aa", "aa" }, { "c", "a" }, { "l", "l" },
    { "ca", "ll" }, { "call", ":" }, { "\\n", "\\n" }, { "1", "2" }, { "{", "}" }, { "\xC3\xA9", "\xC3\xA9" },
};

void vocab_small_json(buf *out)
{
    int id = 0;
    buf_init(out, 1 << 20);
    buf_add_str(out, "{\"added_tokens\": [", NULL);
    for (size_t i = 0; i < sizeof specials / sizeof specials[0]; i++)
        buf_addf(out, NULL, "%s{\"id\": %d, \"content\": \"%s\", \"special\": true}", i ? ", " : "", id++, specials[i]);
    buf_add_str(out, "], \"normalizer\": {\"type\": \"Replace\", \"pattern\": {\"String\": \" \"}, \"content\": \"\xE2\x96\x81\"}, \"model\": {\"type\": \"BPE\", \"vocab\": {",
                NULL);
    for (int i = 0; i < 256; i++) buf_addf(out, NULL, "\"<0x%02X>\": %d, ", i, id++);
    for (int i = 33; i < 127; i++) buf_addf(out, NULL, "\"%s%c\": %d, ", i == '"' || i == '\\' ? "\\" : "", i, id++);
    buf_addf(out, NULL, "\"\\n\": %d, \"\xE2\x96\x81\": %d, \"\xC3\xA9\": %d", id, id + 1, id + 2);
    id += 3;
    for (size_t i = 0; i < sizeof merges / sizeof merges[0]; i++) buf_addf(out, NULL, ", \"%s%s\": %d", merges[i][0], merges[i][1], id++);
    buf_add_str(out, "}, \"merges\": [", NULL);
    for (size_t i = 0; i < sizeof merges / sizeof merges[0]; i++)
        buf_addf(out, NULL, i % 2 ? "%s\"%s %s\"" : "%s[\"%s\", \"%s\"]", i ? ", " : "", merges[i][0], merges[i][1]);
    buf_add_str(out, "]}}", NULL);
}

tok *vocab_small(void)
{
    err e = { 0 };
    buf b;
    json_t *j = NULL;
    tok *t = NULL;
    vocab_small_json(&b);
    must(json_parse(&j, (str){ buf_text(&b), b.len }, "small vocabulary", false, &e), &e);
    must(tok_from_json(&t, j, &e), &e);
    json_decref(j);
    buf_done(&b);
    return t;
}
