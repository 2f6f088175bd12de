#include <errno.h>
#include <unistd.h>

#include "base/bits.h"
#include "fmt/gguf.h"
#include "os/file.h"
#include "support/bytes.h"
#include "support/test.h"

/* ---- reading: what is right ---------------------------------------------------------------------- */

static const uint64_t ROW32[1] = { 32 };

/* Two keys and two f32 tensors of 32 elements. */
static void build_good(bytes *b)
{
    bytes_gguf(b, 2, 2);
    bytes_key_str(b, "general.architecture", "gemma4");
    bytes_key_u32(b, "gemma4.block_count", 7);
    bytes_tensor(b, "a", 1, ROW32, DTYPE_F32, 0);
    bytes_tensor(b, "b", 1, ROW32, DTYPE_F32, 128);
    bytes_pad(b, 32);
    for (int i = 0; i < 64; i++) bytes_add(b, &(float){ (float)i }, 4);
}

static status open_bytes(const bytes *b, gguf_file **g, err *e) { return gguf_open_memory(g, b->data, b->n, e); }

static void a_good_file_opens(void **state)
{
    (void)state;
    static bytes b;
    err e;
    gguf_file *g;
    str s;
    int64_t n;
    build_good(&b);
    assert_ok(open_bytes(&b, &g, &e), &e);
    assert_int_equal(gguf_value_count(g), 2);
    assert_int_equal(gguf_tensor_count(g), 2);
    assert_int_equal(gguf_file_bytes(g), b.n);
    assert_ok(gguf_str_or(g, "general.architecture", STR("?"), &s, &e), &e);
    assert_true(str_is(s, "gemma4"));
    assert_ok(gguf_i64(g, "gemma4.block_count", 1, 10, &n, &e), &e);
    assert_int_equal(n, 7);
    const gguf_tensor *t = gguf_tensor_find(g, "b");
    assert_non_null(t);
    assert_int_equal(t->bytes, 128);
    assert_int_equal(t->ne[1] * t->ne[2] * t->ne[3], 1);
    assert_true(load_f32(t->data) == 32.0f);
    assert_null(gguf_tensor_find(g, "c"));
    gguf_close(g);
}

static void version_2_and_a_missing_last_padding_are_fine(void **state)
{
    (void)state;
    static bytes b;
    err e;
    gguf_file *g;
    const uint64_t ne[1] = { 3 };
    bytes_gguf(&b, 1, 0);
    b.data[4] = 2;
    bytes_tensor(&b, "a", 1, ne, DTYPE_F32, 0);
    bytes_pad(&b, 32);
    for (int i = 0; i < 3; i++) bytes_u32(&b, 0);
    assert_ok(open_bytes(&b, &g, &e), &e);
    gguf_close(g);
}

static void a_vocabulary_needs_no_data(void **state)
{
    (void)state;
    static bytes b;
    err e;
    gguf_file *g;
    bytes_gguf(&b, 0, 1);
    bytes_key_str(&b, "general.architecture", "gemma4");
    assert_ok(open_bytes(&b, &g, &e), &e);
    assert_int_equal(gguf_tensor_count(g), 0);
    gguf_close(g);
}

static void another_alignment_moves_the_data(void **state)
{
    (void)state;
    static bytes b;
    err e;
    gguf_file *g;
    bytes_gguf(&b, 1, 1);
    bytes_key_u32(&b, "general.alignment", 256);
    bytes_tensor(&b, "a", 1, ROW32, DTYPE_F32, 0);
    bytes_pad(&b, 256);
    for (int i = 0; i < 32; i++) bytes_u32(&b, 0x3f800000);
    assert_ok(open_bytes(&b, &g, &e), &e);
    assert_true(load_f32(gguf_tensor_at(g, 0)->data) == 1.0f);
    assert_int_equal((size_t)(gguf_tensor_at(g, 0)->data - b.data) % 256, 0);
    gguf_close(g);
}

/* ---- reading: what is wrong ---------------------------------------------------------------------- */

static void every_truncation_is_refused(void **state)
{
    (void)state;
    static bytes b;
    build_good(&b);
    for (size_t n = 0; n < b.n; n++) {
        uint8_t *copy = malloc(n ? n : 1);   /* a block of its own: reading past it is seen by the sanitizer */
        err e = { 0 };
        gguf_file *g = NULL;
        memcpy(copy, b.data, n);
        assert_int_equal(gguf_open_memory(&g, copy, n, &e), E_FORMAT);
        assert_true(e.what[0] != 0);
        assert_null(g);
        free(copy);
    }
}

