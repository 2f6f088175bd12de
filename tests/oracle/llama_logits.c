/* Logits of every token as llama.cpp computes them: the second opinion of prove_llamacpp.sh.
 *
 *   llama_logits MODEL.gguf OUT.f32 2,105,7,...
 *
 * Writes float32 [T, V].  One thread, f32 cache, no flash attention. */
#include <stdio.h>
#include <stdlib.h>

#include "llama.h"

enum { TOKENS_MAX = 4096 };

static void quiet(enum ggml_log_level level, const char *text, void *user)
{
    (void)user;
    if (level == GGML_LOG_LEVEL_ERROR) fputs(text, stderr);
}

static int read_tokens(const char *s, llama_token *out)
{
    int n = 0;
    for (char *end; *s && n < TOKENS_MAX; s = *end == ',' ? end + 1 : end) {
        out[n++] = (llama_token)strtol(s, &end, 10);
        if (end == s) return 0;
    }
    return n;
}

int main(int argc, char **argv)
{
    static llama_token tokens[TOKENS_MAX];
    if (argc != 4) return fprintf(stderr, "llama_logits MODEL OUT TOKENS\n"), 2;
    int n = read_tokens(argv[3], tokens);
    llama_log_set(quiet, NULL);
    llama_backend_init();
    struct llama_model_params mp = llama_model_default_params();
    mp.n_gpu_layers = 0;
    struct llama_model *m = llama_model_load_from_file(argv[1], mp);
    if (!m || n == 0) return fprintf(stderr, "cannot load %s\n", argv[1]), 1;
    struct llama_context_params cp = llama_context_default_params();
    cp.n_ctx = cp.n_batch = cp.n_ubatch = (uint32_t)n;
    cp.n_threads = cp.n_threads_batch = 1;
    cp.type_k = cp.type_v = GGML_TYPE_F32;
    cp.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    struct llama_context *c = llama_init_from_model(m, cp);
    if (!c) return fprintf(stderr, "no context for %s\n", argv[1]), 1;
    struct llama_batch b = llama_batch_init(n, 0, 1);
    for (int i = 0; i < n; i++) {
        b.token[i] = tokens[i];
        b.pos[i] = i;
        b.n_seq_id[i] = 1;
        b.seq_id[i][0] = 0;
        b.logits[i] = 1;
    }
    b.n_tokens = n;
    if (llama_decode(c, b) != 0) return fprintf(stderr, "llama_decode failed on %s\n", argv[1]), 1;
    int vocab = llama_vocab_n_tokens(llama_model_get_vocab(m));
    FILE *f = fopen(argv[2], "wb");
    if (!f) return perror(argv[2]), 1;
    for (int i = 0; i < n; i++) fwrite(llama_get_logits_ith(c, i), sizeof(float), (size_t)vocab, f);
    int bad = fclose(f) != 0;
    llama_batch_free(b);
    llama_free(c);
    llama_model_free(m);
    return bad;
}
