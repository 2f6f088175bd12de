#include <unistd.h>

#include "base/bits.h"
#include "fmt/model_find.h"
#include "support/test.h"
#include "support/tiny.h"

static char root[] = "/tmp/facet-find-XXXXXX";

static void run(const char *format, ...)
{
    char command[2048];
    va_list ap;
    va_start(ap, format);
    vsnprintf(command, sizeof command, format, ap);
    va_end(ap);
    assert_int_equal(system(command), 0);
}

/* One small model, laid out as each program keeps it. */
static int build(void **state)
{
    static const char hex[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    tiny_shape s = { .name = "small", .layers = 1, .hidden = 4, .ff = 3, .nq = 1, .nkv = 1, .nkv_full = 1, .d = 2, .d_full = 4, .period = 1, .window = 3 };
    char path[256];
    err e;
    (void)state;
    assert_non_null(mkdtemp(root));
    snprintf(path, sizeof path, "%s/m.gguf", root);
    assert_ok(tiny_write_shape(path, &s, DTYPE_F16, 1, &e), &e);
    run("cd %s && mkdir -p mine/deep data/facet/models home/.ollama/models/blobs home/.ollama/models/manifests/registry.ollama.ai/library/gemma4 "
        "home/.ollama/models/manifests/registry.ollama.ai/me/own hub/models--org--Gem/snapshots/abc/sub hub/models--org--Gem/snapshots/old hub/models--org--Gem/refs "
        "home/.lmstudio/models/pub/repo && cp m.gguf mine/Alpha-Q4.gguf && cp m.gguf mine/deep/alpha-Q8.gguf && cp m.gguf mine/mmproj-alpha.gguf && "
        "cp m.gguf mine/beta-00002-of-00002.gguf && echo junk > mine/broken.gguf && cp m.gguf data/facet/models/gamma.gguf && cp m.gguf home/.ollama/models/blobs/sha256-%s && "
        "cp m.gguf hub/models--org--Gem/snapshots/abc/sub/f.gguf && cp m.gguf hub/models--org--Gem/snapshots/old/g.gguf && printf abc > hub/models--org--Gem/refs/main && "
        "cp m.gguf home/.lmstudio/models/pub/repo/delta.gguf && cp -r $OLDPWD/tests/golden/31b-f32/model mine/folder", root, hex);
    run("cd %s/home/.ollama/models/manifests/registry.ollama.ai && printf '{\"layers\":[{\"mediaType\":\"application/vnd.ollama.image.model\",\"digest\":\"sha256:%s\"}]}' | tee library/gemma4/e2b > /dev/null "
        "&& printf '{\"layers\":[{\"mediaType\":\"application/vnd.ollama.image.model\",\"digest\":\"sha256:../../../../etc/passwd\"}]}' > me/own/x && printf '{' > library/gemma4/bad", root, hex);
    snprintf(path, sizeof path, "%s/mine::%s/absent", root, root);
    setenv("FACET_MODELS", path, 1);
    snprintf(path, sizeof path, "%s/data", root);
    setenv("XDG_DATA_HOME", path, 1);
    snprintf(path, sizeof path, "%s/home", root);
    setenv("HOME", path, 1);
    snprintf(path, sizeof path, "%s/hub", root);
    setenv("HF_HUB_CACHE", path, 1);
    unsetenv("HF_HOME");
    unsetenv("OLLAMA_MODELS");
    unsetenv("XDG_CACHE_HOME");
    return 0;
}

static int clean(void **state)
{
    (void)state;
    run("rm -r %s", root);
    return 0;
}

static const char *where_of(const model_list *l, const char *name)
{
    for (size_t i = 0; i < l->count; i++)
        if (strcmp(l->items[i].name, name) == 0) return l->items[i].where;
    return "nowhere";
}

static void every_place_is_looked_through(void **state)
{
    (void)state;
    err e;
    model_list l;
    size_t before = mem_now();
    assert_ok(model_find_all(&l, &e), &e);
    assert_string_equal(where_of(&l, "Alpha-Q4"), "FACET_MODELS");
    assert_string_equal(where_of(&l, "deep/alpha-Q8"), "FACET_MODELS");
    assert_string_equal(where_of(&l, "folder"), "FACET_MODELS");
    assert_string_equal(where_of(&l, "gamma"), "facet");
    assert_string_equal(where_of(&l, "gemma4:e2b"), "Ollama");
    assert_string_equal(where_of(&l, "org/Gem/sub/f"), "Hugging Face");
    assert_string_equal(where_of(&l, "pub/repo/delta"), "LM Studio");
    assert_string_equal(where_of(&l, "mmproj-alpha"), "nowhere");
    assert_string_equal(where_of(&l, "beta-00002-of-00002"), "nowhere");
    assert_string_equal(where_of(&l, "me/own:x"), "nowhere");     /* its digest is a path */
    assert_string_equal(where_of(&l, "org/Gem/g"), "nowhere");    /* not the main revision */
    assert_int_equal(l.count, 8);                                  /* and broken.gguf */
    model_find_done(&l);
    assert_int_equal(mem_now(), before);
}

static void names_match_by_part(void **state)
{
    (void)state;
    static const struct { const char *name, *end; } found[] = {
        { "alpha-q4", "/mine/Alpha-Q4.gguf" }, { "ALPHA-Q8", "/mine/deep/alpha-Q8.gguf" }, { "GEMMA4", "/blobs/sha256-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" },
        { "org/gem", "/abc/sub/f.gguf" }, { "delta", "/pub/repo/delta.gguf" }, { "folder", "/mine/folder" } };
    err e;
    char *path = NULL;
    for (size_t i = 0; i < COUNT_OF(found); i++) {
        assert_ok(model_find(&path, found[i].name, &e), &e);
        assert_true(str_ends(str_from(path), found[i].end));
        mem_free(path);
    }
    assert_fails(model_find(&path, "alpha", &e), E_ARG, &e, "\"Alpha-Q4\", \"deep/alpha-Q8\"");
    assert_fails(model_find(&path, "nothing like it", &e), E_ARG, &e, "facet list");
    assert_fails(model_find(&path, "", &e), E_ARG, &e, "no model");
    assert_ok(model_find(&path, "tests/golden/31b/model", &e), &e);   /* a path stays one */
    assert_string_equal(path, "tests/golden/31b/model");
    mem_free(path);
}

static void about_says_what_it_is(void **state)
{
    (void)state;
    err e;
    char path[256];
    model_about a;
    snprintf(path, sizeof path, "%s/m.gguf", root);
    assert_ok(model_find_about(&a, path, &e), &e);
    assert_string_equal(a.architecture, "gemma4");
    assert_true(a.runs);
    assert_non_null(strstr(a.types, "f16"));
    assert_ok(model_find_about(&a, "tests/golden/31b-f32/model", &e), &e);
    assert_string_equal(a.types, "f32");
    assert_true(a.runs);
    snprintf(path, sizeof path, "%s/mine/broken.gguf", root);
    assert_fails(model_find_about(&a, path, &e), E_FORMAT, &e, "broken.gguf");
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(every_place_is_looked_through), cmocka_unit_test(names_match_by_part), cmocka_unit_test(about_says_what_it_is) };
    return cmocka_run_group_tests(tests, build, clean);
}
