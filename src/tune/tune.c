#include "tune/tune.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "lora/lora.h"
#include "os/cpu.h"
#include "os/dir.h"
#include "os/file.h"
#include "tune/tune_int.h"

/* ---- what is trained --------------------------------------------------------------------------------- */

#define BIT(w) (1u << (w))
#define ATTENTION (BIT(GEMMA_Q) | BIT(GEMMA_K) | BIT(GEMMA_V) | BIT(GEMMA_O))
#define DENSE (BIT(GEMMA_GATE) | BIT(GEMMA_UP) | BIT(GEMMA_DOWN))
#define EXPERTS (BIT(GEMMA_EXPERT_GATE) | BIT(GEMMA_EXPERT_UP) | BIT(GEMMA_EXPERT_DOWN))
#define PLE (BIT(GEMMA_PLE_GATE) | BIT(GEMMA_PLE_PROJ) | BIT(GEMMA_PLE_MODEL_PROJ))

static const struct { const char *name; uint32_t linears; } targets[] = {
    { "attention", ATTENTION }, { "dense", DENSE }, { "experts", EXPERTS }, { "router", BIT(GEMMA_ROUTER) }, { "ple", PLE },
    { "q_proj", BIT(GEMMA_Q) }, { "k_proj", BIT(GEMMA_K) }, { "v_proj", BIT(GEMMA_V) }, { "o_proj", BIT(GEMMA_O) },
    { "gate_proj", BIT(GEMMA_GATE) }, { "up_proj", BIT(GEMMA_UP) }, { "down_proj", BIT(GEMMA_DOWN) },
    { "experts.gate_up_proj", BIT(GEMMA_EXPERT_GATE) | BIT(GEMMA_EXPERT_UP) }, { "experts.down_proj", BIT(GEMMA_EXPERT_DOWN) },
    { "router.proj", BIT(GEMMA_ROUTER) }, { "per_layer_input_gate", BIT(GEMMA_PLE_GATE) }, { "per_layer_projection", BIT(GEMMA_PLE_PROJ) },
    { "per_layer_model_projection", BIT(GEMMA_PLE_MODEL_PROJ) },
};

static status read_targets(const char *text, uint32_t *out, err *e)
{
    str rest = str_from(text), one;
    *out = 0;
    while (str_split(&rest, ',', &one)) {
        size_t i = 0;
        while (i < COUNT_OF(targets) && !str_is(one, targets[i].name)) i++;
        if (i == COUNT_OF(targets))
            return err_set(e, E_ARG, "cannot train the target \"%.*s\"\nthere is no such target\nTargets are attention, dense, experts, router, ple, and linears by name: q_proj, experts.down_proj, ...",
                           (int)MIN(one.n, 80u), one.p);
        *out |= targets[i].linears;
    }
    return OK;
}

static bool has(const gemma *m, gemma_linear w)
{
    for (int32_t l = -1; l < m->config.layer_count; l++)
        if (gemma_adapter_weight(m, l, w)) return true;
    return false;
}

/* What a preset names, as far as the model has it; experts and the router must be there. */
static status preset(const tune *t, uint32_t *out, err *e)
{
    const char *name = t->r.preset;
    uint32_t all = t->r.only ? 0 : ATTENTION | DENSE, extra = strncmp(name, "experts-", 8) == 0 ? EXPERTS : strcmp(name, "router") == 0 ? BIT(GEMMA_ROUTER) : 0;
    if (strcmp(name, "layered") == 0)
        return err_set(e, E_UNSUPPORTED, "cannot train with the preset \"%s\"\nthis version has no stages yet\nUse dense, experts-hot, experts-all or router, each with --init-from the last.", name);
    if (t->r.only && !extra) return err_set(e, E_ARG, "cannot train with \"only\" and the preset \"%s\"\nnothing would be left\nUse it with experts-all or router.", name);
    if (extra && !t->m->config.expert_count)
        return err_set(e, E_ARG, "cannot train with the preset \"%s\"\nthis model has no experts\nUse the preset dense.", name);
    for (int w = 0; w < GEMMA_LINEAR_COUNT; w++)
        if (!has(t->m, (gemma_linear)w)) all &= ~BIT(w);
    *out = all | extra;
    return OK;
}

