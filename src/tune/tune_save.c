/* What a run leaves in its folder: the recipe, the log, the adapter, gradients for comparing, and the state to go on from. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "base/hash.h"
#include "fmt/npy.h"
#include "os/dir.h"
#include "os/file.h"
#include "tune/checkpoint.h"
#include "tune/tune_int.h"

status tune_save_json(const char *dir, const char *name, const json_t *j, err *e)
{
    status st = OK;
    buf b;
    file_out f = { .fd = -1 };
    char *path = file_join(dir, name);
    buf_init(&b, (size_t)1 << 30);
    if (!path) FAIL(e, E_NOMEM, "could not write \"%s\"\nout of memory", name);
    TRY(json_print(&b, j, JSON_INDENT(2), e));
    TRY(buf_add_str(&b, "\n", e));
    TRY(file_out_begin(&f, path, e));
    TRY(file_out_write(&f, b.data, b.len, e));
    TRY(file_out_commit(&f, e));
out:
    file_out_abort(&f);
    buf_done(&b);
    mem_free(path);
    return st;
}

status tune_save_recipe(const tune *t, err *e) { return tune_save_json(t->out, "recipe.json", t->recipe, e); }

status tune_save_empty_log(const tune *t, err *e)
{
    status st = OK;
    file_out f = { .fd = -1 };
    char *path = file_join(t->out, "log.jsonl");
    if (!path) FAIL(e, E_NOMEM, "could not write the log\nout of memory");
    TRY(file_out_begin(&f, path, e));
    TRY(file_out_commit(&f, e));
out:
    file_out_abort(&f);
    mem_free(path);
    return st;
}

status tune_save_log(const tune *t, json_t *j, err *e)
{
    status st = OK;
    buf b;
    FILE *f = NULL;
    char *path = file_join(t->out, "log.jsonl");
    buf_init(&b, 1 << 20);
    if (!path || !j) FAIL(e, E_NOMEM, "could not write the log\nout of memory");
    TRY(json_print(&b, j, JSON_COMPACT, e));
    TRY(buf_add_str(&b, "\n", e));
    f = fopen(path, "ae");
    if (!f || fwrite(b.data, b.len, 1, f) != 1 || fflush(f) != 0) FAIL(e, E_IO, "could not write \"%s\"\n%s", path, strerror(errno));
out:
    if (f) fclose(f);
    json_decref(j);
    buf_done(&b);
    mem_free(path);
    return st;
}

status tune_save_adapter(const tune *t, const char *dir, err *e)
{
    status st = OK;
    gemma_adapter *a = NULL;
    TRY(tune_params_adapter(&a, t->params, e));
    TRY(lora_save_peft(dir, t->m, a, t->adapter_class, e));
out:
    gemma_adapter_free(a);
    return st;
}

/* ---- gradients ------------------------------------------------------------------------------------------ */

static status write_npy(const char *dir, const char *name, int64_t rows, int64_t cols, const float *data, err *e)
{
    status st = OK;
    char head[NPY_HEAD], file[512];
    char *path = NULL;
    file_out f = { .fd = -1 };
    snprintf(file, sizeof file, "%s.npy", name);
    path = file_join(dir, file);
    if (!path) FAIL(e, E_NOMEM, "could not write \"%s\"\nout of memory", file);
    npy_head(head, rows, cols);
    TRY(file_out_begin(&f, path, e));
    TRY(file_out_write(&f, head, sizeof head, e));
    TRY(file_out_write(&f, data, (size_t)(rows < 0 ? 1 : rows * cols) * sizeof *data, e));
    TRY(file_out_commit(&f, e));
out:
    file_out_abort(&f);
    mem_free(path);
    return st;
}

static status write_tensor(void *user, const char *key, int64_t rows, int64_t cols, const float *data, err *e)
{
    return write_npy(((const tune *)user)->dump_grads, key, rows, cols, data, e);
}

