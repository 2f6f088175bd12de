/* facet tune: train an adapter on a model's own file. */
#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "base/mem.h"
#include "cmd/interrupt.h"
#include "cmd/setup.h"
#include "os/file.h"
#include "os/tty.h"
#include "tune/tune.h"

/* ---- from options to a recipe ------------------------------------------------------------------------- */

/* Options that are settings of the recipe, under its names with dashes. */
static const char *const settings[] = {
    "method", "preference", "beta", "sft-weight", "preset", "targets", "only", "init-from", "rank", "alpha", "expert-rank", "expert-alpha", "rslora", "first-layer", "last-layer", "lr", "lr-attention", "lr-dense",
    "lr-experts", "lr-router", "lr-ple", "schedule", "warmup", "optimizer", "decay", "clip", "epochs", "steps", "stop-after", "batch", "rows", "max-length", "seed", "thinking",
    "hot-count", "hot-share", "hot-by", "profile-tokens", "thoughts-are-context", "chat-strings", "bad-rows", "held-out", "eval-every", "patience", "save-every", "spike", "adapter-class", "exact", "threads", "isa",
};

static const recipe_key *key_of(const char *option, char name[64])
{
    size_t n = MIN(strlen(option), (size_t)63);
    for (size_t i = 0; i < n; i++) name[i] = option[i] == '-' ? '_' : option[i];
    name[n] = 0;
    const recipe_key *k = recipe_keys;
    while (k->name && strcmp(k->name, name) != 0) k++;
    return k;
}

static json_t *value_of(const args *a, const char *option, recipe_type type)
{
    switch (type) {
    case RECIPE_INT: return json_integer((json_int_t)args_int(a, option));
    case RECIPE_REAL: return json_real(args_real(a, option));
    case RECIPE_BOOL: return json_boolean(args_flag(a, option));
    default: return json_string(args_text(a, option));
    }
}

static status set(json_t *recipe, const char *name, json_t *value, err *e)
{
    status st = value ? recipe_set(recipe, name, value, "of the command line", e) : err_set(e, E_NOMEM, "could not read the options\nout of memory");
    json_decref(value);
    return st;
}

static status set_data(const args *a, json_t *recipe, err *e)
{
    json_t *list = json_array();
    for (int i = 0; list && i < args_count(a, "data"); i++)
        if (json_array_append_new(list, json_string(args_nth(a, "data", i))) != 0) {
            json_decref(list);
            list = NULL;
        }
    return set(recipe, "data", list, e);
}

static status set_options(const args *a, json_t *recipe, err *e)
{
    status st = OK;
    char name[64], *path = NULL;
    for (size_t i = 0; i < COUNT_OF(settings); i++) {
        const recipe_key *k = key_of(settings[i], name);
        if (args_given(a, settings[i])) TRY(set(recipe, name, value_of(a, settings[i], k->type), e));
    }
    if (args_count(a, "data")) TRY(set_data(a, recipe, e));
    if (args_text(a, "profile-from")) TRY(set(recipe, "profile", json_string(args_text(a, "profile-from")), e));
    if (args_text(a, "model") || !json_is_string(json_object_get(recipe, "model"))) {
        TRY(setup_path(a, &path, e));
        TRY(set(recipe, "model", json_string(path), e));
    }
out:
    mem_free(path);
    return st;
}

static status check(args *a, err *e)
{
    if (args_text(a, "init-from") && (args_given(a, "preset") || args_given(a, "targets") || args_given(a, "rank") || args_given(a, "alpha")))
        return args_mistake(a, e, "--init-from has the set of what is trained, its ranks and alphas\nleave out --preset, --targets, --rank and --alpha");
    if (args_given(a, "targets") && args_given(a, "preset")) return args_mistake(a, e, "--targets and --preset exclude each other");
    if (!args_text(a, "output") && !args_flag(a, "dry-run") && !args_flag(a, "profile")) return args_mistake(a, e, "nothing says where the adapter is to go\n-o DIR is its folder; --dry-run only tells what would be done");
    if (args_bytes(a, "memory"))
        return err_set(e, E_UNSUPPORTED, "cannot hold to --memory\nthis version does not stream weights, activations or adapters from disk\nLeave it out; --dry-run tells what a run takes.");
    return OK;
}

