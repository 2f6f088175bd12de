/* facet serve: one model over HTTP. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "cmd/setup.h"
#include "serve/serve.h"

enum { LIST_MAX = 64 };

static status say_ready(void *user, const char *address, err *e)
{
    (void)user;
    (void)e;
    printf("http://%s\n", address);
    fflush(stdout);
    return OK;
}

/* Given several times. */
static status read_list(args *a, const char *name, const char *out[LIST_MAX], size_t *count, err *e)
{
    int n = args_count(a, name);
    if (n > LIST_MAX) return args_mistake(a, e, "--%s was given %d times\nat most %d are taken", name, n, (int)LIST_MAX);
    for (int i = 0; i < n; i++) out[i] = args_nth(a, name, i);
    *count = (size_t)n;
    return OK;
}

static status run(args *a, err *e)
{
    status st = OK;
    char *path = NULL;
    facet_model *m = NULL;
    setup_adapters adapters = { 0 };
    const char *keys[LIST_MAX], *origins[LIST_MAX], *proxies[LIST_MAX];
    serve_opts o = { .http = { .host = args_text(a, "host"), .port = (int)args_int(a, "port") }, .alias = args_text(a, "alias"),
                     .adapter_dir = args_text(a, "adapter-dir"), .keys = keys, .key_file = args_text(a, "api-key-file"), .origins = origins, .insecure = args_flag(a, "insecure"),
                     .think = args_flag(a, "think"), .think_budget = (int32_t)args_int(a, "think-budget"),
                     .strict_model = args_flag(a, "strict-model"), .ready = say_ready };
    setup_log(a);
    TRY(setup_engine(a, &o.engine, e));
    TRY(setup_adapters_read(a, true, &adapters, &o.engine, e));
    o.engine.parallel = (int32_t)args_int(a, "parallel");
    o.engine.constrained = true;
    o.engine.queue = (int32_t)args_int(a, "queue");
    o.queue_seconds = (int)args_int(a, "queue-seconds");
    o.engine.cache = setup_cache(a);
    if (args_given(a, "cache-dir") && o.engine.cache < 0)
        return args_mistake(a, e, "--cache-dir keeps what is remembered, and --cache 0 remembers nothing");
    setup_disk(a, &o.engine);
    TRY(read_list(a, "api-key", keys, &o.key_count, e));
    TRY(read_list(a, "origin", origins, &o.origin_count, e));
    TRY(read_list(a, "trusted-proxy", proxies, &o.http.proxy_count, e));
    o.http.proxies = proxies;
    TRY(setup_path(a, &path, e));
    TRY(facet_model_open(&m, &(facet_model_opts){ .path = path }, e));
    o.path = path;
    TRY(serve_run(m, &o, e));
out:
    facet_model_close(m);
    setup_adapters_done(&adapters);
    mem_free(path);
    return st;
}

static const opt options[] = {
    { "host", 0, OPT_TEXT, .argument = "ADDRESS", .value = "127.0.0.1", .group = "Server",
      .help = "Address to listen on; any but this machine's own needs a key or --insecure." },
    { "port", 'p', OPT_INT, .argument = "N", .value = "8080", .min = 0, .max = 65535, .group = "Server", .help = "Port to listen on; 0 takes a free one." },
    { "alias", 0, OPT_TEXT, .argument = "NAME", .unset = "the file's name", .group = "Server", .help = "What clients call the model." },
    { "strict-model", 0, OPT_FLAG, .group = "Server", .help = "Refuse requests for other models instead of answering with this one." },
    { "think", 0, OPT_FLAG, .group = "Server", .help = "Let the model think unless a request says otherwise." },
    { "think-budget", 0, OPT_INT, .argument = "N", .unset = "no limit", .min = 1, .max = INT32_MAX, .group = "Server",
      .help = "Most tokens of a thought unless a request says otherwise; then the answer begins." },
    { "parallel", 0, OPT_INT, .argument = "N", .unset = "what memory allows, at most 8", .min = 1, .max = 256, .group = "Server",
      .help = "Requests computed at once; more of them wait." },
    { "cache", 0, OPT_BYTES, .argument = "SIZE", .unset = "by --parallel and free memory", .group = "Server",
      .help = "Memory for prompts and answers that later requests find again, and for requests beside the first; 0 remembers nothing." },
    { "queue", 0, OPT_INT, .argument = "N", .value = "64", .min = 1, .max = 65536, .group = "Server", .help = "Requests that may wait; more are told to come back." },
    { "queue-seconds", 0, OPT_INT, .argument = "N", .value = "120", .min = 1, .max = 86400, .group = "Server", .help = "How long one may wait before it is told to come back." },
    { "api-key", 0, OPT_TEXT, .argument = "KEY", .many = true, .group = "Access", .help = "A key that requests must have; may be repeated. Others see it in the list of processes." },
    { "api-key-file", 0, OPT_TEXT, .argument = "FILE", .group = "Access", .help = "Keys, one per line; read again on SIGHUP." },
    { "origin", 0, OPT_TEXT, .argument = "ORIGIN", .many = true, .group = "Access", .help = "Web pages of this origin may ask; may be repeated. Those of this machine always may." },
    { "trusted-proxy", 0, OPT_TEXT, .argument = "ADDRESS", .many = true, .group = "Access",
      .help = "Address, or a range such as 10.0.0.0/8, of a proxy whose X-Forwarded-For is believed: limits count whom it names; may be repeated." },
    { "adapter-dir", 0, OPT_TEXT, .argument = "DIR", .group = "Access", .help = "Requests to /adapters may load what lies in this folder, and unload." },
    { "insecure", 0, OPT_FLAG, .group = "Access", .help = "Let other machines in without a key." },
    { 0 } };

const cmd cmd_serve = {
    .name = "serve", .summary = "answer over HTTP, as OpenAI's, Anthropic's and Ollama's servers do",
    .details = "The first line of standard output is the address, as soon as requests are answered. Ctrl-C or SIGTERM takes no new connections and lets answers "
               "end for 10 seconds; a second one ends at once. docs/serving.md has the routes and their fields.",
    .options = { opt_model, opt_adapters, options, opt_context, opt_disk, opt_machine, opt_output }, .run = run,
    .examples = { { "facet serve", "the bundled miniature on http://127.0.0.1:8080" },
                  { "facet serve -m gemma-4-E2B-it-Q4_0.gguf --alias gemma --ctx 32768", "a real model under a name of your choice" },
                  { "facet serve -m e2b --host 0.0.0.0 --api-key-file keys.txt", "for other machines, with keys" },
                  { "facet serve -m e2b --adapter style=adapters/style --adapter facts=facts.gguf=0.8", "requests choose with \"model\": \"e2b:style\"" },
                  { "facet serve -m e2b --port 0 --think", "a free port; thinking unless a request says otherwise" },
                  { "facet serve -m e2b --cache-dir ~/.cache/facet/prefixes", "conversations go on at once after a restart" } } };