static status fresh_params(tune *t, err *e)
{
    status st = OK;
    tune_spec s = { .rank = (int32_t)t->r.rank, .first_layer = (int32_t)t->r.first_layer, .last_layer = (int32_t)t->r.last_layer, .rslora = t->r.rslora, .seed = (uint64_t)t->r.seed };
    s.expert_rank = (int32_t)(t->r.expert_rank ? t->r.expert_rank : MAX(2, t->r.rank / 8));
    s.alpha = t->r.alpha > 0 ? t->r.alpha : 2.0 * s.rank;
    s.expert_alpha = t->r.expert_alpha > 0 ? t->r.expert_alpha : 2.0 * s.expert_rank;
    if (t->r.targets) TRY(read_targets(t->r.targets, &s.linears, e));
    else TRY(preset(t, &s.linears, e));
    if (!t->r.targets && strcmp(t->r.preset, "experts-hot") == 0) TRY(tune_profile_hot(t, e));
    s.hot = t->hot;
    TRY(tune_params_new(&t->params, t->m, &s, NULL, e));
out:
    return st;
}

static status params_from(tune *t, err *e)
{
    status st = OK;
    gemma_adapter *a = NULL;
    lora_part part = { .path = t->r.init_from, .scale = 1 };
    TRY(lora_load(&a, t->m, &part, 1, e));
    TRY(tune_params_from(&t->params, t->m, a, e));
out:
    gemma_adapter_free(a);
    return st;
}

static void choose_rates(tune *t)
{
    const double own[TUNE_GROUP_COUNT] = { [TUNE_ATTENTION] = t->r.lr_attention, [TUNE_DENSE] = t->r.lr_dense, [TUNE_EXPERTS] = t->r.lr_experts,
                                           [TUNE_ROUTER] = t->r.lr_router, [TUNE_PLE] = t->r.lr_ple, [TUNE_HEAD] = -1 };
    if (t->r.lr < 0) t->r.lr = t->pairs ? 1e-5 : 2e-4;
    for (int g = 0; g < TUNE_GROUP_COUNT; g++) t->rates[g] = own[g] >= 0 ? own[g] : t->r.lr;
}

static status make_params(tune *t, err *e)
{
    status st = OK;
    optim_opts o;
    optim_defaults(&o);
    o.kind = strcmp(t->r.optimizer, "adamw") == 0 ? OPTIM_ADAMW : OPTIM_ADAMW_8BIT;
    o.beta1 = t->r.beta1;
    o.beta2 = t->r.beta2;
    o.decay = t->r.decay;
    o.clip = t->r.clip;
    TRY(t->r.init_from ? params_from(t, e) : fresh_params(t, e));
    t->param_bytes = (uint64_t)t->params->numbers * 2 * sizeof(float);
    TRY(optim_new(NULL, t->params, &o, &t->optim_bytes, e));
    TRY(optim_new(&t->optim, t->params, &o, NULL, e));
    choose_rates(t);
out:
    return st;
}

/* ---- data -------------------------------------------------------------------------------------------- */

/* "PATH" or "PATH=2"; what stands behind the last = is part of the path unless it is a number.  Owned. */
static status read_source(const char *text, data_source *out, err *e)
{
    const char *equals = strrchr(text, '=');
    double share = 1;
    size_t n = strlen(text);
    if (equals && str_to_f64(str_from(equals + 1), "the weight", 1e-6, 100, &share, NULL) == OK) n = (size_t)(equals - text);
    char *path = mem_strdup(text, n, MEM_TEXT);
    if (!path) return err_set(e, E_NOMEM, "could not read the data\nout of memory");
    *out = (data_source){ .path = path, .weight = share };
    return OK;
}

static status load_data(tune *t, err *e)
{
    status st = OK;
    size_t count = json_array_size(t->r.data), made = 0;
    data_source *s = mem_array(count, sizeof *s, MEM_TEXT);
    const data_opts o = { .variant = t->text.variant, .think = strcmp(t->r.thinking, "off") == 0 ? DATA_THINK_OFF : strcmp(t->r.thinking, "on") == 0 ? DATA_THINK_ON : DATA_THINK_AUTO,
                          .thoughts_are_context = t->r.thoughts_are_context, .pairs = t->pairs, .strings_are_chat = t->r.chat_strings, .max_length = (int32_t)t->r.max_length,
                          .bad_max = t->r.bad_rows, .held_out = t->dump_grads ? 0 : t->r.held_out, .seed = (uint64_t)t->r.seed };
    if (!s) FAIL(e, E_NOMEM, "could not read the data\nout of memory");
    if (!count) FAIL(e, E_ARG, "cannot train without data\nno file was named\nName one with -d FILE.");
    for (; made < count; made++) TRY(read_source(json_string_value(json_array_get(t->r.data, made)), &s[made], e));
    TRY(data_load(&t->data, s, (int32_t)count, t->text.tok, &o, e));
    TRY(data_order_new(&t->order, t->data, e));
out:
    for (size_t i = 0; s && i < made; i++) mem_free((char *)(uintptr_t)s[i].path);
    mem_free(s);
    return st;
}

