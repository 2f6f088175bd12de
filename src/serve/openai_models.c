/* GET /v1/models and /v1/models/{id}. */
#include <string.h>

#include "serve/adapters.h"

static json_t *entry(const server *s, const char *adapter)
{
    char id[SERVER_NAME_MAX];
    server_model_name(s, adapter, id);
    return json_pack("{s:s, s:s, s:I, s:s, s:s*, s:i, s:i, s:{s:i, s:i}, s:[s, s, s]}", "id", id, "object", "model", "created", (json_int_t)s->started,
                     "owned_by", "facet", "parent", adapter[0] ? s->name : NULL, "max_model_len", (int)s->used.ctx, "context_length", (int)s->used.ctx,
                     "meta", "n_ctx_train", (int)s->info.context, "n_vocab", (int)s->info.vocab, "capabilities", "completion", "tools", "thinking");
}

void openai_models(server *s, http_call *c)
{
    facet_adapter_info *list = NULL;
    size_t n = 0;
    json_t *data = adapters_read(s, &list, &n) ? json_array() : NULL;
    for (size_t i = 0; data && i <= n; i++)
        if (json_array_append_new(data, entry(s, i ? list[i - 1].name : "")) != 0) { json_decref(data); data = NULL; }
    facet_free(list);
    server_reply_json(c, 200, json_pack("{s:s, s:o}", "object", "list", "data", data));
}

void openai_model(server *s, http_call *c)
{
    refusal r = { 0 };
    char id[SERVER_NAME_MAX], adapter[SERVER_ADAPTER_MAX];
    if (!head_last_part(http_head(c), id, sizeof id)) field_refuse(&r, 404, "model_not_found", "model", "there is no model of that name here; this server has \"%s\"", s->name);
    else if (server_check_model(s, id, adapter, &r)) server_reply_json(c, 200, entry(s, adapter));
    if (r.status) server_refuse_openai(c, &r);
}