typedef void (*damage)(bytes *b);

static void no_magic(bytes *b) { build_good(b); b->data[0] = 'X'; }
static void version_1(bytes *b) { build_good(b); b->data[4] = 1; }
static void big_endian(bytes *b) { build_good(b); b->data[4] = 0; b->data[7] = 3; }
static void many_tensors(bytes *b) { build_good(b); store_u64(b->data + 8, UINT64_MAX / 2); }
static void negative_keys(bytes *b) { build_good(b); store_u64(b->data + 16, (uint64_t)-1); }
static void long_key(bytes *b) { build_good(b); store_u64(b->data + 24, UINT64_MAX - 7); }
static void empty_key(bytes *b) { bytes_gguf(b, 0, 1); bytes_key_u32(b, "", 1); }
static void unknown_value(bytes *b) { bytes_gguf(b, 0, 1); bytes_str(b, "k"); bytes_u32(b, 13); bytes_u64(b, 0); }
static void nested_array(bytes *b) { bytes_gguf(b, 0, 1); bytes_str(b, "k"); bytes_u32(b, 9); bytes_u32(b, 9); bytes_u64(b, 0); }
static void huge_array(bytes *b) { bytes_gguf(b, 0, 1); bytes_str(b, "k"); bytes_u32(b, 9); bytes_u32(b, 10); bytes_u64(b, (uint64_t)1 << 61); bytes_u64(b, 0); }
static void huge_strings(bytes *b) { bytes_gguf(b, 0, 1); bytes_str(b, "k"); bytes_u32(b, 9); bytes_u32(b, 8); bytes_u64(b, (uint64_t)1 << 60); bytes_u64(b, 0); }
static void twice_key(bytes *b) { bytes_gguf(b, 0, 2); bytes_key_u32(b, "k", 1); bytes_key_u32(b, "k", 2); }
static void alignment_24(bytes *b) { bytes_gguf(b, 0, 1); bytes_key_u32(b, "general.alignment", 24); }
static void alignment_text(bytes *b) { bytes_gguf(b, 0, 1); bytes_key_str(b, "general.alignment", "32"); }

static void one_tensor(bytes *b, const char *name, uint32_t dims, const uint64_t *ne, uint32_t type, uint64_t offset)
{
    bytes_gguf(b, 1, 0);
    bytes_tensor(b, name, dims, ne, type, offset);
    bytes_pad(b, 32);
    for (int i = 0; i < 64; i++) bytes_u32(b, 0);
}
static void five_dims(bytes *b) { one_tensor(b, "t", 5, (const uint64_t[]){ 1, 1, 1, 1, 1 }, 0, 0); }
static void zero_dim(bytes *b) { one_tensor(b, "t", 2, (const uint64_t[]){ 32, 0 }, 0, 0); }
static void negative_dim(bytes *b) { one_tensor(b, "t", 1, (const uint64_t[]){ (uint64_t)-32 }, 0, 0); }
static void overflow(bytes *b) { one_tensor(b, "t", 4, (const uint64_t[]){ 1u << 31, 1u << 31, 1u << 31, 1u << 31 }, 0, 0); }
static void wraps_to_small(bytes *b) { one_tensor(b, "t", 2, (const uint64_t[]){ (uint64_t)1 << 32, (uint64_t)1 << 32 }, 24, 0); }
static void retired(bytes *b) { one_tensor(b, "t", 1, ROW32, 31, 0); }
static void internal(bytes *b) { one_tensor(b, "t", 1, ROW32, 9, 0); }
static void future(bytes *b) { one_tensor(b, "t", 1, ROW32, 4711, 0); }
static void half_block(bytes *b) { one_tensor(b, "t", 1, (const uint64_t[]){ 48 }, DTYPE_Q4_0, 0); }
static void crooked(bytes *b) { one_tensor(b, "t", 1, ROW32, 0, 4); }
static void outside(bytes *b) { one_tensor(b, "t", 1, ROW32, 0, 1024); }
static void far_outside(bytes *b) { one_tensor(b, "t", 1, ROW32, 0, UINT64_MAX - 31); }
static void no_name(bytes *b) { one_tensor(b, "", 1, ROW32, 0, 0); }
static void long_name(bytes *b) { one_tensor(b, "a23456789012345678901234567890123456789012345678901234567890abcd", 1, ROW32, 0, 0); }
static void two_tensors(bytes *b, const char *second, uint64_t offset)
{
    bytes_gguf(b, 2, 0);
    bytes_tensor(b, "a", 1, ROW32, 0, 0);
    bytes_tensor(b, second, 1, ROW32, 0, offset);
    bytes_pad(b, 32);
    for (int i = 0; i < 64; i++) bytes_u32(b, 0);
}
static void twice_tensor(bytes *b) { two_tensors(b, "a", 128); }
static void overlapping(bytes *b) { two_tensors(b, "b", 96); }

