/* Counted allocation: every block has a purpose, current and peak bytes are kept per purpose, and
 * tests can make the n-th allocation fail.  Blocks are 64-byte aligned and zeroed; large ones come
 * straight from the kernel with huge pages asked for, so untouched parts cost nothing. */
#ifndef FC_BASE_MEM_H
#define FC_BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum mem_tag {
    MEM_WEIGHTS,     /* tensors that are not simply mapped from the file */
    MEM_KV,          /* the attention cache */
    MEM_ACTIVATIONS, /* step buffers, logits */
    MEM_TEXT,        /* tokenizer, prompts, JSON */
    MEM_MEDIA,
    MEM_GRADIENTS,
    MEM_OPTIMIZER,
    MEM_IO,
    MEM_OTHER,
    MEM_TAG_COUNT
} mem_tag;

typedef struct mem_stats {
    size_t current, peak;                       /* bytes over all tags */
    size_t tag_current[MEM_TAG_COUNT], tag_peak[MEM_TAG_COUNT];
    uint64_t calls;                             /* allocations so far */
} mem_stats;

/* NULL when out of memory.  n == 0 gives a valid block of no bytes.  Any thread. */
void *mem_alloc(size_t n, mem_tag tag);
/* count * size with the multiplication checked. */
void *mem_array(size_t count, size_t size, mem_tag tag);
/* Grows or shrinks; on NULL the old block is still the caller's.  p may be NULL. New bytes are zero. */
void *mem_resize(void *p, size_t n, mem_tag tag);
char *mem_strdup(const char *s, size_t n, mem_tag tag);  /* n bytes and a final NUL */
void  mem_free(void *p);                                 /* NULL is fine */

/* For very many very small blocks (JSON values): 16-byte header and alignment, not zeroed, counted alike.
 * Only for each other: mem_small_free takes nothing from mem_alloc. */
void *mem_small_alloc(size_t n, mem_tag tag);
void  mem_small_free(void *p);

const char *mem_tag_name(mem_tag tag);
void mem_stats_read(mem_stats *out);
void mem_stats_reset_peaks(void);

/* Tests only: allocation number n (from 0, counted from this call) fails; n < 0 turns it off. */
void mem_fail_at(int64_t n);
/* True when an allocation has failed since the last mem_fail_at. */
bool mem_fail_hit(void);

#endif
