#include "base/mem.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/bits.h"

enum { HEAD = 64, BIG = 4 << 20 };

typedef struct mem_head {
    size_t bytes;   /* what the caller asked for */
    size_t mapped;  /* length of the mapping, 0 when from the C library */
    mem_tag tag;
} mem_head;

static atomic_size_t tag_now[MEM_TAG_COUNT], tag_top[MEM_TAG_COUNT], all_now, all_top;
static atomic_uint_fast64_t call_count;
static atomic_int_fast64_t fail_countdown = -1;
static atomic_bool fail_seen;

static void raise_peak(atomic_size_t *top, size_t now)
{
    size_t old = atomic_load_explicit(top, memory_order_relaxed);
    while (now > old && !atomic_compare_exchange_weak_explicit(top, &old, now, memory_order_relaxed, memory_order_relaxed)) {}
}

static void count(mem_tag tag, size_t add, size_t sub)
{
    size_t t = atomic_fetch_add_explicit(&tag_now[tag], add - sub, memory_order_relaxed) + add - sub;
    size_t a = atomic_fetch_add_explicit(&all_now, add - sub, memory_order_relaxed) + add - sub;
    raise_peak(&tag_top[tag], t);
    raise_peak(&all_top, a);
}

static bool planned_failure(void)
{
    atomic_fetch_add_explicit(&call_count, 1, memory_order_relaxed);
    if (atomic_load_explicit(&fail_countdown, memory_order_relaxed) < 0) return false;
    if (atomic_fetch_sub(&fail_countdown, 1) != 0) return false;
    atomic_store(&fail_seen, true);
    return true;
}

static mem_head *head_of(void *p) { return (mem_head *)((char *)p - HEAD); }

static void *take_big(size_t total)
{
    void *p = mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return NULL;
    madvise(p, total, MADV_HUGEPAGE);
    return p;
}

void *mem_alloc(size_t n, mem_tag tag)
{
    size_t total;
    if (planned_failure() || !add_size(n, HEAD + 64, &total)) return NULL;
    total = align_up(total - 64, 64);
    char *base;
    if (total >= BIG) {
        base = take_big(total);
    } else {
        base = aligned_alloc(64, total);
        if (base) memset(base, 0, total);
    }
    if (!base) return NULL;
    mem_head *h = (mem_head *)base;
    h->bytes = n;
    h->mapped = total >= BIG ? total : 0;
    h->tag = tag;
    count(tag, n, 0);
    return base + HEAD;
}

void *mem_array(size_t items, size_t size, mem_tag tag)
{
    size_t n;
    return mul_size(items, size, &n) ? mem_alloc(n, tag) : NULL;
}

void *mem_resize(void *p, size_t n, mem_tag tag)
{
    void *q = mem_alloc(n, tag);
    if (!q) return NULL;
    if (p) memcpy(q, p, MIN(n, head_of(p)->bytes));
    mem_free(p);
    return q;
}

char *mem_strdup(const char *s, size_t n, mem_tag tag)
{
    char *p = mem_alloc(n + 1, tag);
    if (p && n) memcpy(p, s, n);
    return p;
}

void mem_free(void *p)
{
    if (!p) return;
    mem_head *h = head_of(p);
    count(h->tag, 0, h->bytes);
    if (h->mapped) munmap(h, h->mapped);
    else free(h);
}

/* Bytes in the low 56 bits, tag above. */
typedef struct small_head { _Alignas(16) uint64_t word; } small_head;

void *mem_small_alloc(size_t n, mem_tag tag)
{
    if (planned_failure() || n >> 48) return NULL;
    small_head *h = malloc(sizeof *h + n);
    if (!h) return NULL;
    h->word = (uint64_t)tag << 56 | n;
    count(tag, n, 0);
    return h + 1;
}

void mem_small_free(void *p)
{
    if (!p) return;
    small_head *h = (small_head *)p - 1;
    count((mem_tag)(h->word >> 56), 0, h->word & (((uint64_t)1 << 56) - 1));
    free(h);
}

const char *mem_tag_name(mem_tag tag)
{
    static const char *const names[MEM_TAG_COUNT] = {
        "weights", "kv", "activations", "text", "media", "gradients", "optimizer", "io", "other",
    };
    return names[tag];
}

void mem_stats_read(mem_stats *out)
{
    for (int t = 0; t < MEM_TAG_COUNT; t++) {
        out->tag_current[t] = atomic_load(&tag_now[t]);
        out->tag_peak[t] = atomic_load(&tag_top[t]);
    }
    out->current = atomic_load(&all_now);
    out->peak = atomic_load(&all_top);
    out->calls = atomic_load(&call_count);
}

void mem_stats_reset_peaks(void)
{
    for (int t = 0; t < MEM_TAG_COUNT; t++) atomic_store(&tag_top[t], atomic_load(&tag_now[t]));
    atomic_store(&all_top, atomic_load(&all_now));
}

void mem_fail_at(int64_t n)
{
    atomic_store(&fail_seen, false);
    atomic_store(&fail_countdown, n);
}

bool mem_fail_hit(void) { return atomic_load(&fail_seen); }