static void damage_is_named(void **state)
{
    (void)state;
    static const struct { damage make; status st; const char *text; } cases[] = {
        { no_magic, E_FORMAT, "not a GGUF file" }, { version_1, E_UNSUPPORTED, "version 1" }, { big_endian, E_UNSUPPORTED, "big-endian" },
        { many_tensors, E_FORMAT, "promises" }, { negative_keys, E_FORMAT, "promises" }, { long_key, E_FORMAT, "ends inside key 0" },
        { empty_key, E_FORMAT, "has 0 bytes" }, { unknown_value, E_FORMAT, "unknown value type 13" }, { nested_array, E_UNSUPPORTED, "array of arrays" },
        { huge_array, E_FORMAT, "ends inside key \"k\"" }, { huge_strings, E_FORMAT, "ends inside key \"k\"" }, { twice_key, E_FORMAT, "\"k\" is there twice" },
        { alignment_24, E_FORMAT, "power of two" }, { alignment_text, E_FORMAT, "power of two" }, { five_dims, E_FORMAT, "5 dimensions" },
        { zero_dim, E_FORMAT, "dimension 1 of tensor \"t\" is 0" }, { negative_dim, E_FORMAT, "dimension 0 of tensor \"t\" is -32" },
        { overflow, E_FORMAT, "impossible size" }, { wraps_to_small, E_FORMAT, "impossible size" }, { retired, E_UNSUPPORTED, "Q4_0_4_4" },
        { internal, E_UNSUPPORTED, "Q8_1" }, { future, E_UNSUPPORTED, "4711" }, { half_block, E_FORMAT, "blocks of 32" },
        { crooked, E_FORMAT, "alignment" }, { outside, E_FORMAT, "outside the file" }, { far_outside, E_FORMAT, "outside the file" },
        { no_name, E_FORMAT, "name of tensor 0" }, { long_name, E_FORMAT, "has 64 bytes" }, { twice_tensor, E_FORMAT, "\"a\" is there twice" },
        { overlapping, E_FORMAT, "overlap" } };
    static bytes b;
    size_t before = mem_now();
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        err e;
        gguf_file *g = NULL;
        cases[i].make(&b);
        assert_fails(open_bytes(&b, &g, &e), cases[i].st, &e, cases[i].text);
        assert_null(g);
    }
    assert_int_equal(mem_now(), before);
}

