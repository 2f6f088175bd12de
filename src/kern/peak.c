#include "kern/peak.h"

#include "base/bits.h"
#include "os/cpu.h"

static int add(const peak_loop *out[PEAK_LOOPS_MAX], int n, const peak_loop *from)
{
    for (; from->name && n < PEAK_LOOPS_MAX; from++) out[n++] = from;
    return n;
}

int peak_loops(const peak_loop *out[PEAK_LOOPS_MAX], uint32_t isa_mask)
{
    uint32_t isa = cpu_isa_found();
    if (isa_mask) isa &= isa_mask;
    (void)isa;                                       /* a build with the reference alone */
    int n = add(out, 0, peak_ref_loops);
#ifdef FC_KERN_avx2
    if (isa & CPU_AVX2) n = add(out, n, peak_avx2_loops);
#endif
#ifdef FC_KERN_avxvnni
    if (isa & CPU_AVXVNNI) n = add(out, n, peak_avxvnni_loops);
#endif
#ifdef FC_KERN_avx512
    if (isa & CPU_AVX512) n = add(out, n, peak_avx512_loops);
#endif
#ifdef FC_KERN_bf16
    if (isa & CPU_BF16) n = add(out, n, peak_bf16_loops);
#endif
#ifdef FC_KERN_amx
    if (isa & CPU_AMX) n = add(out, n, peak_amx_loops);
#endif
#ifdef FC_KERN_neon
    if (isa & CPU_NEON) n = add(out, n, peak_neon_loops);
#endif
#ifdef FC_KERN_i8mm
    if (isa & CPU_I8MM) n = add(out, n, peak_i8mm_loops);
#endif
    return n;
}
