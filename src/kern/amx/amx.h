/* Parts of the AMX family. */
#ifndef FC_KERN_AMX_AMX_H
#define FC_KERN_AMX_AMX_H

#include "kern/kern_int.h"

void mul_amx_fill(kern *k);

#endif