static void getters_take_any_integer_that_fits(void **state)
{
    (void)state;
    static bytes b;
    err e;
    gguf_file *g;
    int64_t n;
    double x;
    bool flag;
    str s;
    bytes_gguf(&b, 0, 5);
    bytes_key_u16(&b, "u16", 65535);
    bytes_str(&b, "i64"); bytes_u32(&b, 11); bytes_u64(&b, (uint64_t)-5);
    bytes_str(&b, "u64"); bytes_u32(&b, 10); bytes_u64(&b, UINT64_MAX);
    bytes_str(&b, "f32"); bytes_u32(&b, 6); bytes_add(&b, &(float){ 64.0f }, 4);
    bytes_str(&b, "bools"); bytes_u32(&b, 9); bytes_u32(&b, 7); bytes_u64(&b, 2); bytes_u8(&b, 0); bytes_u8(&b, 1);
    assert_ok(open_bytes(&b, &g, &e), &e);
    assert_ok(gguf_i64(g, "u16", 0, 65535, &n, &e), &e);
    assert_int_equal(n, 65535);
    assert_ok(gguf_i64(g, "i64", -5, -5, &n, &e), &e);
    assert_fails(gguf_i64(g, "i64", 0, 5, &n, &e), E_FORMAT, &e, "from 0 to 5");
    assert_fails(gguf_i64(g, "u64", 0, INT64_MAX, &n, &e), E_FORMAT, &e, "\"u64\"");
    assert_fails(gguf_i64(g, "none", 0, 5, &n, &e), E_FORMAT, &e, "\"none\" is missing");
    assert_ok(gguf_i64(g, "f32", 0, 100, &n, &e), &e);
    assert_int_equal(n, 64);
    assert_ok(gguf_i64_or(g, "none", 0, 5, 42, &n, &e), &e);
    assert_int_equal(n, 42);
    assert_ok(gguf_f64_or(g, "u16", 0, &x, &e), &e);
    assert_true(x == 65535.0);
    assert_fails(gguf_bool_or(g, "u16", false, &flag, &e), E_FORMAT, &e, "\"u16\"");
    assert_fails(gguf_str_or(g, "u16", STR(""), &s, &e), E_FORMAT, &e, "must be a string");
    assert_fails(gguf_i64(g, "bools", 0, 1, &n, &e), E_FORMAT, &e, "one integer");
    assert_ok(gguf_item_i64(gguf_find(g, "bools"), 1, &n, &e), &e);
    assert_int_equal(n, 1);
    assert_fails(gguf_item_i64(gguf_find(g, "bools"), 2, &n, &e), E_FORMAT, &e, "has 2 elements");
    gguf_close(g);
}

/* ---- sharded sets --------------------------------------------------------------------------------- */

static void write_file(const char *path, const bytes *b)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(b->data, 1, b->n, f), b->n);
    fclose(f);
}

static void write_shard(const char *dir, int name_no, uint16_t no, uint16_t count, const char *tensor, uint32_t total)
{
    static bytes b;
    char path[256];
    snprintf(path, sizeof path, "%s/m-%05d-of-00002.gguf", dir, name_no);
    bytes_gguf(&b, 1, no == 0 ? 4 : 3);
    bytes_key_u16(&b, "split.no", no);
    bytes_key_u16(&b, "split.count", count);
    bytes_key_u32(&b, "split.tensors.count", total);
    if (no == 0) bytes_key_str(&b, "general.architecture", "gemma4");
    bytes_tensor(&b, tensor, 1, ROW32, 0, 0);
    bytes_pad(&b, 32);
    for (int i = 0; i < 32; i++) bytes_add(&b, &(float){ (float)no }, 4);
    write_file(path, &b);
}

static void shards_are_one_file(void **state)
{
    (void)state;
    char dir[] = "/tmp/facet-gguf-XXXXXX", path[256], other[256], away[256];
    err e;
    gguf_file *g = NULL;
    assert_non_null(mkdtemp(dir));
    snprintf(away, sizeof away, "%s/away", dir);
    snprintf(path, sizeof path, "%s/m-00001-of-00002.gguf", dir);
    snprintf(other, sizeof other, "%s/m-00002-of-00002.gguf", dir);
    write_shard(dir, 1, 0, 2, "a", 2);
    assert_fails(gguf_open(&g, path, &e), E_IO, &e, "m-00002-of-00002.gguf");
    assert_non_null(strstr(e.why, "part 2 of 2 of the model: No such file"));
    assert_non_null(strstr(e.hint, "all parts"));
    assert_int_equal(e.os_errno, ENOENT);
    assert_int_equal(gguf_open(&g, path, NULL), E_IO);
    write_shard(dir, 2, 1, 2, "b", 2);
    assert_int_equal(rename(path, away), 0);
    assert_fails(gguf_open(&g, other, &e), E_IO, &e, "part 1 of 2 of the model: No such file");
    assert_int_equal(rename(away, path), 0);
    const char *const ways[] = { path, other };   /* any part opens the set */
    for (int i = 0; i < 2; i++) {
        assert_ok(gguf_open(&g, ways[i], &e), &e);
        assert_int_equal(gguf_tensor_count(g), 2);
        assert_true(load_f32(gguf_tensor_find(g, "a")->data) == 0.0f);
        assert_true(load_f32(gguf_tensor_find(g, "b")->data) == 1.0f);
        assert_non_null(gguf_find(g, "general.architecture"));
        assert_int_equal(gguf_file_bytes(g), (uint64_t)(file_size(path) + file_size(other)));
        gguf_close(g);
    }
    write_shard(dir, 2, 0, 2, "b", 2);
    assert_fails(gguf_open(&g, path, &e), E_FORMAT, &e, "is not part 2 of 2");
    write_shard(dir, 2, 1, 2, "a", 2);
    assert_fails(gguf_open(&g, path, &e), E_FORMAT, &e, "\"a\" is there twice");
    write_shard(dir, 2, 1, 2, "b", 3);
    write_shard(dir, 1, 0, 2, "a", 3);
    assert_fails(gguf_open(&g, path, &e), E_FORMAT, &e, "split.tensors.count");
    char renamed[256];
    snprintf(renamed, sizeof renamed, "%s/renamed.gguf", dir);
    assert_int_equal(rename(path, renamed), 0);
    assert_fails(gguf_open(&g, renamed, &e), E_ARG, &e, "original names");
    unlink(renamed);
    unlink(other);
    rmdir(dir);
}

