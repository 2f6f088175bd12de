/* POST /api/embed and, as older clients have it, /api/embeddings. */
#include <string.h>

#include "serve/ollama.h"
#include "serve/vectors.h"

static bool print_all(const vectors *v, buf *out)
{
    char name[OLLAMA_NAME_MAX];
    ollama_name(vectors_server(v), vectors_adapter(v), name);
    bool ok = buf_add_str(out, "{\"model\":", NULL) == OK && json_quote(out, str_from(name), NULL) == OK && buf_add_str(out, ",\"embeddings\":[", NULL) == OK;
    for (size_t i = 0; ok && i < vectors_count(v); i++) ok = (i == 0 || buf_add_str(out, ",", NULL) == OK) && vectors_print(v, i, out);
    return ok && buf_addf(out, NULL, "],\"total_duration\":%lld,\"load_duration\":0,\"prompt_eval_count\":%lld}", (long long)(vectors_seconds(v) * 1e9),
                          (long long)vectors_tokens(v)) == OK;
}

static bool print_one(const vectors *v, buf *out)
{
    return buf_add_str(out, "{\"embedding\":", NULL) == OK && (vectors_count(v) ? vectors_print(v, 0, out) : buf_add_str(out, "[]", NULL) == OK) &&
           buf_add_str(out, "}", NULL) == OK;
}

static const vectors_dialect embed = { .print = print_all, .refuse = server_refuse_ollama }, one = { .print = print_one, .refuse = server_refuse_ollama };

/* No text at all is a question too: the answer is as empty. */
static bool read_input(vectors_ask *a, const json_t *v, const char *field, refusal *r)
{
    if (json_is_string(v) && json_string_length(v) == 0) return (a->inputs = json_array()) || field_refuse(r, 503, NULL, NULL, "out of memory");
    return vectors_read(a, v, field, r);
}

static void answer(server *s, http_call *c, const vectors_dialect *d, const char *field)
{
    refusal r = { 0 };
    json_t *body = NULL;
    const json_t *options = NULL;
    vectors_ask a = { .truncate = true };
    bool many = d == &embed;
    bool ok = field_parse(&body, http_body(c), &r) && ollama_check_model(s, body, a.adapter, &r) && field_object(body, "options", &options, &r) &&
              (!many || (field_bool(body, "truncate", &a.truncate, &r) && vectors_read_width(&a, s, body, &r)));
    const json_t *v = field_find(body, field);
    if (ok && !many && v && !json_is_string(v)) ok = field_refuse(&r, 400, NULL, field, "\"%s\" must be a string; it is %s", field, field_kind(v));
    if (ok && read_input(&a, v, field, &r)) {
        vectors_start(s, c, d, &a);
    } else {
        s->metrics.refused++;
        server_refuse_ollama(c, &r);
    }
    json_decref(a.inputs);
    json_decref(body);
}

void ollama_embed(server *s, http_call *c) { answer(s, c, &embed, "input"); }
void ollama_embeddings(server *s, http_call *c) { answer(s, c, &one, "prompt"); }
