/* The proof beside the adapter: that nothing else changed, that everything asked for was trained, and that what was written is what was
 * trained. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "lora/lora.h"
#include "tune/tune_int.h"

enum { REPORT_ROWS = 64 };

/* ---- frozen tensors --------------------------------------------------------------------------------------- */

static status hash_one(sha256 *all, tune_hash *out, json_t *list, str name, const void *p, size_t n, err *e)
{
    sha256 s;
    uint8_t hash[SHA256_BYTES];
    char text[SHA256_TEXT];
    sha256_begin(&s);
    sha256_add(&s, p, n);
    sha256_end(&s, hash);
    sha256_add(all, hash, sizeof hash);
    out->tensors++;
    out->bytes += n;
    if (!list) return OK;
    sha256_text(hash, text);
    if (json_array_append_new(list, json_pack("{s:s%, s:I, s:s}", "name", name.p, name.n, "bytes", (json_int_t)n, "sha256", text)) == 0) return OK;
    return err_set(e, E_NOMEM, "could not write the report\nout of memory");
}

status tune_report_hash(const tune *t, tune_hash *out, json_t *list, err *e)
{
    status st = OK;
    const gemma *m = t->m;
    sha256 all;
    sha256_begin(&all);
    *out = (tune_hash){ .tensors = 0 };
    for (uint64_t i = 0, n = m->gguf ? gguf_tensor_count(m->gguf) : st_count(m->safetensors); i < n; i++) {
        const gguf_tensor *g = m->gguf ? gguf_tensor_at(m->gguf, i) : NULL;
        const st_tensor *s = m->gguf ? NULL : st_at(m->safetensors, i);
        TRY(hash_one(&all, out, list, g ? g->name : s->name, g ? g->data : s->data, g ? g->bytes : s->bytes, e));
    }
    sha256_end(&all, out->file);
    sha256_begin(&all);
    if (m->weights.owned_bytes) TRY(hash_one(&all, out, list, STR("(kept as 32-bit floats)"), m->weights.owned, m->weights.owned_bytes, e));
    sha256_end(&all, out->kept);
out:
    return st;
}

/* One bit of a copy is turned: the hash must be another one.  A check that hashed nothing would not see it. */
static status control(const tune *t, bool *seen, err *e)
{
    status st = OK;
    sha256 s;
    uint8_t hash[2][SHA256_BYTES], *copy = NULL;
    const gguf_tensor *g = t->m->gguf ? gguf_tensor_at(t->m->gguf, 0) : NULL;
    const uint8_t *p = g ? g->data : st_at(t->m->safetensors, 0)->data;
    size_t n = g ? g->bytes : st_at(t->m->safetensors, 0)->bytes;
    copy = mem_alloc(n, MEM_OTHER);
    if (!copy || !n) FAIL(e, E_NOMEM, "could not write the report\nout of memory");
    memcpy(copy, p, n);
    for (int i = 0; i < 2; i++) {
        sha256_begin(&s);
        sha256_add(&s, copy, n);
        sha256_end(&s, hash[i]);
        copy[n / 2] ^= 1;
    }
    *seen = memcmp(hash[0], hash[1], SHA256_BYTES) != 0;
out:
    mem_free(copy);
    return st;
}

static status frozen(const tune *t, json_t **out, bool *same, err *e)
{
    status st = OK;
    tune_hash after;
    char before_text[SHA256_TEXT], after_text[SHA256_TEXT];
    bool seen = false;
    json_t *list = json_array();
    if (!list) FAIL(e, E_NOMEM, "could not write the report\nout of memory");
    TRY(tune_report_hash(t, &after, list, e));
    TRY(control(t, &seen, e));
    sha256_text(t->before.file, before_text);
    sha256_text(after.file, after_text);
    *same = seen && after.bytes > 0 && after.bytes == t->before.bytes && memcmp(after.file, t->before.file, SHA256_BYTES) == 0 &&
            memcmp(after.kept, t->before.kept, SHA256_BYTES) == 0;
    *out = json_pack("{s:I, s:I, s:s, s:s, s:b, s:b, s:O}", "tensors", (json_int_t)after.tensors, "bytes_hashed", (json_int_t)after.bytes, "sha256_before", before_text,
                     "sha256_after", after_text, "same", *same, "control_changed_bit_seen", seen, "list", list);
    if (!*out) FAIL(e, E_NOMEM, "could not write the report\nout of memory");
out:
    json_decref(list);
    return st;
}

/* ---- what was trained ---------------------------------------------------------------------------------- */