static void choose_steps(tune *t)
{
    int64_t per_epoch = (data_order_examples(t->order) + t->r.batch - 1) / t->r.batch;
    t->steps = t->r.steps ? t->r.steps : per_epoch * t->r.epochs;
    t->warmup = t->r.warmup >= 0 ? t->r.warmup : MIN(MAX((int64_t)5, t->steps * 3 / 100), t->steps / 2);
    t->eval_every = t->r.eval_every ? t->r.eval_every : MAX((int64_t)1, t->steps / 10);
    t->save_every = t->r.save_every ? t->r.save_every : MAX((int64_t)1, t->steps / 10);
}

/* Of what must be computed at once: a document, or a pair. */
static int64_t longest_rows(const tune *t)
{
    int64_t longest = 1;
    for (int64_t i = 0; i < t->data->example_count; i++) {
        const data_example *x = &t->data->examples[i];
        for (int64_t k = 0, together = t->pairs ? x->count : 1; k < x->count; k += together)
            longest = MAX(longest, data_rows_of(t->data, x->first + k, together));
    }
    return longest;
}

status tune_rows(tune *t, err *e)
{
    status st = OK;
    int64_t longest = longest_rows(t), wanted = t->r.rows ? t->r.rows : MIN((t->pairs ? 2 : 1) * t->r.max_length, longest * t->r.batch);
    t->rows_max = (int32_t)MAX(wanted, longest);
    t->rows = mem_array((size_t)t->rows_max, sizeof *t->rows, MEM_OTHER);
    if (!t->rows) FAIL(e, E_NOMEM, "could not train\nout of memory");
out:
    return st;
}

static status make_step(tune *t, err *e)
{
    status st = OK;
    TRY(tune_rows(t, e));
    tune_step_opts o = { .threads = (int)t->r.threads, .isa = t->isa, .exact = t->r.exact, .rows_max = t->rows_max };
    TRY(tune_step_new(NULL, t->m, t->params, &o, &t->step_bytes, e));
    uint64_t need = t->step_bytes.weights_owned + t->step_bytes.kv + t->step_bytes.activations + t->step_bytes.other, free_bytes = cpu_memory_available();
    if (need > free_bytes)
        FAIL(e, E_NOMEM, "could not train with %d rows at once\nit takes %.1f GiB, and %.1f GiB are free\nUse shorter documents (--max-length), fewer rows (--rows) or a lower rank.", t->rows_max,
             (double)need / (1 << 30), (double)free_bytes / (1 << 30));
    TRY(tune_step_new(&t->step, t->m, t->params, &o, NULL, e));
    TRY(data_group_held_out(&t->held_out, t->data, t->rows_max, e));
out:
    return st;
}

/* ---- opening ------------------------------------------------------------------------------------------ */

static status copy_text(char **out, const char *s, err *e)
{
    if (!s) return OK;
    *out = mem_strdup(s, strlen(s), MEM_TEXT);
    return *out ? OK : err_set(e, E_NOMEM, "could not start a run\nout of memory");
}

static status choose_method(tune *t, err *e)
{
    const recipe_values *r = &t->r;
    bool orpo = strcmp(r->method, "orpo") == 0, dpo = strcmp(r->method, "dpo") == 0;
    t->pairs = orpo || dpo;
    t->prefer = (prefer_opts){ .beta = r->beta, .sft = r->sft_weight };
    t->prefer.kind = orpo ? PREFER_ORPO : strcmp(r->preference, "hinge") == 0 ? PREFER_HINGE : strcmp(r->preference, "ipo") == 0 ? PREFER_IPO : PREFER_SIGMOID;
    if (!dpo && (r->sft_weight > 0 || strcmp(r->preference, "sigmoid") != 0))
        return err_set(e, E_ARG, "cannot use \"%s\" with the method %s\nit belongs to dpo\nLeave it out, or choose the method dpo.", r->sft_weight > 0 ? "sft_weight" : "preference", r->method);
    return OK;
}

