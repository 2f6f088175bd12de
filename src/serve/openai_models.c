/* GET /v1/models and /v1/models/{id}. */
#include <string.h>

#include "serve/server.h"

static json_t *entry(const server *s)
{
    return json_pack("{s:s, s:s, s:I, s:s, s:i, s:i, s:{s:i, s:i}, s:[s, s, s]}", "id", s->name, "object", "model", "created", (json_int_t)s->started,
                     "owned_by", "facet", "max_model_len", (int)s->used.ctx, "context_length", (int)s->used.ctx, "meta", "n_ctx_train", (int)s->info.context,
                     "n_vocab", (int)s->info.vocab, "capabilities", "completion", "tools", "thinking");
}

void openai_models(server *s, http_call *c)
{
    server_reply_json(c, 200, json_pack("{s:s, s:[o]}", "object", "list", "data", entry(s)));
}

void openai_model(server *s, http_call *c)
{
    refusal r = { 0 };
    str path = http_head(c)->path, id = { path.p + path.n, 0 };
    while (id.p > path.p && id.p[-1] != '/') id = (str){ id.p - 1, id.n + 1 };
    if (str_is(id, s->name) || !s->o.strict_model) {
        server_reply_json(c, 200, entry(s));
        return;
    }
    field_refuse(&r, 404, "model_not_found", "model", "there is no model \"%.*s\" here; this server has \"%s\"", (int)(id.n < 200 ? id.n : 200), id.p, s->name);
    server_refuse_openai(c, &r);
}
