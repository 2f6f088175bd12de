/* How models lie on disk: plain folders, Ollama's store, the Hugging Face cache. */
#include <stdio.h>
#include <sys/stat.h>

#include "base/json.h"
#include "base/mem.h"
#include "fmt/model_find_int.h"
#include "os/file.h"

/* Problems with single folders and files are passed over; only lack of memory ends the search. */
static status tolerate(status st) { return st == E_NOMEM ? st : OK; }

/* name + "/" + part, or part alone.  Owned. */
static char *joined(const char *name, const char *part)
{
    return name[0] ? file_join(name, part) : mem_strdup(part, strlen(part), MEM_OTHER);
}

/* ---- plain folders ------------------------------------------------------------------------------ */

typedef struct folder {
    model_finder *f;
    const char *dir, *prefix;
    int depth;
    status (*visit)(struct folder *d, const char *name, const char *path, bool is_dir, err *e);
} folder;

static status enter(void *user, const char *name, bool is_dir, err *e)
{
    folder *d = user;
    if (name[0] == '.' || d->f->visits-- <= 0) return OK;
    char *path = file_join(d->dir, name);
    if (!path) return err_set(e, E_NOMEM, "could not look for models\nout of memory");
    status st = d->visit(d, name, path, is_dir, e);
    mem_free(path);
    return st;
}

static status walk(folder *d, err *e) { return tolerate(file_list(d->dir, enter, d, e)); }

/* "x-00002-of-00003.gguf": only the first of a set is a model. */
static bool later_shard(str name)
{
    str of = STR("-of-");
    size_t at = str_find(name, of);
    return at != name.n && at >= 6 && name.p[at - 6] == '-' && !str_eq((str){ name.p + at - 5, 5 }, STR("00001"));
}

static bool is_model_file(str name)
{
    return str_ends(name, ".gguf") && str_find(name, STR("mmproj")) == name.n && !later_shard(name);
}

static status scan(model_finder *f, const char *dir, const char *prefix, int depth, err *e);

static status visit_plain(folder *d, const char *name, const char *path, bool is_dir, err *e)
{
    status st = OK;
    char *full = joined(d->prefix, name);
    if (!full) FAIL(e, E_NOMEM, "could not look for models\nout of memory");
    if (is_dir) {
        TRY(scan(d->f, path, full, d->depth + 1, e));
    } else if (is_model_file(str_from(name))) {
        full[strlen(full) - strlen(".gguf")] = '\0';
        TRY(model_find_add(d->f, full, path, e));
    }
out:
    mem_free(full);
    return st;
}

static bool has_config(const char *dir)
{
    char *config = file_join(dir, "config.json");
    bool there = config && file_exists(config);
    mem_free(config);
    return there;
}

static status scan(model_finder *f, const char *dir, const char *prefix, int depth, err *e)
{
    if (depth > MODEL_FIND_DEPTH) return OK;
    if (prefix[0] && has_config(dir)) {
        status st = model_find_add(f, prefix, dir, e);
        if (st != OK) return st;
    }
    return walk(&(folder){ f, dir, prefix, depth, visit_plain }, e);
}

status model_find_scan(model_finder *f, const char *dir, const char *prefix, err *e) { return scan(f, dir, prefix, 0, e); }

/* ---- Ollama: manifests/HOST/NAMESPACE/NAME/TAG name blobs by digest -------------------------------- */

/* "sha256:<64 hex digits>" -> blobs/sha256-<...>; NULL when it is none.  Owned. */
static char *blob_path(const char *root, const char *digest)
{
    char name[sizeof "blobs/sha256-" + 64];
    const char *hex = digest ? digest + strlen("sha256:") : "";
    if (!digest || strncmp(digest, "sha256:", 7) != 0 || strlen(hex) != 64 || strspn(hex, "0123456789abcdef") != 64) return NULL;
    snprintf(name, sizeof name, "blobs/sha256-%s", hex);
    return file_join(root, name);
}

static status read_manifest(json_t **out, const char *path, err *e)
{
    buf text;
    buf_init(&text, 1 << 20);
    status st = file_read_all(&text, path, e);
    if (st == OK) st = json_parse(out, (str){ buf_text(&text), text.len }, path, false, e);
    buf_done(&text);
    return st;
}

static status add_manifest(model_finder *f, const char *root, const char *name, const char *path, err *e)
{
    status st = OK;
    json_t *j = NULL;
    char *blob = NULL;
    TRY(tolerate(read_manifest(&j, path, e)));
    const json_t *layers = json_object_get(j, "layers");
    for (size_t i = 0; i < json_array_size(layers) && !blob; i++) {
        const json_t *l = json_array_get(layers, i);
        const char *type = json_string_value(json_object_get(l, "mediaType"));
        if (type && strcmp(type, "application/vnd.ollama.image.model") == 0) blob = blob_path(root, json_string_value(json_object_get(l, "digest")));
    }
    if (blob && file_exists(blob)) TRY(model_find_add(f, name, blob, e));
out:
    mem_free(blob);
    json_decref(j);
    return st;
}

