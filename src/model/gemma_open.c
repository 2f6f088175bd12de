/* A path becomes a model: files opened, configuration read, weights placed. */
#include <stdio.h>

#include "base/buf.h"
#include "model/gemma.h"
#include "os/cpu.h"
#include "os/file.h"

enum { CONFIG_BYTES_MAX = 16 << 20, TOKENIZER_BYTES_MAX = 200 << 20 };

/* dir/name, parsed; NULL with OK when it is not there and not needed. */
static status load_json(json_t **out, const char *dir, const char *name, size_t max, bool needed, err *e)
{
    status st = OK;
    buf text;
    json_t *j = NULL;
    buf_init(&text, max);
    char *path = file_join(dir, name);
    if (!path) FAIL(e, E_NOMEM, "could not open \"%s\"\nout of memory", dir);
    if (!needed && !file_exists(path)) goto done;
    TRY(file_read_all(&text, path, e));
    TRY(json_parse(&j, (str){ buf_text(&text), text.len }, path, false, e));
done:
    *out = j;
out:
    mem_free(path);
    buf_done(&text);
    return st;
}

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

/* Says which file an error is about. */
static status in_file(const gemma *m, status st, err *e)
{
    if (st != OK && st != E_NOMEM) err_wrap(e, "%s", m->path);
    return st;
}

static status open_folder(gemma *m, err *e)
{
    status st = OK;
    json_t *config = NULL, *generation = NULL;
    char *config_path = file_join(m->path, "config.json");
    if (!config_path) FAIL(e, E_NOMEM, "could not open \"%s\"\nout of memory", m->path);
    if (!file_exists(config_path))
        FAIL(e, E_ARG, "\"%s\" is no model folder\nit has no config.json\nGive a .gguf file, or a folder as Hugging Face publishes it.", m->path);
    TRY(load_json(&config, m->path, "config.json", CONFIG_BYTES_MAX, true, e));
    TRY(load_json(&generation, m->path, "generation_config.json", CONFIG_BYTES_MAX, false, e));
    TRY(in_file(m, gemma_config_from_hf(&m->config, config, generation, last_part(m->path), e), e));
    TRY(st_open_dir(&m->safetensors, m->path, e));
    TRY(in_file(m, weights_from_safetensors(&m->weights, &m->config, m->safetensors, e), e));
out:
    mem_free(config_path);
    json_decref(config);
    json_decref(generation);
    return st;
}

static status open_file(gemma *m, err *e)
{
    status st = OK;
    str path = str_from(m->path);
    if (str_ends(path, ".safetensors"))
        FAIL(e, E_ARG, "cannot run \"%s\" alone\nits configuration lies beside it\nGive the folder that it is in.", m->path);
    TRY(gguf_open(&m->gguf, m->path, e));
    TRY(in_file(m, gemma_config_from_gguf(&m->config, m->gguf, e), e));
    TRY(in_file(m, weights_from_gguf(&m->weights, &m->config, m->gguf, e), e));
    if (!m->config.name[0]) snprintf(m->config.name, sizeof m->config.name, "%s", last_part(m->path));
out:
    return st;
}

status gemma_open(gemma **out, const char *path, err *e)
{
    status st = OK;
    size_t n = strlen(path);
    gemma *m = mem_alloc(sizeof *m, MEM_OTHER);
    while (n > 1 && path[n - 1] == '/') n--;
    if (m) m->path = mem_strdup(path, n, MEM_OTHER);
    if (!m || !m->path) FAIL(e, E_NOMEM, "could not open \"%s\"\nout of memory", path);
    TRY(file_is_dir(m->path) ? open_folder(m, e) : open_file(m, e));
    weights_steady(&m->weights, m->config.layer_count, cpu_memory_available());
    *out = m;
    m = NULL;
out:
    gemma_close(m);
    return st;
}

void gemma_close(gemma *m)
{
    if (!m) return;
    weights_done(&m->weights);
    gemma_config_done(&m->config);
    gguf_close(m->gguf);
    st_close(m->safetensors);
    mem_free(m->path);
    mem_free(m);
}

status gemma_tokenizer_json(const gemma *m, json_t **out, err *e) { return gemma_folder_json(m, "tokenizer.json", out, e); }

status gemma_folder_json(const gemma *m, const char *name, json_t **out, err *e)
{
    if (m->safetensors) return load_json(out, m->path, name, TOKENIZER_BYTES_MAX, false, e);
    *out = NULL;
    return OK;
}
