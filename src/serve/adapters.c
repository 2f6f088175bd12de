/* GET, POST /adapters and DELETE /adapters/{name}. */
#include "serve/adapters.h"

#include <event2/event.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "os/file.h"
#include "os/task.h"

/* One change at a time.  While `busy` what the thread works on is its own; the loop has it back once the thread is joined. */
struct adapters {
    server *s;
    char *dir;                       /* NULL: nothing is loaded */
    int fd;                          /* the thread tells the loop */
    struct event *wake;
    task thread;
    bool busy;
    http_call *call;                 /* who waits for it; NULL: the client has left */
    bool load;
    char name[SERVER_ADAPTER_MAX];
    char *path;
    double scale;
    status st;
    err why;
};

static bool no_memory(refusal *r) { return field_refuse(r, 503, NULL, NULL, "out of memory"); }

/* ---- names -------------------------------------------------------------------------------------------------- */

static bool is_plain(str name)
{
    if (name.n == 0 || name.n >= SERVER_ADAPTER_MAX || name.p[0] == '.') return false;
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') && !(c && strchr("._-", c))) return false;
    }
    return true;
}

bool adapters_is_name(const server *s, str name) { return is_plain(name) && !str_is(name, "latest") && !str_is(name, s->name); }

bool adapters_read(const server *s, facet_adapter_info **list, size_t *count)
{
    return facet_adapter_list(s->engine, list, count, NULL) == FACET_OK;
}

bool adapters_find(const server *s, str name, bool *found)
{
    facet_adapter_info *list = NULL;
    size_t n = 0;
    if (!adapters_read(s, &list, &n)) return false;
    *found = false;
    for (size_t i = 0; i < n; i++) *found |= str_is(name, list[i].name);
    facet_free(list);
    return true;
}

/* ---- the thread --------------------------------------------------------------------------------------------- */

static void work(void *user)
{
    adapters *a = user;
    facet_adapter part = { .name = a->name, .path = a->path, .scale = a->scale };
    a->st = a->load ? facet_adapter_load(a->s->engine, &part, 1, &a->why) : facet_adapter_unload(a->s->engine, a->name, &a->why);
    eventfd_write(a->fd, 1);
}

static json_t *entry(const server *s, const facet_adapter_info *i)
{
    char id[SERVER_NAME_MAX];
    server_model_name(s, i->name, id);
    return json_pack("{s:s, s:s, s:s, s:i, s:i, s:I, s:i}", "name", i->name, "object", "adapter", "model", id, "rank", (int)i->rank, "terms", (int)i->terms,
                     "bytes", (json_int_t)i->bytes, "requests", (int)i->users);
}

/* The adapter's entry when it is there now; NULL when out of memory. */
static json_t *find_entry(const server *s, const char *name)
{
    facet_adapter_info *list = NULL;
    size_t n = 0;
    json_t *found = NULL;
    if (!adapters_read(s, &list, &n)) return NULL;
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i].name, name) == 0) found = entry(s, &list[i]);
    facet_free(list);
    return found;
}

static void answer(adapters *a)
{
    refusal r;
    if (a->st != OK) {
        field_refuse_err(&r, &a->why);
        if (a->st == E_BUSY) r.status = 409;                 /* requests use it: to come back at once would not help */
        server_refuse_openai(a->call, &r);
    } else if (a->load) {
        server_reply_json(a->call, 200, find_entry(a->s, a->name));
    } else {
        server_reply_json(a->call, 200, json_pack("{s:s, s:s, s:b}", "name", a->name, "object", "adapter", "deleted", 1));
    }
}

/* The change is made, or was refused. */
static void settle(adapters *a)
{
    task_wait(&a->thread);
    a->busy = false;
    if (a->st == OK) log_print(LOG_INFO, "the adapter \"%s\" is %s", a->name, a->load ? "loaded" : "unloaded");
    else log_print(LOG_WARN, "%s: %s", a->why.what, a->why.why);
    if (a->call) {
        http_watch(a->call, NULL, NULL, NULL);
        answer(a);
    }
    a->call = NULL;
    mem_free(a->path);
    a->path = NULL;
}

static void on_wake(evutil_socket_t fd, short what, void *user)
{
    adapters *a = user;
    eventfd_t n;
    (void)what;
    eventfd_read(fd, &n);
    if (a->busy) settle(a);
}

/* The change is made all the same. */
static void on_gone(void *user) { ((adapters *)user)->call = NULL; }
static void on_drain(void *user) { (void)user; }

static bool begin(adapters *a, http_call *c, refusal *r)
{
    a->st = OK;
    a->why = (err){ 0 };
    int no = task_start(&a->thread, work, a);
    if (no != 0) {
        err e = { 0 };
        err_set(&e, E_NOMEM, "could not start a thread\n%s", strerror(no));
        return field_refuse_err(r, &e);
    }
    a->busy = true;
    a->call = c;
    http_watch(c, on_gone, on_drain, a);
    return true;
}

/* ---- requests ----------------------------------------------------------------------------------------------- */

/* Somebody who may change adapters asks, and nothing else is being changed. */
static bool may_change(const adapters *a, refusal *r)
{
    if (!a->dir) return field_refuse(r, 404, NULL, NULL, "adapters of this server cannot be changed: it was started without --adapter-dir");
    if (a->busy) return field_refuse(r, 503, NULL, NULL, "another adapter is being loaded or unloaded");
    return true;
}