/* Defaults, then the folder's recipe with --resume, then --recipe, then options. */
static status read_recipe(args *a, json_t **out, err *e)
{
    status st = OK;
    json_t *recipe = NULL;
    char *own = NULL;
    TRY(recipe_new(&recipe, e));
    if (args_flag(a, "resume")) {
        own = file_join(args_text(a, "output"), "recipe.json");
        if (!own) FAIL(e, E_NOMEM, "could not read the recipe\nout of memory");
        if (!file_exists(own)) FAIL(e, E_ARG, "cannot go on with \"%s\"\nit has no recipe.json: no run was begun there\nLeave out --resume.", args_text(a, "output"));
        TRY(recipe_load(recipe, own, e));
    }
    if (args_text(a, "recipe")) TRY(recipe_load(recipe, args_text(a, "recipe"), e));
    TRY(set_options(a, recipe, e));
    *out = recipe;
    recipe = NULL;
out:
    json_decref(recipe);
    mem_free(own);
    return st;
}

/* ---- running -------------------------------------------------------------------------------------------- */

static void on_event(void *user, const tune_event *ev)
{
    char detail[160];
    bool quiet = *(const bool *)user;
    if (quiet) return;
    if (ev->kind != TUNE_STEP && ev->kind != TUNE_PROFILED) tty_progress_done();
    if (ev->kind == TUNE_REMARK) fprintf(stderr, "facet: %s\n", ev->text);
    if (ev->kind == TUNE_EVALUATED) fprintf(stderr, "step %lld: loss on the rows held out %.4f\n", (long long)ev->step, ev->loss);
    if (ev->kind == TUNE_PROFILED && tty_is(2)) {
        snprintf(detail, sizeof detail, "%lld of %lld tokens", (long long)ev->step, (long long)ev->steps);
        tty_progress("profiling experts", (double)ev->step / (double)ev->steps, detail);
    }
    if (ev->kind != TUNE_STEP) return;
    snprintf(detail, sizeof detail, "step %lld of %lld, loss %.4f, rate %.2g, %.0f tokens/s, %.0f s left", (long long)ev->step, (long long)ev->steps, ev->loss, ev->rate, ev->tokens_per_s, ev->seconds_left);
    if (tty_is(2)) tty_progress("tuning", (double)ev->step / (double)ev->steps, detail);
    else fprintf(stderr, "%s\n", detail);
}

static void stop(void *user) { tune_stop(user); }

static status run_it(args *a, tune *t, err *e)
{
    status st = OK;
    tune_end end = TUNE_FINISHED;
    bool quiet = args_flag(a, "quiet");
    interrupt_call(stop, t);
    st = tune_run(t, on_event, &quiet, &end, e);
    interrupt_done();
    tty_progress_done();
    if (st == OK && !quiet && end == TUNE_FINISHED) fprintf(stderr, "The adapter is in %s; report.json beside it says what was trained.\n", args_text(a, "output"));
    if (st == OK && !quiet && end == TUNE_STOPPED) fprintf(stderr, "Stopped and saved; \"facet tune --resume -o %s\" goes on.\n", args_text(a, "output"));
    return st;
}

/* ---- experts ------------------------------------------------------------------------------------------------- */

static status profile(args *a, json_t *recipe, buf *text, err *e)
{
    status st = OK;
    tune *t = NULL;
    bool quiet = args_flag(a, "quiet");
    const tune_where where = { .out = args_text(a, "output"), .profile = true };
    TRY(tune_open(&t, recipe, &where, e));
    interrupt_call(stop, t);
    st = tune_profile(t, on_event, &quiet, text, e);
    interrupt_done();
    tty_progress_done();
out:
    tune_close(t);
    return st;
}

/* Hot experts need a profile: the one that the recipe names, or the folder's own, made now if it is not there. */
static status find_profile(args *a, json_t *recipe, err *e)
{
    status st = OK;
    buf text;
    char *path = NULL;
    buf_init(&text, 64 << 20);
    if (strcmp(json_string_value(json_object_get(recipe, "preset")), "experts-hot") != 0 || json_is_string(json_object_get(recipe, "profile"))) goto out;
    if (!args_text(a, "output")) FAIL(e, E_ARG, "cannot choose hot experts\nthere is no profile of them\nMake one with --profile -o DIR, and name that folder here too.");
    path = file_join(args_text(a, "output"), "profile.json");
    if (!path) FAIL(e, E_NOMEM, "could not choose hot experts\nout of memory");
    if (!file_exists(path)) TRY(profile(a, recipe, &text, e));
    TRY(set(recipe, "profile", json_string(path), e));
out:
    mem_free(path);
    buf_done(&text);
    return st;
}

