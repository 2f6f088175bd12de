#include <unistd.h>

#include "base/bits.h"
#include "fmt/safetensors.h"
#include "support/bytes.h"
#include "support/test.h"

/* header, then n bytes of data. */
static void build(bytes *b, const char *header, size_t data)
{
    b->n = 0;
    bytes_str(b, header);
    for (size_t i = 0; i < data; i++) bytes_u8(b, (uint8_t)i);
}

static void a_good_file_opens(void **state)
{
    (void)state;
    static bytes b;
    err e;
    st_file *s;
    build(&b, "{\"__metadata__\":{\"format\":\"pt\"},\"w\":{\"dtype\":\"BF16\",\"shape\":[2,3],\"data_offsets\":[4,16]},"
              "\"scalar\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]},\"none\":{\"dtype\":\"F16\",\"shape\":[0,7],\"data_offsets\":[4,4]}}   ", 16);
    assert_ok(st_open_memory(&s, b.data, b.n, &e), &e);
    assert_int_equal(st_count(s), 3);
    const st_tensor *t = st_find(s, STR("w"));
    assert_non_null(t);
    assert_int_equal(t->type, ST_BF16);
    assert_int_equal(t->n_dims, 2);
    assert_int_equal(t->shape[0], 2);
    assert_int_equal(t->shape[1], 3);
    assert_int_equal(t->bytes, 12);
    assert_int_equal(t->data[0], 4);
    assert_int_equal(st_find(s, STR("scalar"))->n_dims, 0);
    assert_int_equal(st_find(s, STR("none"))->bytes, 0);
    assert_null(st_find(s, STR("__metadata__")));
    st_close(s);
}

static void damage_is_named(void **state)
{
    (void)state;
    static const struct { const char *header; size_t data; status st; const char *text; } cases[] = {
        { "{\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}", 8, E_FORMAT, "not valid JSON" },
        { "{\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, E_FORMAT, "duplicate" },
        { "{\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 7, E_FORMAT, "outside the file" },
        { "{\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 9, E_FORMAT, "1 bytes at its end" },
        { "{\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[1,9]}}", 9, E_FORMAT, "gap or an overlap before \"w\"" },
        { "{\"w\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}", 8, E_FORMAT, "ask for another number" },
        { "{\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}}", 8, E_FORMAT, "outside the file" },
        { "{\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[-8,0]}}", 8, E_FORMAT, "outside the file" },
        { "{\"w\":{\"dtype\":\"F32\",\"shape\":[-2],\"data_offsets\":[0,8]}}", 8, E_FORMAT, "impossible shape" },
        { "{\"w\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,8]}}", 8, E_FORMAT, "impossible shape" },
        { "{\"w\":{\"dtype\":\"F32\",\"shape\":[2305843009213693952],\"data_offsets\":[0,8]}}", 8, E_FORMAT, "ask for another number" },
        { "{\"w\":{\"dtype\":\"F6_E2M3\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, E_FORMAT, "ask for another number" },
        { "{\"w\":{\"dtype\":\"F33\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, E_UNSUPPORTED, "unknown type \"F33\"" },
        { "{\"w\":{\"shape\":[2],\"data_offsets\":[0,8]}}", 8, E_UNSUPPORTED, "unknown type \"\"" },
        { "{\"w\":{\"dtype\":\"F32\",\"data_offsets\":[0,8]}}", 8, E_FORMAT, "no \"shape\"" },
        { "{\"w\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8, E_FORMAT, "no \"data_offsets\"" },
        { "{\"w\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,2],\"data_offsets\":[0,8]}}", 8, E_UNSUPPORTED, "9 dimensions" },
        { "{\"w\":7}", 0, E_FORMAT, "not described by an object" },
        { "[1]", 0, E_FORMAT, "does not begin with" },
        { "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[2,6]}}", 6, E_FORMAT, "gap or an overlap before \"b\"" },
    };
    static bytes b;
    size_t before = mem_now();
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        err e;
        st_file *s = NULL;
        build(&b, cases[i].header, cases[i].data);
        assert_fails(st_open_memory(&s, b.data, b.n, &e), cases[i].st, &e, cases[i].text);
        assert_null(s);
    }
    assert_int_equal(mem_now(), before);
}

static void lengths_are_checked_before_use(void **state)
{
    (void)state;
    static bytes b;
    err e;
    st_file *s = NULL;
    assert_fails(st_open_memory(&s, "1234567", 7, &e), E_FORMAT, &e, "only 7 bytes");
    build(&b, "{}", 0);
    store_u64(b.data, 3);
    assert_fails(st_open_memory(&s, b.data, b.n, &e), E_FORMAT, &e, "ends inside its header");
    store_u64(b.data, 100000001);
    assert_fails(st_open_memory(&s, b.data, b.n, &e), E_FORMAT, &e, "does not begin with the length");
    store_u64(b.data, UINT64_MAX);
    assert_fails(st_open_memory(&s, b.data, b.n, &e), E_FORMAT, &e, "does not begin with the length");
    store_u64(b.data, 2);
    assert_ok(st_open_memory(&s, b.data, b.n, &e), &e);
    assert_int_equal(st_count(s), 0);
    st_close(s);
}

/* ---- folders --------------------------------------------------------------------------------------- */

static void write_file(const char *dir, const char *name, const void *p, size_t n)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, n, f), n);
    fclose(f);
}