/* What Ollama calls registry.ollama.ai/library/gemma4/e2b: gemma4:e2b. */
static char *ollama_name(const char *parts)
{
    static const char *const silent[] = { "registry.ollama.ai/", "library/" };
    for (size_t i = 0; i < 2; i++)
        if (strncmp(parts, silent[i], strlen(silent[i])) == 0) parts += strlen(silent[i]);
    char *name = mem_strdup(parts, strlen(parts), MEM_OTHER);
    char *slash = name ? strrchr(name, '/') : NULL;
    if (slash) *slash = ':';
    return name;
}

static status visit_manifests(folder *d, const char *name, const char *path, bool is_dir, err *e)
{
    enum { HOST_TO_TAG = 4 };
    status st = OK;
    char *full = joined(d->prefix, name), *shown = NULL, *root = NULL;
    if (!full) FAIL(e, E_NOMEM, "could not look for models\nout of memory");
    if (is_dir && d->depth < HOST_TO_TAG) TRY(walk(&(folder){ d->f, path, full, d->depth + 1, visit_manifests }, e));
    if (is_dir) goto out;
    /* path is root/manifests/full */
    size_t root_bytes = strlen(path) - strlen(full) - strlen("/manifests/");
    root = mem_strdup(path, root_bytes, MEM_OTHER);
    shown = ollama_name(full);
    if (!root || !shown) FAIL(e, E_NOMEM, "could not look for models\nout of memory");
    TRY(add_manifest(d->f, root, shown, path, e));
out:
    mem_free(root);
    mem_free(shown);
    mem_free(full);
    return st;
}

status model_find_ollama(model_finder *f, const char *root, err *e)
{
    char *manifests = model_find_folder(root, "manifests");
    status st = manifests ? walk(&(folder){ f, manifests, "", 0, visit_manifests }, e) : OK;
    mem_free(manifests);
    return st;
}

/* ---- Hugging Face: models--ORG--NAME/snapshots/REVISION ------------------------------------------- */

/* The revision that refs/main names. */
static void main_revision(const char *repo, char *out, size_t cap)
{
    buf text;
    char *ref = file_join(repo, "refs/main");
    buf_init(&text, 200);
    out[0] = '\0';
    if (ref && file_read_all(&text, ref, NULL) == OK && !strchr(buf_text(&text), '/') && buf_text(&text)[0] != '.')
        snprintf(out, cap, "%.*s", (int)strcspn(buf_text(&text), " \r\n"), buf_text(&text));
    buf_done(&text);
    mem_free(ref);
}

typedef struct newest { const char *dir; char name[128]; time_t at; } newest;

static status visit_revision(void *user, const char *name, bool is_dir, err *e)
{
    newest *n = user;
    struct stat s;
    (void)e;
    char *path = file_join(n->dir, name);
    if (path && is_dir && stat(path, &s) == 0 && s.st_mtime >= n->at) {
        n->at = s.st_mtime;
        snprintf(n->name, sizeof n->name, "%s", name);
    }
    mem_free(path);
    return OK;
}

/* The snapshot to use: what refs/main names, or the newest.  Owned; NULL when there is none. */
static char *snapshot(const char *repo)
{
    char *snapshots = model_find_folder(repo, "snapshots"), *dir = NULL;
    if (!snapshots) return NULL;
    newest n = { .dir = snapshots };
    main_revision(repo, n.name, sizeof n.name);
    if (n.name[0]) dir = model_find_folder(snapshots, n.name);
    n.name[0] = '\0';
    if (!dir) file_list(snapshots, visit_revision, &n, NULL);
    if (n.name[0]) dir = model_find_folder(snapshots, n.name);
    mem_free(snapshots);
    return dir;
}

static status visit_repo(folder *d, const char *name, const char *path, bool is_dir, err *e)
{
    static const char mark[] = "models--";
    if (!is_dir || strncmp(name, mark, strlen(mark)) != 0) return OK;
    status st = OK;
    char *dir = snapshot(path);
    char *shown = mem_strdup(name + strlen(mark), strlen(name) - strlen(mark), MEM_OTHER);
    if (!dir) goto out;
    if (!shown) FAIL(e, E_NOMEM, "could not look for models\nout of memory");
    char *dashes = strstr(shown, "--");
    if (dashes) {
        *dashes = '/';
        memmove(dashes + 1, dashes + 2, strlen(dashes + 2) + 1);
    }
    TRY(model_find_scan(d->f, dir, shown, e));
out:
    mem_free(shown);
    mem_free(dir);
    return st;
}

status model_find_hub(model_finder *f, const char *root, err *e)
{
    return walk(&(folder){ f, root, "", 0, visit_repo }, e);
}