/* The gradients in the places of their values: they take PEFT's form in the same way. */
status tune_save_grads(const tune *t, double loss, err *e)
{
    status st = OK;
    tune_params grads = *t->params;
    gemma_adapter *a = NULL;
    float value = (float)loss;
    grads.p = mem_array((size_t)grads.count, sizeof *grads.p, MEM_OTHER);
    if (!grads.p) FAIL(e, E_NOMEM, "could not write the gradients\nout of memory");
    for (int64_t i = 0; i < grads.count; i++) {
        grads.p[i] = t->params->p[i];
        grads.p[i].a = t->params->p[i].da;
        grads.p[i].b = t->params->p[i].db;
    }
    TRY(dir_make(t->dump_grads, e));
    TRY(tune_params_adapter(&a, &grads, e));
    TRY(lora_save_each(t->m, a, t->adapter_class, false, write_tensor, (void *)(uintptr_t)t, e));
    TRY(write_npy(t->dump_grads, "loss", -1, 0, &value, e));
out:
    gemma_adapter_free(a);
    mem_free(grads.p);
    return st;
}

/* ---- the state ------------------------------------------------------------------------------------------- */

int64_t tune_save_expert_rows(const tune *t, int32_t layer, int32_t expert)
{
    const int64_t *now = tune_step_expert_rows(t->step, layer);
    int64_t before = t->expert_rows ? t->expert_rows[(int64_t)layer * t->m->config.expert_count + expert] : 0;
    return before + (now ? now[expert] : 0);
}

static uint64_t params_hash(const tune_params *p)
{
    uint64_t h = 0;
    for (int64_t i = 0; i < p->count; i++) {
        const tune_param *q = &p->p[i];
        int64_t place[6] = { q->layer, q->expert, q->which, q->rank, q->in, q->out };
        h = hash_bytes(place, sizeof place, h);
        h = hash_bytes(&q->scale, sizeof q->scale, h);
    }
    return h;
}

/* rows: [L][E] or NULL. */
static size_t list_parts(const tune *t, tune_state *s, int64_t *rows, checkpoint_part out[12])
{
    const optim *x = t->optim;
    size_t n = (size_t)t->params->numbers, count = (size_t)t->params->count, blocks = (size_t)x->blocks, E = (size_t)t->m->config.expert_count;
    const checkpoint_part all[] = {
        { "state", s, sizeof *s }, { "values", t->params->values, n * sizeof(float) }, { "steps", x->steps, count * sizeof *x->steps },
        { "touched", x->touched, count * sizeof *x->touched }, { "m", x->m, x->m ? n * sizeof *x->m : 0 }, { "v", x->v, x->v ? n * sizeof *x->v : 0 },
        { "m8", x->m8, x->m8 ? n : 0 }, { "v8", x->v8, x->v8 ? n : 0 }, { "m_scale", x->m_scale, x->m_scale ? blocks * sizeof(float) : 0 },
        { "v_scale", x->v_scale, x->v_scale ? blocks * sizeof(float) : 0 },
        { "expert_rows", rows, rows ? (size_t)t->m->config.layer_count * E * sizeof *rows : 0 },
    };
    memcpy(out, all, sizeof all);
    return COUNT_OF(all);
}

/* Owned; NULL without experts. */
static status all_expert_rows(const tune *t, int64_t **out, err *e)
{
    int32_t L = t->m->config.layer_count, E = t->m->config.expert_count;
    *out = NULL;
    if (!E) return OK;
    int64_t *rows = mem_array((size_t)L * (size_t)E, sizeof *rows, MEM_OTHER);
    if (!rows) return err_set(e, E_NOMEM, "could not save the run\nout of memory");
    for (int32_t l = 0; l < L; l++)
        for (int32_t x = 0; x < E; x++) rows[(int64_t)l * E + x] = tune_save_expert_rows(t, l, x);
    *out = rows;
    return OK;
}

