#include "kern/neon/neon.h"

void kern_neon_fill(kern *k)
{
    mul_neon_fill(k);
}