/* The entry of the folder: a PEFT folder or a GGUF file.  *out owned. */
static bool find_file(const adapters *a, const char *file, bool given, char **out, refusal *r)
{
    char with_end[SERVER_ADAPTER_MAX + 8];
    snprintf(with_end, sizeof with_end, "%s.gguf", file);
    char *path = file_join(a->dir, file);
    if (path && !given && !file_exists(path)) {
        mem_free(path);
        path = file_join(a->dir, with_end);
    }
    if (!path) return no_memory(r);
    *out = path;
    if (file_exists(path)) return true;
    return field_refuse(r, 404, "adapter_not_found", given ? "file" : "name", "the server's folder of adapters has no \"%s\"%s", file, given ? "" : ", also not with .gguf");
}

static bool read_load(adapters *a, const json_t *body, refusal *r)
{
    const char *name = NULL, *file = NULL;
    float scale = 1;
    bool found;
    if (!field_text(body, "name", &name, r) || !field_text(body, "file", &file, r) || !field_real(body, "scale", -1e6, 1e6, &scale, r)) return false;
    if (!name) return field_refuse(r, 400, NULL, "name", "\"name\" is missing: what requests call the adapter");
    if (!adapters_is_name(a->s, str_from(name)))
        return field_refuse(r, 400, NULL, "name", "\"name\" cannot be \"%.100s\": letters, digits, dots, dashes and underscores make a name, and it is not the model's", name);
    if (file && !is_plain(str_from(file)))
        return field_refuse(r, 400, NULL, "file", "\"file\" cannot be \"%.100s\": it names one entry of the server's folder of adapters", file);
    if (scale == 0) return field_refuse(r, 400, NULL, "scale", "\"scale\" is 0: the adapter would change nothing");
    if (!adapters_find(a->s, str_from(name), &found)) return no_memory(r);
    if (found)
        return field_refuse(r, 409, "adapter_exists", "name", "there is an adapter \"%s\" already; unload it first, or give this one another name", name);
    snprintf(a->name, sizeof a->name, "%s", name);
    a->scale = (double)scale;
    a->load = true;
    return find_file(a, file ? file : name, file != NULL, &a->path, r);
}

static void refuse(adapters *a, http_call *c, const refusal *r)
{
    if (!a->busy) {
        mem_free(a->path);
        a->path = NULL;
    }
    a->s->metrics.refused++;
    server_refuse_openai(c, r);
}

void adapters_load(server *s, http_call *c)
{
    refusal r = { 0 };
    json_t *body = NULL;
    adapters *a = s->adapters;
    if (!may_change(a, &r) || !field_parse(&body, http_body(c), &r) || !read_load(a, body, &r) || !begin(a, c, &r)) refuse(a, c, &r);
    json_decref(body);
}

void adapters_unload(server *s, http_call *c)
{
    refusal r = { 0 };
    adapters *a = s->adapters;
    char name[SERVER_ADAPTER_MAX];
    bool ok = may_change(a, &r), found = false;
    if (ok && head_last_part(http_head(c), name, sizeof name) && !adapters_find(s, str_from(name), &found)) ok = no_memory(&r);
    if (ok && !found)
        ok = field_refuse(&r, 404, "adapter_not_found", "name", "there is no adapter of that name");
    if (ok) {
        memcpy(a->name, name, sizeof name);
        a->load = false;
    }
    if (!ok || !begin(a, c, &r)) refuse(a, c, &r);
}

void adapters_list(server *s, http_call *c)
{
    facet_adapter_info *list = NULL;
    size_t n = 0;
    json_t *data = adapters_read(s, &list, &n) ? json_array() : NULL;
    for (size_t i = 0; data && i < n; i++)
        if (json_array_append_new(data, entry(s, &list[i])) != 0) { json_decref(data); data = NULL; }
    facet_free(list);
    server_reply_json(c, 200, json_pack("{s:s, s:o}", "object", "list", "data", data));
}

/* ---- start and end ------------------------------------------------------------------------------------------ */

status adapters_new(adapters **out, server *s, const char *dir, err *e)
{
    status st = OK;
    adapters *a = mem_alloc(sizeof *a, MEM_OTHER);
    if (!a) return err_set(e, E_NOMEM, "could not set up the server\nout of memory");
    a->s = s;
    a->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (a->fd < 0) FAIL(e, E_IO, "could not set up the server\nno descriptor is left");
    a->wake = event_new(s->base, a->fd, EV_READ | EV_PERSIST, on_wake, a);
    if (!a->wake || event_add(a->wake, NULL) != 0) FAIL(e, E_NOMEM, "could not set up the server\nout of memory");
    if (dir && !file_is_dir(dir)) FAIL(e, E_ARG, "cannot load adapters from \"%s\"\nit is no folder", dir);
    a->dir = dir ? mem_strdup(dir, strlen(dir), MEM_OTHER) : NULL;
    if (dir && !a->dir) FAIL(e, E_NOMEM, "could not set up the server\nout of memory");
    *out = a;
    a = NULL;
out:
    adapters_free(a);
    return st;
}

void adapters_free(adapters *a)
{
    if (!a) return;
    if (a->busy) {
        a->call = NULL;
        settle(a);
    }
    if (a->wake) event_free(a->wake);
    if (a->fd >= 0) close(a->fd);
    mem_free(a->dir);
    mem_free(a);
}