static status open_all(tune *t, err *e)
{
    status st = OK;
    if (!t->r.model) FAIL(e, E_ARG, "cannot train without a model\nno model was named\nName one with -m FILE.");
    if (t->out) TRY(dir_make(t->out, e));
    TRY(choose_method(t, e));
    TRY(gemma_open(&t->m, t->r.model, e));
    TRY(text_model_open(&t->text, t->r.model, e));
    t->adapter_class = strcmp(t->r.adapter_class, "text") == 0 ? LORA_CLASS_TEXT : strcmp(t->r.adapter_class, "multimodal") == 0 ? LORA_CLASS_MULTIMODAL : LORA_CLASS_BASE;
    TRY(lora_class_choose(&t->adapter_class, t->m, e));
    if (t->r.isa) TRY(cpu_isa_parse(t->r.isa, &t->isa, e));
    TRY(load_data(t, e));
    if (t->where.profile) return OK;
    TRY(make_params(t, e));
    choose_steps(t);
    TRY(make_step(t, e));
    TRY(tune_pairs_open(t, e));
out:
    return st;
}

status tune_open(tune **out, json_t *recipe_json, const tune_where *where, err *e)
{
    status st = OK;
    tune *t = mem_alloc(sizeof *t, MEM_OTHER);
    if (!t) FAIL(e, E_NOMEM, "could not start a run\nout of memory");
    t->recipe = json_incref(recipe_json);
    t->where = *where;
    TRY(recipe_read(&t->r, t->recipe, e));
    TRY(copy_text(&t->out, where->out, e));
    TRY(copy_text(&t->dump_grads, where->dump_grads, e));
    TRY(open_all(t, e));
    *out = t;
    t = NULL;
out:
    tune_close(t);
    return st;
}

void tune_close(tune *t)
{
    if (!t) return;
    tune_step_free(t->step);
    gemma_ctx_free(t->profile);
    tune_pairs_close(t);
    optim_free(t->optim);
    tune_params_free(t->params);
    data_groups_done(&t->held_out);
    data_order_free(t->order);
    data_free(t->data);
    text_model_done(&t->text);
    gemma_close(t->m);
    json_decref(t->recipe);
    mem_free(t->rows);
    mem_free(t->expert_rows);
    mem_free(t->hot);
    mem_free(t->out);
    mem_free(t->dump_grads);
    mem_free(t);
}

void tune_stop(tune *t)
{
    atomic_store(&t->stop, true);
    gemma_ctx *x = t->step ? tune_step_context(t->step) : t->profile;
    if (x) gemma_ctx_interrupt(x);
}

status tune_run(tune *t, tune_event_fn fn, void *user, tune_end *end, err *e)
{
    status st = OK;
    char why[400] = "";
    if (!t->out) FAIL(e, E_ARG, "cannot train into no folder\nName one with -o DIR.");
    TRY(tune_report_hash(t, &t->before, NULL, e));
    TRY(tune_pairs_reference(t, e));
    TRY(t->where.resume ? tune_save_restore(t, e) : tune_save_empty_log(t, e));
    TRY(tune_save_recipe(t, e));
    TRY(tune_loop_run(t, fn, user, end, e));
    TRY(tune_save_state(t, e));
    TRY(tune_save_adapter(t, t->out, e));
    if (*end != TUNE_FINISHED) goto out;
    TRY(tune_report_write(t, why, sizeof why, e));
    if (why[0]) FAIL(e, E_FORMAT, "the run is no success\n%s\nreport.json has the details.", why);
out:
    return st;
}

/* ---- the plan ------------------------------------------------------------------------------------------ */

static status line(buf *b, const char *what, uint64_t bytes, const char *about, err *e)
{
    return buf_addf(b, e, "  %-13s %10.1f MiB  %s\n", what, (double)bytes / (1 << 20), about);
}

static status plan_memory(const tune *t, buf *b, err *e)
{
    status st = OK;
    const gemma_bytes *m = &t->step_bytes;
    uint64_t all = m->weights_mapped + m->weights_owned + m->kv + m->activations + m->other + t->param_bytes + t->optim_bytes;
    TRY(buf_add_str(b, "memory\n", e));
    TRY(line(b, "weights", m->weights_mapped, "mapped from the file", e));
    TRY(line(b, "", m->weights_owned, "of the weights, kept as 32-bit floats", e));
    TRY(line(b, "activations", m->activations + m->kv, "of one micro-batch, forward and backward", e));
    TRY(line(b, "adapter", t->param_bytes, "what is trained, and its gradient", e));
    TRY(line(b, "optimizer", t->optim_bytes, t->r.optimizer, e));
    TRY(line(b, "other", m->other, "", e));
    TRY(line(b, "total", all, "", e));
    TRY(line(b, "free", cpu_memory_available(), "on this machine", e));
out:
    return st;
}