static void write_part(const char *dir, const char *name, const char *tensor)
{
    static bytes b;
    char header[256];
    snprintf(header, sizeof header, "{\"%s\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}", tensor);
    build(&b, header, 4);
    write_file(dir, name, b.data, b.n);
}

static void write_index(const char *dir, const char *text) { write_file(dir, "model.safetensors.index.json", text, strlen(text)); }

static void sharded_folders(void **state)
{
    (void)state;
    char dir[] = "/tmp/facet-st-XXXXXX", command[64];
    err e;
    st_file *s = NULL;
    assert_non_null(mkdtemp(dir));
    assert_fails(st_open_dir(&s, dir, &e), E_IO, &e, "neither model.safetensors nor");
    write_part(dir, "x1.safetensors", "a");
    write_part(dir, "x2.safetensors", "b");
    write_index(dir, "{\"metadata\":{\"total_size\":8},\"weight_map\":{\"a\":\"x1.safetensors\",\"b\":\"x2.safetensors\"}}");
    assert_ok(st_open_dir(&s, dir, &e), &e);
    assert_int_equal(st_count(s), 2);
    assert_non_null(st_find(s, STR("b")));
    st_close(s);
    s = NULL;
    static const struct { const char *index; status st; const char *text; } bad[] = {
        { "{\"weight_map\":{\"a\":\"../x1.safetensors\"}}", E_FORMAT, "same folder" },
        { "{\"weight_map\":{\"a\":\"/etc/passwd\"}}", E_FORMAT, "same folder" },
        { "{\"weight_map\":{\"a\":\".hidden\"}}", E_FORMAT, "same folder" },
        { "{\"weight_map\":{\"a\":\"\"}}", E_FORMAT, "same folder" },
        { "{\"weight_map\":{\"a\":7}}", E_FORMAT, "same folder" },
        { "{\"weight_map\":{\"c\":\"x1.safetensors\"}}", E_FORMAT, "\"c\" is not in \"x1.safetensors\"" },
        { "{\"weight_map\":{\"a\":\"x3.safetensors\"}}", E_IO, "x3.safetensors" },
        /* counted by name, whatever stands first */
        { "{\"weight_map\":{\"a\":\"x3.safetensors\",\"b\":\"x1.safetensors\"}}", E_IO, "part 2 of 2 of the model, as its index says: No such file" },
        { "{\"weight_map\":{\"b\":\"x2.safetensors\",\"a\":\"x0.safetensors\"}}", E_IO, "part 1 of 2 of the model" },
        { "{\"weight_map\":{\"b\":\"x2.safetensors\",\"a\":\"x0.safetensors\"}}", E_IO, "/x0.safetensors\"" },
        { "{\"weight_map\":{}}", E_FORMAT, "names no file" },
        { "{}", E_FORMAT, "\"weight_map\" is missing" },
        { "[", E_FORMAT, "not valid JSON" } };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        write_index(dir, bad[i].index);
        assert_fails(st_open_dir(&s, dir, &e), bad[i].st, &e, bad[i].text);
    }
    /* a single file goes before an index */
    write_part(dir, "model.safetensors", "only");
    assert_ok(st_open_dir(&s, dir, &e), &e);
    assert_int_equal(st_count(s), 1);
    st_close(s);
    snprintf(command, sizeof command, "rm -r %s", dir);
    assert_int_equal(system(command), 0);
}

