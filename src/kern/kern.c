#include "kern/kern.h"

#include <string.h>

#include "kern/kern_int.h"
#include "os/cpu.h"

uint32_t kern_built(void)
{
    uint32_t mask = CPU_REF;
#ifdef FC_KERN_avx2
    mask |= CPU_AVX2;
#endif
#ifdef FC_KERN_avxvnni
    mask |= CPU_AVXVNNI;
#endif
#ifdef FC_KERN_avx512
    mask |= CPU_AVX512;
#endif
#ifdef FC_KERN_amx
    mask |= CPU_AMX;
#endif
#ifdef FC_KERN_neon
    mask |= CPU_NEON;
#endif
#ifdef FC_KERN_i8mm
    mask |= CPU_I8MM;
#endif
    return mask;
}

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
#ifdef FC_KERN_avxvnni
    if (isa & CPU_AVXVNNI) kern_avxvnni_fill(k);
#endif
#ifdef FC_KERN_avx512
    if (isa & CPU_AVX512) kern_avx512_fill(k);
#endif
#ifdef FC_KERN_amx
    if (isa & CPU_AMX) kern_amx_fill(k);
#endif
#ifdef FC_KERN_neon
    if (isa & CPU_NEON) kern_neon_fill(k);
#endif
#ifdef FC_KERN_i8mm
    if (isa & CPU_I8MM) kern_i8mm_fill(k);
#endif
}

const char *kern_family(const kern *k, dtype t)
{
    return k->family[t];
}
