/* POST /v1/embeddings. */
#include <string.h>

#include "serve/vectors.h"

static bool read_request(server *s, vectors_ask *a, const json_t *body, refusal *r)
{
    const char *model = NULL, *encoding = NULL;
    if (!field_text(body, "model", &model, r) || !server_check_model(s, model, a->adapter, r) || !field_text(body, "encoding_format", &encoding, r) ||
        !vectors_read_width(a, s, body, r) || !vectors_read(a, field_find(body, "input"), "input", r)) return false;
    a->base64 = encoding && strcmp(encoding, "base64") == 0;
    if (encoding && !a->base64 && strcmp(encoding, "float") != 0)
        return field_refuse(r, 400, NULL, "encoding_format", "\"encoding_format\" cannot be \"%s\"; it is float or base64", encoding);
    return json_array_size(a->inputs) || field_refuse(r, 400, NULL, "input", "\"input\" is an empty list");
}

static bool print(const vectors *v, buf *out)
{
    bool ok = buf_add_str(out, "{\"object\":\"list\",\"data\":[", NULL) == OK;
    for (size_t i = 0; ok && i < vectors_count(v); i++)
        ok = buf_addf(out, NULL, "%s{\"object\":\"embedding\",\"index\":%zu,\"embedding\":", i ? "," : "", i) == OK && vectors_print(v, i, out) &&
             buf_add_str(out, "}", NULL) == OK;
    long long n = (long long)vectors_tokens(v);
    return ok && buf_add_str(out, "],\"model\":", NULL) == OK && json_quote(out, str_from(vectors_model(v)), NULL) == OK &&
           buf_addf(out, NULL, ",\"usage\":{\"prompt_tokens\":%lld,\"total_tokens\":%lld}}", n, n) == OK;
}

static const vectors_dialect embeddings = { .print = print, .refuse = server_refuse_openai };

void openai_embeddings(server *s, http_call *c)
{
    refusal r = { 0 };
    json_t *body = NULL;
    vectors_ask a = { 0 };
    if (field_parse(&body, http_body(c), &r) && read_request(s, &a, body, &r)) {
        vectors_start(s, c, &embeddings, &a);
    } else {
        s->metrics.refused++;
        server_refuse_openai(c, &r);
    }
    json_decref(a.inputs);
    json_decref(body);
}