static void writing(void **state)
{
    (void)state;
    char dir[] = "/tmp/facet-st-XXXXXX", path[64];
    err e;
    st_file *s = NULL;
    st_writer *w = NULL;
    static const float f[6] = { 1, -2, 3.5f, 4, 5, 6 };
    static const uint16_t h[3] = { 0x3F80, 0x4000, 0xC000 };
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/a.safetensors", dir);
    assert_ok(st_writer_new(&w, path, &e), &e);
    assert_ok(st_put_tensor(w, "a \"quoted\" name", ST_BF16, 1, (const int64_t[]){ 3 }, &e), &e);
    assert_ok(st_put_tensor(w, "b", ST_F32, 2, (const int64_t[]){ 2, 3 }, &e), &e);
    assert_fails(st_put_tensor(w, "b", ST_F32, 0, NULL, &e), E_ARG, &e, "twice");
    assert_fails(st_put_tensor(w, "c", ST_OTHER, 0, NULL, &e), E_ARG, &e, "its type");
    assert_fails(st_put_tensor(w, "c", ST_F32, 9, NULL, &e), E_ARG, &e, "9 dimensions");
    assert_fails(st_put_tensor(w, "c", ST_F32, 1, (const int64_t[]){ -1 }, &e), E_ARG, &e, "impossible");
    assert_fails(st_put_tensor(w, "c", ST_F32, 2, (const int64_t[]){ INT64_MAX, 2 }, &e), E_ARG, &e, "impossible");
    assert_ok(st_write_data(w, h, sizeof h, &e), &e);
    assert_fails(st_put_tensor(w, "c", ST_F32, 0, NULL, &e), E_INTERNAL, &e, "after tensor data");
    assert_fails(st_writer_end(w, &e), E_INTERNAL, &e, "24 bytes of data are missing");
    assert_ok(st_write_data(w, f, 8, &e), &e);
    assert_fails(st_write_data(w, f, 17, &e), E_INTERNAL, &e, "too much data");
    assert_ok(st_write_data(w, f + 2, 16, &e), &e);
    assert_int_not_equal(access(path, F_OK), 0);
    assert_ok(st_writer_end(w, &e), &e);
    st_writer_free(w);
    assert_ok(st_open(&s, path, &e), &e);
    assert_int_equal(st_count(s), 2);
    const st_tensor *t = st_find(s, STR("b"));
    assert_true(t && t->type == ST_F32 && t->n_dims == 2 && t->shape[0] == 2 && t->shape[1] == 3 && (uintptr_t)st_at(s, 0)->data % 8 == 0);
    assert_memory_equal(t->data, f, sizeof f);
    t = st_find(s, STR("a \"quoted\" name"));
    assert_true(t && t->type == ST_BF16);
    assert_memory_equal(t->data, h, sizeof h);
    st_close(s);
    unlink(path);
    assert_ok(st_writer_new(&w, path, &e), &e);        /* given up: nothing stays */
    st_writer_free(w);
    assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(a_good_file_opens), cmocka_unit_test(damage_is_named), cmocka_unit_test(lengths_are_checked_before_use),
                                        cmocka_unit_test(sharded_folders), cmocka_unit_test(writing) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
