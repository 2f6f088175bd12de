#include "kern/ref/ref.h"

void kern_ref_fill(kern *k)
{
    mul_ref_fill(k);
    vec_ref_fill(k);
    attn_ref_fill(k);
    back_ref_fill(k);
}
