/* GET / for browsers, and GET /page/NAME: names of embedded files, never of files on a disk. */
#include "serve/page.h"

#include "base/bits.h"
#include "serve/server.h"

/* Nothing from elsewhere is loaded, framed or run, and no text becomes markup (trusted types). */
static const char policy[] =
    "default-src 'self'; img-src 'self' data: blob:; media-src blob:; object-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'";

static const char *type_of(const char *name)
{
    static const struct { const char *end, *type; } all[] = { { ".html", "text/html; charset=utf-8" }, { ".css", "text/css; charset=utf-8" },
        { ".js", "text/javascript; charset=utf-8" }, { ".svg", "image/svg+xml" }, { ".txt", "text/plain; charset=utf-8" } };
    for (size_t i = 0; i < COUNT_OF(all); i++)
        if (str_ends(str_from(name), all[i].end)) return all[i].type;
    return "application/octet-stream";
}

static const page_file *find(str name)
{
    for (size_t i = 0; i < page_file_count; i++)
        if (str_is(name, page_files[i].name)) return &page_files[i];
    return NULL;
}

/* If-None-Match: tags, with or without W/, separated by commas; or a star (RFC 9110, 13.1.2). */
static bool has_it(const head *h, const page_file *f)
{
    const str *field = head_find(h, "If-None-Match");
    return field && (str_is(*field, "*") || str_find(*field, str_from(f->etag)) < field->n);
}

static void give(http_call *c, const page_file *f)
{
    http_header(c, "Content-Security-Policy", policy);
    http_header(c, "Referrer-Policy", "no-referrer");
    http_header(c, "Cross-Origin-Opener-Policy", "same-origin");
    http_header(c, "Cross-Origin-Resource-Policy", "same-origin");
    http_header(c, "Cache-Control", "no-cache");             /* asked again each time, answered with 304 */
    http_header(c, "ETag", f->etag);
    if (has_it(http_head(c), f)) http_reply(c, 304, NULL, NULL, 0);
    else http_reply(c, 200, type_of(f->name), (const char *)f->bytes, f->n);
}

/* Ollama's clients ask here whether a server is there at all. */
void page_root(server *s, http_call *c)
{
    static const char here[] = "Ollama is running";
    const str *accept = head_find(http_head(c), "Accept");
    (void)s;
    http_header(c, "Vary", "Accept");
    if (accept && str_find(*accept, STR("text/html")) < accept->n) give(c, find(STR("index.html")));
    else http_reply(c, 200, "text/plain; charset=utf-8", here, sizeof here - 1);
}

void page_get(server *s, http_call *c)
{
    refusal r = { 0 };
    str path = http_head(c)->path;
    const page_file *f = find(str_skip(path, strlen("/page/")));
    (void)s;
    if (f) { give(c, f); return; }
    field_refuse(&r, 404, NULL, NULL, "there is nothing at %.*s", (int)MIN(path.n, 200), path.p);
    server_refuse_openai(c, &r);
}
