/* What the reader and the writer of safetensors share. */
#ifndef FC_FMT_SAFETENSORS_INT_H
#define FC_FMT_SAFETENSORS_INT_H

#include "fmt/safetensors.h"

/* The name of a type in files, and its bits; NULL for ST_OTHER. */
const char *st_dtype_find(st_dtype type, int *bits);

#endif
