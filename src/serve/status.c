/* GET /health, /metrics, and /status for the page. */
#include <sys/resource.h>

#include "os/clock.h"
#include "serve/adapters.h"
#include "serve/job.h"

void status_health(server *s, http_call *c)
{
    server_reply_json(c, s->stopping ? 503 : 200, json_pack("{s:s, s:I, s:I}", "status", s->stopping ? "draining" : "ok", "running", (json_int_t)s->metrics.running,
                                                            "waiting", (json_int_t)(s->metrics.submitted - s->metrics.running)));
}

/* A label's value: quotes and backslashes would end it. */
static void label(const char *name, char out[256])
{
    size_t n = 0;
    for (; name[n] && n < 255; n++) out[n] = name[n] == '"' || name[n] == '\\' || name[n] == '\n' ? '_' : name[n];
    out[n] = '\0';
}

void status_metrics(server *s, http_call *c)
{
    buf b;
    char name[256];
    refusal r = { 0 };
    err e = { 0 };
    facet_stats engine;
    buf_init(&b, 1 << 20);
    label(s->name, name);
    facet_engine_read_stats(s->engine, &engine);
    if (metrics_print(&s->metrics, &engine, name, http_connections(s->door), http_calls(s->door), &b, &e) == OK) {
        http_reply(c, 200, "text/plain; version=0.0.4; charset=utf-8", buf_text(&b), b.len);
    } else {
        field_refuse_err(&r, &e);
        server_refuse_openai(c, &r);
    }
    buf_done(&b);
}

/* ---- /status ----------------------------------------------------------------------------------------------- */

static json_t *model(const server *s)
{
    facet_sampling d;
    facet_sampling_defaults(s->model, &d);
    return json_pack("{s:s, s:s, s:s, s:I, s:b, s:[s], s:{s:f, s:i, s:f, s:f}}", "id", s->name, "name", s->info.name ? s->info.name : "", "size", s->info.size_name,
                     "file_bytes", (json_int_t)s->info.file_bytes, "thinking", s->o.think, "inputs", "text", "defaults", "temperature", (double)d.temperature,
                     "top_k", (int)d.top_k, "top_p", (double)d.top_p, "min_p", (double)d.min_p);
}

/* What adapters take now: they come and go. */
static uint64_t adapter_bytes(const server *s)
{
    facet_adapter_info *list = NULL;
    size_t n = 0;
    uint64_t bytes = 0;
    if (!adapters_read(s, &list, &n)) return 0;
    for (size_t i = 0; i < n; i++) bytes += list[i].bytes;
    facet_free(list);
    return bytes;
}

static json_t *memory(const server *s)
{
    const facet_plan *p = &s->plan;
    facet_machine machine;
    struct rusage used = { 0 };
    facet_machine_read(&machine);
    getrusage(RUSAGE_SELF, &used);
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "adapters", (json_int_t)adapter_bytes(s), "weights", (json_int_t)(p->weights_mapped + p->weights_owned), "cache", (json_int_t)p->kv, "buffers",
                     (json_int_t)(p->activations + p->logits + p->text + p->other), "peak", (json_int_t)used.ru_maxrss * 1024, "available",
                     (json_int_t)machine.memory_available, "machine", (json_int_t)machine.memory_total);
}

static json_t *cache(const server *s)
{
    facet_stats c;
    facet_engine_read_stats(s->engine, &c);
    return json_pack("{s:I, s:I, s:i, s:i, s:I, s:I, s:{s:I, s:i, s:I, s:I, s:I, s:I, s:I}}", "tokens", (json_int_t)c.tokens, "tokens_max", (json_int_t)c.tokens_max, "checkpoints", (int)c.checkpoints,
                     "checkpoints_max", (int)c.checkpoints_max, "evicted", (json_int_t)c.evicted, "preempted", (json_int_t)c.preempted, "disk", "tokens", (json_int_t)c.disk_tokens,
                     "files", (int)c.disk_files, "bytes", (json_int_t)c.disk_bytes, "bytes_max", (json_int_t)c.disk_bytes_max, "written", (json_int_t)c.disk_written,
                     "read", (json_int_t)c.disk_read, "failed", (json_int_t)c.disk_failed);
}

/* One entry for each answer of the same key that runs or waits, oldest first; nothing of what it says.  Others' are counted. */
static json_t *requests(const server *s, uint64_t scope, int *running, int *waiting)
{
    json_t *list = json_array();
    *running = *waiting = 0;
    for (const job *j = s->jobs; list && j; j = j->next) {
        for (int i = j->count - 1; i >= 0; i--) {
            const job_answer *a = &j->answers[i];
            if (a->done) continue;
            if (j->scope != scope) { ++*(a->prompt_tokens ? running : waiting); continue; }
            json_t *one = json_pack("{s:s, s:i, s:s, s:f, s:i, s:i, s:i, s:i}", "id", j->id, "index", a->index, "state",
                                    a->prompt_tokens == 0 ? "waiting" : a->tokens == 0 ? "prompt" : "answer", "seconds", clock_seconds() - j->started,
                                    "prompt_tokens", (int)a->prompt_tokens, "cached_tokens", (int)a->cached_tokens, "prompt_done", (int)a->prompt_done,
                                    "answer_tokens", (int)a->tokens);
            if (json_array_insert_new(list, 0, one) != 0) { json_decref(list); return NULL; }
        }
    }
    return list;
}

/* Oldest first; the current step, which is not over, is left out. */
static json_t *speed(server *s)
{
    double now = clock_seconds();
    json_t *prompt = json_array(), *answer = json_array();
    for (int ago = PACE_STEPS - 1; ago > 0; ago--) {
        pace_step step = pace_read(&s->pace, now, ago);
        json_array_append_new(prompt, json_real((double)step.prompt / PACE_SECONDS));
        json_array_append_new(answer, json_real((double)step.answer / PACE_SECONDS));
    }
    return json_pack("{s:i, s:o, s:o}", "step_seconds", PACE_SECONDS, "prompt", prompt, "answer", answer);
}

void status_all(server *s, http_call *c)
{
    const metrics *m = &s->metrics;
    int running, waiting;
    json_t *own = requests(s, gate_scope(s->gate, http_head(c)), &running, &waiting);
    http_header(c, "Cache-Control", "no-store");
    server_reply_json(c, 200, json_pack(
        "{s:s, s:s, s:I, s:o, s:{s:i, s:i, s:i, s:i}, s:o, s:{s:i, s:i}, s:{s:I, s:I, s:I, s:I, s:I, s:I}, s:o, s:o, s:o}",
        "status", s->stopping ? "draining" : "ok", "version", FACET_VERSION, "started", (json_int_t)s->started, "model", model(s),
        "engine", "ctx", (int)s->used.ctx, "parallel", (int)s->used.parallel, "queue", (int)s->used.queue, "chunk", (int)s->used.chunk,
        "requests", own, "others", "running", running, "waiting", waiting, "totals", "running", (json_int_t)m->running, "waiting", (json_int_t)(m->submitted - m->running),
        "prompt_tokens", (json_int_t)m->prompt_tokens, "cached_tokens", (json_int_t)m->cached_tokens, "answer_tokens", (json_int_t)m->answer_tokens,
        "refused", (json_int_t)m->refused, "cache", cache(s), "memory", memory(s), "speed", speed(s)));
}