static status plan_trained(const tune *t, buf *b, err *e)
{
    status st = OK;
    int64_t n[TUNE_GROUP_COUNT] = { 0 }, count[TUNE_GROUP_COUNT] = { 0 };
    for (int64_t i = 0; i < t->params->count; i++) {
        const tune_param *p = &t->params->p[i];
        n[p->group] += p->rank * (p->in + p->out);
        count[p->group]++;
    }
    TRY(buf_addf(b, e, "trained: %lld numbers\n", (long long)t->params->numbers));
    for (int g = 0; g < TUNE_GROUP_COUNT; g++)
        if (count[g]) TRY(buf_addf(b, e, "  %-13s %10lld numbers in %lld pairs, rate %g\n", tune_group_name((tune_group)g), (long long)n[g], (long long)count[g], t->rates[g]));
out:
    return st;
}

static status plan_data(const tune *t, buf *b, err *e)
{
    status st = OK;
    const data_report *r = &t->data->report;
    TRY(buf_addf(b, e, "data: %lld rows, %lld documents, %lld tokens, %lld trained (%.0f %%), longest %lld\n", (long long)r->rows, (long long)r->docs, (long long)r->tokens,
                 (long long)r->targets, r->tokens ? 100.0 * (double)r->targets / (double)r->tokens : 0, (long long)r->longest));
    for (int32_t i = 0; i < t->data->file_count; i++)
        TRY(buf_addf(b, e, "  %s: %s, %lld rows, weight %g\n", t->data->files[i].path, data_form_name(t->data->files[i].form), (long long)t->data->files[i].rows, t->data->files[i].weight));
    TRY(buf_addf(b, e, "  held out: %lld rows; cut: %lld documents lost %lld turns; split: %lld texts; thoughts: %lld moved, %lld dropped; answers switched off: %lld\n",
                 (long long)r->held_out_rows, (long long)r->docs_cut, (long long)r->turns_cut, (long long)r->texts_split, (long long)r->thoughts_moved, (long long)r->thoughts_dropped,
                 (long long)r->answers_untrained));
    for (int64_t i = 0; i < MIN(t->data->bad_count, (int64_t)10); i++)
        TRY(buf_addf(b, e, "  left out: %s, line %lld: %s\n", t->data->files[t->data->bad[i].file].path, (long long)t->data->bad[i].line, t->data->bad[i].reason));
    if (t->data->bad_count > 10) TRY(buf_addf(b, e, "  left out: %lld more rows\n", (long long)t->data->bad_count - 10));
out:
    return st;
}

/* The first documents; what is trained stands between the marks. */
static status plan_examples(const tune *t, buf *b, err *e)
{
    status st = OK;
    data_shown s = { 0 };
    for (int64_t d = 0; d < MIN(t->data->doc_count, (int64_t)2); d++) {
        TRY(data_show(&s, t->data, d, t->text.tok, e));
        TRY(buf_addf(b, e, "example %lld, what is trained in \xC2\xBB \xC2\xAB\n", (long long)d + 1));
        for (size_t i = 0; i < s.count; i++) {
            TRY(buf_add_str(b, s.pieces[i].trained ? "\xC2\xBB" : "", e));
            TRY(buf_add(b, buf_text(&s.text) + s.pieces[i].begin, s.pieces[i].end - s.pieces[i].begin, e));
            TRY(buf_add_str(b, s.pieces[i].trained ? "\xC2\xAB" : "", e));
        }
        TRY(buf_add_str(b, "\n", e));
        data_shown_done(&s);
    }
out:
    data_shown_done(&s);
    return st;
}

status tune_plan(tune *t, buf *out, err *e)
{
    status st = OK;
    char size[128];
    TRY(buf_addf(out, e, "model: %s (%s)\n", t->m->config.name, gemma_config_size_name(&t->m->config, size, sizeof size)));
    TRY(plan_trained(t, out, e));
    TRY(plan_data(t, out, e));
    TRY(buf_addf(out, e, "steps: %lld of %lld rows of data, %lld of them to warm up; at most %d tokens at once\n", (long long)t->steps, (long long)t->r.batch, (long long)t->warmup, t->rows_max));
    TRY(plan_memory(t, out, e));
    TRY(plan_examples(t, out, e));
out:
    return st;
}
