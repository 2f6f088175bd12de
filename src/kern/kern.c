#include "kern/kern.h"

#include <string.h>

#include "kern/kern_int.h"
#include "os/cpu.h"

void kern_init(kern *k, uint32_t isa_mask)
{
    uint32_t isa = cpu_isa_found();
    if (isa_mask) isa &= isa_mask;
    memset(k, 0, sizeof *k);
    k->isa = isa | CPU_REF;
    kern_ref_fill(k);
#ifdef FC_KERN_avx2
    if (isa & CPU_AVX2) kern_avx2_fill(k);
#endif
#ifdef FC_KERN_avx512
    if (isa & CPU_AVX512) kern_avx512_fill(k);
#endif
#ifdef FC_KERN_neon
    if (isa & CPU_NEON) kern_neon_fill(k);
#endif
}

const char *kern_family(const kern *k, dtype t)
{
    return k->family[t];
}