/* ---- writing --------------------------------------------------------------------------------------- */

static void fill_writer(gguf_writer *w, err *e)
{
    const str words[] = { STR("one"), STR(""), STR("\xE2\x96\x81three") };
    const int64_t ne[2] = { 32, 2 }, one[1] = { 1 };
    float x[64];
    uint8_t q[2 * 34];
    for (int i = 0; i < 64; i++) x[i] = (float)i - 31.5f;
    dtype_of(DTYPE_Q8_0)->encode(x, q, 64, NULL);
    assert_ok(gguf_put_str(w, "general.architecture", STR("gemma4"), e), e);
    assert_ok(gguf_put_u32(w, "u", 4000000000u, e), e);
    assert_ok(gguf_put_i32(w, "i", -3, e), e);
    assert_ok(gguf_put_f32(w, "f", 0.95f, e), e);
    assert_ok(gguf_put_bool(w, "b", true, e), e);
    assert_ok(gguf_put_i32s(w, "is", (const int32_t[]){ 1, -2 }, 2, e), e);
    assert_ok(gguf_put_f32s(w, "fs", (const float[]){ 1.5f }, 1, e), e);
    assert_ok(gguf_put_bools(w, "bs", (const bool[]){ true, false, true }, 3, e), e);
    assert_ok(gguf_put_strs(w, "ss", words, 3, e), e);
    assert_fails(gguf_put_u32(w, "u", 1, e), E_ARG, e, "twice");
    assert_ok(gguf_put_tensor(w, "t.q", DTYPE_Q8_0, 2, ne, e), e);
    assert_ok(gguf_put_tensor(w, "t.s", DTYPE_F32, 1, one, e), e);
    assert_ok(gguf_put_tensor(w, "t.f", DTYPE_F32, 2, ne, e), e);
    assert_fails(gguf_put_tensor(w, "t.q", DTYPE_F32, 1, one, e), E_ARG, e, "twice");
    assert_fails(gguf_put_tensor(w, "t.x", DTYPE_Q4_K, 1, ne, e), E_ARG, e, "multiple of 256");
    assert_ok(gguf_write_data(w, q, 30, e), e);   /* in pieces */
    assert_ok(gguf_write_data(w, q + 30, sizeof q - 30, e), e);
    assert_fails(gguf_write_data(w, x, 8, e), E_INTERNAL, e, "t.s");
    assert_ok(gguf_write_data(w, x, 4, e), e);
    assert_ok(gguf_write_data(w, x, sizeof x, e), e);
    assert_fails(gguf_write_data(w, x, 4, e), E_INTERNAL, e, "last tensor");
    assert_fails(gguf_put_u32(w, "late", 1, e), E_INTERNAL, e, "late");
}