static status run(args *a, err *e)
{
    status st = OK;
    json_t *recipe = NULL;
    tune *t = NULL;
    buf plan;
    buf_init(&plan, 64 << 20);
    setup_log(a);
    TRY(check(a, e));
    TRY(read_recipe(a, &recipe, e));
    if (args_flag(a, "profile")) {
        TRY(profile(a, recipe, &plan, e));
        fputs(buf_text(&plan), stdout);
        goto out;
    }
    TRY(find_profile(a, recipe, e));
    tune_where where = { .out = args_flag(a, "dry-run") ? NULL : args_text(a, "output"), .dump_grads = args_text(a, "dump-grads"), .resume = args_flag(a, "resume") };
    TRY(tune_open(&t, recipe, &where, e));
    if (args_flag(a, "dry-run")) {
        TRY(tune_plan(t, &plan, e));
        fputs(buf_text(&plan), stdout);
    } else {
        TRY(run_it(a, t, e));
    }
out:
    buf_done(&plan);
    tune_close(t);
    json_decref(recipe);
    return st;
}

static const opt options[] = {
    { "data", 'd', OPT_TEXT, .argument = "FILE[=WEIGHT]", .many = true, .group = "Data", .help = "Rows of conversations, prompts and completions, or texts: JSONL or JSON, plain, gzip or zstd." },
    { "max-length", 0, OPT_INT, .argument = "N", .unset = "2048", .min = 16, .max = 1 << 20, .group = "Data", .help = "Longest document in tokens; longer conversations lose turns from their start." },
    { "thinking", 0, OPT_CHOICE, .argument = "auto|off|on", .unset = "auto: on where an answer has a thought", .group = "Data", .help = "Render prompts as with thinking on or off." },
    { "thoughts-are-context", 0, OPT_FLAG, .group = "Data", .help = "Thoughts are shown, but not trained." },
    { "chat-strings", 0, OPT_FLAG, .group = "Data", .help = "Prompt and completion that are texts are a question and its answer." },
    { "bad-rows", 0, OPT_INT, .argument = "N", .unset = "100", .min = 0, .max = 1e9, .group = "Data", .help = "So many rows that cannot be used may be left out." },
    { "held-out", 0, OPT_REAL, .argument = "SHARE", .unset = "0.04", .min = 0, .max = 0.5, .group = "Data", .help = "Share of the rows that only measures; none under 50 rows." },
    { "output", 'o', OPT_TEXT, .argument = "DIR", .group = "Output", .help = "The folder of the adapter, its log and its report." },
    { "adapter-class", 0, OPT_CHOICE, .argument = "base|text|multimodal", .unset = "as the base model's folder says; multimodal for a GGUF file", .group = "Output", .help = "The class whose modules the adapter's keys name." },
    { "dry-run", 0, OPT_FLAG, .group = "Output", .help = "Only say what would be done: memory, steps, data, the first examples." },
    { "dump-grads", 0, OPT_TEXT, .argument = "DIR", .group = "Output", .help = "Write the first step's loss and every gradient into this folder, for comparing." },
    { "recipe", 0, OPT_TEXT, .argument = "FILE", .group = "Run", .help = "Settings from a JSON file; options go before them." },
    { "resume", 0, OPT_FLAG, .group = "Run", .help = "Go on from the folder's last save, bit for bit as if it had not stopped." },
    { "stop-after", 0, OPT_INT, .argument = "N", .min = 0, .max = 1e9, .group = "Run", .help = "Save and stop after step N, as Ctrl-C would." },
    { "save-every", 0, OPT_INT, .argument = "N", .unset = "a tenth of the run", .min = 0, .max = 1e9, .group = "Run", .help = "Steps between saves." },
    { "eval-every", 0, OPT_INT, .argument = "N", .unset = "a tenth of the run", .min = 0, .max = 1e9, .group = "Run", .help = "Steps between measurements on the rows held out; the best adapter is kept in DIR/best." },
    { "patience", 0, OPT_INT, .argument = "N", .unset = "0: go on", .min = 0, .max = 1e9, .group = "Run", .help = "Finish after so many measurements in a row that were not better." },
    { "spike", 0, OPT_REAL, .argument = "X", .unset = "3", .min = 0, .max = 1e9, .group = "Run", .help = "Stop when a loss is X times the usual one, and 2 above it; 0: never." },
    { "memory", 0, OPT_BYTES, .argument = "SIZE", .group = "Run", .help = "Not in this version: refused." },
    { "method", 0, OPT_CHOICE, .argument = "sft|dpo|orpo", .unset = "sft", .group = "Method", .help = "Imitate answers, or prefer chosen ones to rejected ones: measured against the model as it was, or (orpo) by itself." },
    { "preference", 0, OPT_CHOICE, .argument = "sigmoid|hinge|ipo", .unset = "sigmoid", .group = "Method", .help = "The loss of a pair in dpo." },
    { "beta", 0, OPT_REAL, .argument = "X", .unset = "0.1", .min = 1e-6, .max = 1e6, .group = "Method", .help = "How far dpo stays from the model as it was; the weight of the odds in orpo." },
    { "sft-weight", 0, OPT_REAL, .argument = "X", .unset = "0", .min = 0, .max = 1e6, .group = "Method", .help = "Imitate the chosen answers besides, with this weight, in dpo." },
    { "preset", 0, OPT_CHOICE, .argument = "dense|experts-hot|experts-all|router|layered", .unset = "dense", .group = "What is trained",
      .help = "Attention and the dense MLP; besides with the hot experts, with all of them, or with the router. layered is not in this version." },
    { "profile", 0, OPT_FLAG, .group = "What is trained", .help = "Only show which experts the data goes to, by layer; with -o DIR it is kept there for experts-hot." },
    { "profile-from", 0, OPT_TEXT, .argument = "FILE", .unset = "profile.json in -o DIR, made when it is not there", .group = "What is trained", .help = "The profile that experts-hot chooses by." },
    { "profile-tokens", 0, OPT_INT, .argument = "N", .unset = "131072", .min = 1, .max = 1e12, .group = "What is trained", .help = "Tokens of the data that a profile looks at." },
    { "hot-count", 0, OPT_INT, .argument = "N", .unset = "a quarter of them", .min = 0, .max = 65536, .group = "What is trained", .help = "So many experts of each layer are hot." },
    { "hot-share", 0, OPT_REAL, .argument = "P", .unset = "by --hot-count", .min = 0, .max = 1, .group = "What is trained", .help = "Or as many as take this share of a layer's choices." },
    { "hot-by", 0, OPT_CHOICE, .argument = "choices|weight", .unset = "choices", .group = "What is trained", .help = "Count how often an expert is chosen, or the weight it gets." },
    { "only", 0, OPT_FLAG, .group = "What is trained", .help = "Leave attention and the dense MLP out of a preset." },
    { "targets", 0, OPT_TEXT, .argument = "NAME,NAME,...", .unset = "by --preset", .group = "What is trained", .help = "attention, dense, experts, router, ple, or linears as q_proj, experts.down_proj." },
    { "init-from", 0, OPT_TEXT, .argument = "ADAPTER", .group = "What is trained", .help = "Go on with an adapter's set, ranks, alphas and numbers." },
    { "rank", 0, OPT_INT, .argument = "N", .unset = "16", .min = 1, .max = 512, .group = "What is trained", .help = "Rank of the low-rank terms." },
    { "alpha", 0, OPT_REAL, .argument = "X", .unset = "twice the rank", .min = 0, .max = 1e6, .group = "What is trained", .help = "The terms' factor is alpha / rank." },
    { "expert-rank", 0, OPT_INT, .argument = "N", .unset = "an eighth of the rank, at least 2", .min = 0, .max = 512, .group = "What is trained", .help = "Rank of each expert's terms." },
    { "expert-alpha", 0, OPT_REAL, .argument = "X", .unset = "twice the experts' rank", .min = 0, .max = 1e6, .group = "What is trained", .help = "Alpha of experts." },
    { "rslora", 0, OPT_FLAG, .group = "What is trained", .help = "The factor is alpha / sqrt(rank)." },
    { "first-layer", 0, OPT_INT, .argument = "N", .unset = "0", .min = 0, .max = 511, .group = "What is trained", .help = "The first layer that is trained." },
    { "last-layer", 0, OPT_INT, .argument = "N", .unset = "the last one", .min = -1, .max = 511, .group = "What is trained", .help = "The last layer that is trained." },
    { "lr", 0, OPT_REAL, .argument = "X", .unset = "0.0002; 0.00001 for dpo and orpo", .min = 0, .max = 10, .group = "Optimizer", .help = "The highest rate." },
    { "lr-attention", 0, OPT_REAL, .argument = "X", .unset = "--lr", .min = 0, .max = 10, .group = "Optimizer", .help = "Of attention." },
    { "lr-dense", 0, OPT_REAL, .argument = "X", .unset = "--lr", .min = 0, .max = 10, .group = "Optimizer", .help = "Of the dense MLP." },
    { "lr-experts", 0, OPT_REAL, .argument = "X", .unset = "--lr", .min = 0, .max = 10, .group = "Optimizer", .help = "Of experts." },
    { "lr-router", 0, OPT_REAL, .argument = "X", .unset = "--lr", .min = 0, .max = 10, .group = "Optimizer", .help = "Of the router." },
    { "lr-ple", 0, OPT_REAL, .argument = "X", .unset = "--lr", .min = 0, .max = 10, .group = "Optimizer", .help = "Of the per-layer embeddings' projections." },
    { "schedule", 0, OPT_CHOICE, .argument = "cosine|linear|constant", .unset = "cosine, to a tenth", .group = "Optimizer", .help = "How the rate goes down." },
    { "warmup", 0, OPT_INT, .argument = "N", .unset = "5 or 3 % of the steps, at most half", .min = 0, .max = 1e9, .group = "Optimizer", .help = "Steps in which the rate goes up." },
    { "optimizer", 0, OPT_CHOICE, .argument = "adamw|adamw-8bit", .unset = "adamw", .group = "Optimizer", .help = "AdamW; with its states in 8 bits it takes a quarter of their memory." },
    { "decay", 0, OPT_REAL, .argument = "X", .unset = "0", .min = 0, .max = 10, .group = "Optimizer", .help = "Weight decay." },
    { "clip", 0, OPT_REAL, .argument = "X", .unset = "1", .min = 0, .max = 1e9, .group = "Optimizer", .help = "Largest norm of a step's gradient; 0: any." },
    { "epochs", 0, OPT_INT, .argument = "N", .unset = "1", .min = 1, .max = 100000, .group = "Optimizer", .help = "How often the data is gone through." },
    { "steps", 0, OPT_INT, .argument = "N", .unset = "by --epochs", .min = 0, .max = 1e9, .group = "Optimizer", .help = "Steps in all." },
    { "batch", 0, OPT_INT, .argument = "N", .unset = "8", .min = 1, .max = 1 << 20, .group = "Optimizer", .help = "Rows of data in a step." },
    { "rows", 0, OPT_INT, .argument = "N", .unset = "a step's documents, at most --max-length", .min = 0, .max = 1 << 20, .group = "Optimizer", .help = "Tokens that are computed at once." },
    { "seed", 0, OPT_INT, .argument = "N", .unset = "0", .min = 0, .max = 9e15, .group = "Optimizer", .help = "Of the beginning, the split and the order of rows." },
    { 0 } };

const cmd cmd_tune = {
    .name = "tune", .summary = "train an adapter", .options = { opt_model, options, opt_machine, opt_output }, .run = run,
    .details = "Trains low-rank terms beside the frozen weights of any model file that runs here, 4-bit or not.\n\n"
               "The folder gets the adapter as PEFT has it, a log with a line for every step, the recipe that was used, and a report that proves what was trained.",
    .examples = { { "facet tune -m e2b -d chats.jsonl -o my-adapter", "one epoch with the defaults" },
                  { "facet tune -m 26b -d chats.jsonl --preset experts-all --dry-run", "what it would take to train the experts too" },
                  { "facet tune -m 26b -d chats.jsonl --profile -o hot", "which experts these chats go to" },
                  { "facet tune -m e2b -d pairs.jsonl --method dpo -o preferred", "prefer the chosen answer of each pair" },
                  { "facet run -m e2b --adapter my-adapter \"What is new?\"", "use it" } } };
