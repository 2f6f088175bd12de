/* Loops that do one kind of work as fast as an instruction set can, and nothing else: what the shares of `facet bench`
 * are shares of.  Each folder lists its own; nothing here is used for computing models. */
#ifndef FC_KERN_PEAK_H
#define FC_KERN_PEAK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum peak_kind { PEAK_INT8, PEAK_BF16, PEAK_F32, PEAK_READ, PEAK_KINDS } peak_kind;

/* The results of both functions only keep the compiler from leaving the work out. */
typedef struct peak_loop {
    const char *name;            /* the instruction, "vpdpbusd zmm"; for PEAK_READ how the memory is read */
    peak_kind kind;
    bool plain;                  /* plain C: of interest only where a family has nothing better */
    double ops;                  /* operations of one round, a multiplication and an addition counted as two */
    uint64_t (*run)(int64_t rounds);                  /* in registers; NULL for PEAK_READ */
    uint64_t (*read)(const uint8_t *p, size_t n);     /* p and n multiples of PEAK_READ_STEP */
} peak_loop;

enum { PEAK_READ_STEP = 4096, PEAK_LOOPS_MAX = 32 };

/* Loops of all families in the mask that the machine has; 0: all.  Returns their number; at least one of each kind but
 * PEAK_BF16, which only machines with such a product have. */
int peak_loops(const peak_loop *out[PEAK_LOOPS_MAX], uint32_t isa_mask);

/* Inside kern/: ends with a loop without a name. */
extern const peak_loop peak_ref_loops[], peak_avx2_loops[], peak_avxvnni_loops[], peak_avx512_loops[], peak_bf16_loops[], peak_amx_loops[], peak_neon_loops[], peak_i8mm_loops[];

#endif