static json_t *head_of(const tune *t)
{
    char hash[SHA256_TEXT], data[32], params[32];
    sha256_text(t->before.file, hash);
    snprintf(data, sizeof data, "%016llx", (unsigned long long)t->data->fingerprint);
    snprintf(params, sizeof params, "%016llx", (unsigned long long)params_hash(t->params));
    return json_pack("{s:O, s:s, s:s, s:s, s:I}", "recipe", t->recipe, "model", hash, "data", data, "parameters", params, "step", (json_int_t)t->s.step);
}

status tune_save_state(const tune *t, err *e)
{
    status st = OK;
    checkpoint_part parts[12];
    int64_t *rows = NULL;
    tune_state s = t->s;
    json_t *head = head_of(t);
    char *path = file_join(t->out, "checkpoint");
    if (!head || !path) FAIL(e, E_NOMEM, "could not save the run\nout of memory");
    TRY(all_expert_rows(t, &rows, e));
    TRY(checkpoint_write(path, head, parts, list_parts(t, &s, rows, parts), e));
out:
    mem_free(rows);
    json_decref(head);
    mem_free(path);
    return st;
}

static status check_head(const tune *t, const json_t *found, const char *path, err *e)
{
    static const struct { const char *key, *what; } same[] = { { "model", "model" }, { "data", "data" }, { "parameters", "set of trained parameters" } };
    status st = OK;
    json_t *own = head_of(t);
    if (!own) FAIL(e, E_NOMEM, "could not go on\nout of memory");
    const char *differs = recipe_differs(json_object_get(found, "recipe"), t->recipe);
    if (differs) FAIL(e, E_FORMAT, "cannot go on from \"%s\"\nit was made with another \"%s\"\nGo on with the recipe in its folder, or start again without --resume.", path, differs);
    for (size_t i = 0; i < COUNT_OF(same); i++)
        if (!json_equal(json_object_get(found, same[i].key), json_object_get(own, same[i].key)))
            FAIL(e, E_FORMAT, "cannot go on from \"%s\"\nit was made with another %s\nStart the run again without --resume.", path, same[i].what);
out:
    json_decref(own);
    return st;
}

/* A run that was killed may have logged steps behind its last save, which come again. */
static status cut_log(const tune *t, err *e)
{
    status st = OK;
    buf b;
    file_out f = { .fd = -1 };
    str rest, line;
    char *path = file_join(t->out, "log.jsonl");
    buf_init(&b, (size_t)1 << 30);
    if (!path) FAIL(e, E_NOMEM, "could not go on\nout of memory");
    if (!file_exists(path)) goto out;
    TRY(file_read_all(&b, path, e));
    TRY(file_out_begin(&f, path, e));
    for (rest = (str){ b.data, b.len }; str_split(&rest, '\n', &line);) {
        json_t *j = json_loadb(line.p, line.n, 0, NULL);
        bool keep = j && json_integer_value(json_object_get(j, "step")) <= t->s.step;
        json_decref(j);
        if (!keep) break;                      /* the last line of a killed run can be half of one */
        TRY(file_out_write(&f, line.p, line.n, e));
        TRY(file_out_write(&f, "\n", 1, e));
    }
    TRY(file_out_commit(&f, e));
out:
    file_out_abort(&f);
    buf_done(&b);
    mem_free(path);
    return st;
}

status tune_save_restore(tune *t, err *e)
{
    status st = OK;
    checkpoint_part parts[12];
    checkpoint *c = NULL;
    int64_t *rows = NULL;
    tune_state s;
    char *path = file_join(t->out, "checkpoint");
    if (!path) FAIL(e, E_NOMEM, "could not go on\nout of memory");
    TRY(checkpoint_open(&c, path, e));
    TRY(check_head(t, checkpoint_head(c), path, e));
    TRY(all_expert_rows(t, &rows, e));
    TRY(checkpoint_read(c, parts, list_parts(t, &s, rows, parts), e));
    TRY(data_order_seek(t->order, s.place, e));
    t->s = s;
    mem_free(t->expert_rows);
    t->expert_rows = rows;
    rows = NULL;
    TRY(cut_log(t, e));
out:
    mem_free(rows);
    checkpoint_close(c);
    mem_free(path);
    return st;
}