static const char *kind_name(const tune *t, const tune_param *p)
{
    static const char *const names[GEMMA_LINEAR_COUNT] = {
        [GEMMA_Q] = "q_proj", [GEMMA_K] = "k_proj", [GEMMA_V] = "v_proj", [GEMMA_O] = "o_proj", [GEMMA_GATE] = "gate_proj", [GEMMA_UP] = "up_proj",
        [GEMMA_DOWN] = "down_proj", [GEMMA_ROUTER] = "router.proj", [GEMMA_EXPERT_GATE] = "experts.gate_proj", [GEMMA_EXPERT_UP] = "experts.up_proj",
        [GEMMA_EXPERT_DOWN] = "experts.down_proj", [GEMMA_PLE_GATE] = "per_layer_input_gate", [GEMMA_PLE_PROJ] = "per_layer_projection",
        [GEMMA_PLE_MODEL_PROJ] = "per_layer_model_projection", [GEMMA_HEAD] = "lm_head",
    };
    return tune_param_fused(t->params, p) ? "experts.gate_up_proj" : names[p->which];
}

/* |scale B A|^2, from the r x r products of B's columns and of A's rows. */
static double delta_square(const tune_param *p)
{
    double sum = 0;
    for (int32_t i = 0; i < p->rank; i++)
        for (int32_t j = 0; j < p->rank; j++) {
            double a = 0, b = 0;
            for (int64_t k = 0; k < p->in; k++) a += (double)p->a[i * p->in + k] * p->a[j * p->in + k];
            for (int64_t o = 0; o < p->out; o++) b += (double)p->b[o * p->rank + i] * p->b[o * p->rank + j];
            sum += a * b;
        }
    return (double)p->scale * p->scale * MAX(sum, 0.0);
}

/* The parameters of one linear of one layer: all its experts. */
static int64_t module_end(const tune_params *p, int64_t i)
{
    int64_t k = i;
    while (k < p->count && p->p[k].layer == p->p[i].layer && p->p[k].which == p->p[i].which) k++;
    return k;
}

static json_t *module_json(const tune *t, int64_t from, int64_t to, bool *moved)
{
    int64_t numbers = 0, touched = 0;
    double square = 0;
    for (int64_t i = from; i < to; i++) {
        const tune_param *p = &t->params->p[i];
        numbers += p->rank * (p->in + p->out);
        square += delta_square(p);
        touched += t->optim->touched[i] > 0;
    }
    const tune_param *p = &t->params->p[from];
    *moved = touched > 0;
    return json_pack("{s:i, s:s, s:s, s:I, s:i, s:I, s:I, s:f}", "layer", (int)p->layer, "linear", kind_name(t, p), "group", tune_group_name(p->group), "numbers", (json_int_t)numbers,
                     "rank", (int)p->rank, "pairs", (json_int_t)(to - from), "pairs_with_gradient", (json_int_t)touched, "delta_norm", sqrt(square));
}

static json_t *silent_json(const tune *t, const tune_param *p)
{
    bool expert = p->expert >= 0;
    int64_t rows = expert ? tune_save_expert_rows(t, p->layer, p->expert) : 0;
    return json_pack("{s:i, s:s, s:i, s:s}", "layer", (int)p->layer, "linear", kind_name(t, p), "expert", (int)p->expert, "why",
                     expert && !rows ? "no token chose this expert" : "its gradient was 0 in every step");
}

static status trained(const tune *t, json_t *report, char *why, size_t cap, err *e)
{
    status st = OK;
    json_t *list = json_array(), *silent = json_array();
    if (!list || !silent) FAIL(e, E_NOMEM, "could not write the report\nout of memory");
    for (int64_t i = 0, end; i < t->params->count; i = end) {
        bool moved;
        end = module_end(t->params, i);
        if (json_array_append_new(list, module_json(t, i, end, &moved)) != 0) FAIL(e, E_NOMEM, "could not write the report\nout of memory");
        for (int64_t k = i; k < end; k++)
            if (!t->optim->touched[k] && json_array_append_new(silent, silent_json(t, &t->params->p[k])) != 0)
                FAIL(e, E_NOMEM, "could not write the report\nout of memory");
        if (!moved && !why[0]) snprintf(why, cap, "%s of layer %d was to be trained and got no gradient in any step", kind_name(t, &t->params->p[i]), t->params->p[i].layer);
    }
    if (json_object_set(report, "trained", list) || json_object_set(report, "without_gradient", silent)) FAIL(e, E_NOMEM, "could not write the report\nout of memory");
out:
    json_decref(list);
    json_decref(silent);
    return st;
}

