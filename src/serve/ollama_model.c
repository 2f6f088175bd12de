/* Ollama's routes about models: there is one, it is loaded, and it stays. */
#include "serve/ollama.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/hash.h"
#include "serve/adapters.h"

/* Clients refuse servers that say they are too old. */
#define LIKE_VERSION "0.32.0"

void ollama_name(const server *s, const char *adapter, char out[OLLAMA_NAME_MAX])
{
    char name[SERVER_NAME_MAX];
    server_model_name(s, adapter, name);
    snprintf(out, OLLAMA_NAME_MAX, "%s%s", name, strchr(name, ':') ? "" : ":latest");
}

static void time_text(int64_t seconds, long nanoseconds, char out[OLLAMA_TIME_MAX])
{
    char day[32];
    time_t at = (time_t)seconds;
    struct tm t;
    gmtime_r(&at, &t);
    strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &t);
    snprintf(out, OLLAMA_TIME_MAX, "%s.%06ldZ", day, nanoseconds / 1000 % 1000000);
}

void ollama_time(char out[OLLAMA_TIME_MAX])
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    time_text(now.tv_sec, now.tv_nsec, out);
}

bool ollama_check_model(server *s, const json_t *body, char adapter[SERVER_ADAPTER_MAX], refusal *r)
{
    const char *name = NULL;
    return field_text(body, "model", &name, r) && (name || field_text(body, "name", &name, r)) && server_check_model(s, name, adapter, r);
}

/* 64 digits that differ between models; the file is not read for them. */
static void digest(const server *s, const char *name, char out[65])
{
    for (uint64_t i = 0; i < 4; i++)
        snprintf(out + 16 * i, 17, "%016llx", (unsigned long long)hash_bytes(name, strlen(name), s->info.file_bytes * 4 + i));
}

static json_t *details(const server *s)
{
    char size[32], type[16];
    size_t n = 0;
    for (; s->info.weight_type[n] && n < sizeof type - 1; n++) type[n] = (char)toupper((unsigned char)s->info.weight_type[n]);
    type[n] = '\0';
    double billions = (double)s->info.parameters / 1e9;
    if (billions >= 0.95) snprintf(size, sizeof size, "%.1fB", billions);
    else snprintf(size, sizeof size, "%.2fM", billions * 1e3);
    return json_pack("{s:s, s:s, s:s, s:[s], s:s, s:s}", "parent_model", "", "format", s->info.format, "family", "gemma4", "families", "gemma4",
                     "parameter_size", size, "quantization_level", type);
}

static json_t *entry(const server *s, const char *adapter)
{
    char name[OLLAMA_NAME_MAX], own[SERVER_NAME_MAX], hex[65];
    ollama_name(s, adapter, name);
    server_model_name(s, adapter, own);
    digest(s, own, hex);
    return json_pack("{s:s, s:s, s:I, s:s, s:o}", "name", name, "model", name, "size", (json_int_t)s->info.file_bytes, "digest", hex, "details", details(s));
}

/* The model, then it with each of its adapters. */
static void reply_list(server *s, http_call *c, bool (*fill)(const server *s, json_t *one))
{
    facet_adapter_info *list = NULL;
    size_t n = 0;
    json_t *all = adapters_read(s, &list, &n) ? json_array() : NULL;
    bool ok = all != NULL;
    for (size_t i = 0; ok && i <= n; i++) {
        json_t *one = entry(s, i ? list[i - 1].name : "");
        ok = fill(s, one);
        ok = json_array_append_new(all, one) == 0 && ok;
    }
    facet_free(list);
    if (!ok) { json_decref(all); all = NULL; }
    server_reply_json(c, 200, json_pack("{s:o}", "models", all));
}

static bool fill_tag(const server *s, json_t *one)
{
    char since[OLLAMA_TIME_MAX];
    time_text(s->started, 0, since);
    return field_put(one, "modified_at", json_string(since));
}

static bool fill_loaded(const server *s, json_t *one)
{
    return field_put(one, "size_vram", json_integer(0)) && field_put(one, "expires_at", json_string("9999-12-31T23:59:59Z")) &&
           field_put(one, "context_length", json_integer(s->used.ctx));
}

void ollama_tags(server *s, http_call *c) { reply_list(s, c, fill_tag); }
void ollama_ps(server *s, http_call *c) { reply_list(s, c, fill_loaded); }

void ollama_version(server *s, http_call *c)
{
    (void)s;
    server_reply_json(c, 200, json_pack("{s:s, s:s}", "version", LIKE_VERSION, "facet", FACET_VERSION));
}

static json_t *description(const server *s)
{
    char since[OLLAMA_TIME_MAX], parameters[128];
    facet_sampling d;
    facet_sampling_defaults(s->model, &d);
    time_text(s->started, 0, since);
    snprintf(parameters, sizeof parameters, "temperature %g\ntop_k %d\ntop_p %g", (double)d.temperature, d.top_k, (double)d.top_p);
    json_t *info = json_pack("{s:s, s:s, s:I, s:i, s:i, s:i, s:i, s:i}", "general.architecture", "gemma4", "general.basename", s->info.name,
                             "general.parameter_count", (json_int_t)s->info.parameters, "gemma4.context_length", (int)s->used.ctx,
                             "gemma4.embedding_length", (int)s->info.hidden, "gemma4.block_count", (int)s->info.layer_count, "gemma4.expert_count",
                             (int)s->info.expert_count, "gemma4.vocab_size", (int)s->info.vocab);
    return json_pack("{s:s, s:s, s:s, s:o, s:o, s:[s, s, s], s:s}", "modelfile", "", "parameters", parameters, "template", "", "details", details(s),
                     "model_info", info, "capabilities", "completion", "tools", "thinking", "modified_at", since);
}

void ollama_show(server *s, http_call *c)
{
    refusal r = { 0 };
    json_t *body = NULL;
    char adapter[SERVER_ADAPTER_MAX];
    if (field_parse(&body, http_body(c), &r) && ollama_check_model(s, body, adapter, &r)) server_reply_json(c, 200, description(s));
    else server_refuse_ollama(c, &r);
    json_decref(body);
}

void ollama_unsupported(server *s, http_call *c)
{
    refusal r = { 0 };
    (void)s;
    field_refuse(&r, 501, NULL, NULL, "not supported");
    server_refuse_ollama(c, &r);
}
