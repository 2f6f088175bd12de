/* GET /health and /metrics. */
#include "serve/server.h"

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
    buf_init(&b, 1 << 20);
    label(s->name, name);
    if (metrics_print(&s->metrics, name, http_connections(s->door), http_calls(s->door), &b, &e) == OK) {
        http_reply(c, 200, "text/plain; version=0.0.4; charset=utf-8", buf_text(&b), b.len);
    } else {
        field_refuse_err(&r, &e);
        server_refuse_openai(c, &r);
    }
    buf_done(&b);
}