static status experts(const tune *t, json_t *report, err *e)
{
    status st = OK;
    json_t *layers = json_array();
    for (int32_t l = 0; l < t->m->config.layer_count && t->m->config.expert_count; l++) {
        json_t *row = json_array();
        for (int32_t x = 0; row && x < t->m->config.expert_count; x++)
            if (json_array_append_new(row, json_integer(tune_save_expert_rows(t, l, x))) != 0) FAIL(e, E_NOMEM, "could not write the report\nout of memory");
        if (json_array_append_new(layers, row) != 0) FAIL(e, E_NOMEM, "could not write the report\nout of memory");
    }
    if (json_array_size(layers) && json_object_set(report, "expert_tokens", layers) != 0) FAIL(e, E_NOMEM, "could not write the report\nout of memory");
out:
    json_decref(layers);
    return st;
}

/* ---- read again ------------------------------------------------------------------------------------------- */

/* Logits behind the first document's first tokens; adapter 0: the base model's.  Owned. */
static status logits(tune *t, int32_t adapter, float **out, err *e)
{
    status st = OK;
    const data_doc *d = &t->data->docs[0];
    const int32_t *ids = data_ids(t->data, 0);
    int32_t T = MIN(MIN(d->n, t->rows_max), (int32_t)REPORT_ROWS);
    gemma_row *rows = mem_array((size_t)T, sizeof *rows, MEM_OTHER);
    float *y = mem_array((size_t)t->m->config.vocab, sizeof *y, MEM_OTHER);
    if (!rows || !y) FAIL(e, E_NOMEM, "could not check the adapter\nout of memory");
    for (int32_t i = 0; i < T; i++) rows[i] = (gemma_row){ .pos = i, .token = ids[i], .adapter = adapter, .want_logits = i == T - 1 };
    TRY(gemma_step(tune_step_context(t->step), rows, T, y, e));
    *out = y;
    y = NULL;
out:
    mem_free(rows);
    mem_free(y);
    return st;
}

static double difference(const float *a, const float *b, int64_t n)
{
    double most = 0;
    for (int64_t i = 0; i < n; i++) most = MAX(most, fabs((double)a[i] - b[i]));
    return most;
}

static status reload(tune *t, json_t *report, char *why, size_t cap, err *e)
{
    status st = OK;
    gemma_adapter *a = NULL;
    float *base = NULL, *own = NULL, *back = NULL;
    lora_part part = { .path = t->out, .scale = 1 };
    int64_t V = t->m->config.vocab;
    TRY(lora_load(&a, t->m, &part, 1, e));
    TRY(gemma_adapter_attach(tune_step_context(t->step), 2, a, e));
    a = NULL;
    TRY(logits(t, 0, &base, e));
    TRY(logits(t, 1, &own, e));
    TRY(logits(t, 2, &back, e));
    bool same = memcmp(own, back, (size_t)V * sizeof *own) == 0;
    if (!same && !why[0]) snprintf(why, cap, "the adapter read from the folder gives other logits than the trained one");
    if (json_object_set_new(report, "reload", json_pack("{s:b, s:f, s:f}", "same_bits", same, "largest_difference", difference(own, back, V), "from_base_model", difference(own, base, V))) != 0)
        FAIL(e, E_NOMEM, "could not write the report\nout of memory");
out:
    gemma_adapter_free(a);
    gemma_adapter_clear(tune_step_context(t->step), 2);
    mem_free(base);
    mem_free(own);
    mem_free(back);
    return st;
}

status tune_report_write(tune *t, char *why, size_t cap, err *e)
{
    status st = OK;
    bool same = false;
    json_t *frozen_json = NULL;
    const tune_state *s = &t->s;
    json_t *r = json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:f, s:f, s:f, s:I, s:O}", "facet", facet_version(), "model", t->r.model, "name", t->m->config.name, "steps", (json_int_t)s->step,
                          "tokens", (json_int_t)s->tokens, "targets", (json_int_t)s->targets, "first_loss", s->first_loss, "last_loss", s->last_loss, "best_eval_loss", s->best_loss,
                          "best_step", (json_int_t)s->best_step, "recipe", t->recipe);
    why[0] = 0;
    if (!r) FAIL(e, E_NOMEM, "could not write the report\nout of memory");
    TRY(trained(t, r, why, cap, e));
    TRY(experts(t, r, e));
    TRY(reload(t, r, why, cap, e));
    TRY(frozen(t, &frozen_json, &same, e));
    if (!same && !why[0]) snprintf(why, cap, "the frozen weights are not what they were");
    if (json_object_set(r, "frozen", frozen_json) || json_object_set_new(r, "failure", why[0] ? json_string(why) : json_null())) FAIL(e, E_NOMEM, "could not write the report\nout of memory");
    TRY(tune_save_json(t->out, "report.json", r, e));
out:
    json_decref(frozen_json);
    json_decref(r);
    return st;
}