static void a_written_file_reads_back(void **state)
{
    (void)state;
    char path[] = "/tmp/facet-gguf-XXXXXX", copy[64];
    err e;
    gguf_writer *w;
    gguf_file *g, *h;
    close(mkstemp(path));
    assert_ok(gguf_writer_new(&w, path, &e), &e);
    fill_writer(w, &e);
    assert_ok(gguf_writer_end(w, &e), &e);
    gguf_writer_free(w);
    assert_ok(gguf_open(&g, path, &e), &e);
    assert_int_equal(gguf_value_count(g), 9);
    assert_int_equal(gguf_find(g, "u")->type, GGUF_U32);
    assert_int_equal(gguf_find(g, "i")->type, GGUF_I32);
    assert_int_equal(gguf_find(g, "bs")->item, GGUF_BOOL);
    assert_int_equal(gguf_find(g, "bs")->count, 3);
    assert_int_equal(gguf_tensor_count(g), 3);
    assert_int_equal(gguf_tensor_at(g, 0)->ne[1], 2);
    for (uint64_t i = 0; i < 3; i++) assert_int_equal((size_t)(gguf_tensor_at(g, i)->data - gguf_tensor_at(g, 0)->data) % 32, 0);
    assert_true(load_f32(gguf_tensor_find(g, "t.f")->data + 4 * 63) == 31.5f);
    assert_int_equal(gguf_file_bytes(g) % 32, 0);   /* the last tensor is padded too */

    /* a file made of copied keys and tensors is the same file, byte for byte */
    snprintf(copy, sizeof copy, "%s-copy", path);
    assert_ok(gguf_writer_new(&w, copy, &e), &e);
    for (uint64_t i = 0; i < gguf_value_count(g); i++) assert_ok(gguf_put_value(w, gguf_value_at(g, i), &e), &e);
    for (uint64_t i = 0; i < 3; i++) {
        const gguf_tensor *t = gguf_tensor_at(g, i);
        char name[64];
        snprintf(name, sizeof name, "%.*s", (int)t->name.n, t->name.p);
        assert_ok(gguf_put_tensor(w, name, t->type, t->n_dims, t->ne, &e), &e);
    }
    for (uint64_t i = 0; i < 3; i++) assert_ok(gguf_write_data(w, gguf_tensor_at(g, i)->data, gguf_tensor_at(g, i)->bytes, &e), &e);
    assert_ok(gguf_writer_end(w, &e), &e);
    gguf_writer_free(w);
    file_map a, b;
    assert_ok(file_map_open(&a, path, &e), &e);
    assert_ok(file_map_open(&b, copy, &e), &e);
    assert_int_equal(a.size, b.size);
    assert_memory_equal(a.data, b.data, a.size);
    file_map_close(&a);
    file_map_close(&b);
    gguf_close(g);
    assert_ok(gguf_open(&h, copy, &e), &e);
    gguf_close(h);
    unlink(path);
    unlink(copy);
}

static void an_unfinished_file_leaves_nothing(void **state)
{
    (void)state;
    char dir[] = "/tmp/facet-gguf-XXXXXX", path[64];
    err e;
    gguf_writer *w;
    const int64_t ne[1] = { 8 };
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/x.gguf", dir);
    assert_ok(gguf_writer_new(&w, path, &e), &e);
    assert_ok(gguf_put_tensor(w, "t", DTYPE_F32, 1, ne, &e), &e);
    assert_fails(gguf_writer_end(w, &e), E_INTERNAL, &e, "\"t\" is missing");
    gguf_writer_free(w);
    assert_int_equal(rmdir(dir), 0);   /* no temporary is left either */
}

static void a_full_disk_is_an_error(void **state)
{
    (void)state;
    err e;
    gguf_writer *w;
    const int64_t ne[1] = { 1024 };
    static const float x[1024];
    if (access("/dev/full", W_OK) != 0) fail_msg("this test needs /dev/full");
    assert_ok(gguf_writer_new(&w, "/dev/full", &e), &e);
    assert_ok(gguf_put_tensor(w, "t", DTYPE_F32, 1, ne, &e), &e);
    assert_fails(gguf_write_data(w, x, sizeof x, &e), E_IO, &e, "No space left");
    gguf_writer_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_file_opens), cmocka_unit_test(version_2_and_a_missing_last_padding_are_fine), cmocka_unit_test(a_vocabulary_needs_no_data),
        cmocka_unit_test(another_alignment_moves_the_data), cmocka_unit_test(every_truncation_is_refused), cmocka_unit_test(damage_is_named),
        cmocka_unit_test(getters_take_any_integer_that_fits), cmocka_unit_test(shards_are_one_file), cmocka_unit_test(a_written_file_reads_back),
        cmocka_unit_test(an_unfinished_file_leaves_nothing), cmocka_unit_test(a_full_disk_is_an_error) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
