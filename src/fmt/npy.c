#include "fmt/npy.h"

#include <stdio.h>
#include <string.h>

/* Magic, length of the header, a Python dictionary padded with spaces. */
void npy_head(char out[NPY_HEAD], int64_t rows, int64_t cols)
{
    static const char magic[10] = { '\x93', 'N', 'U', 'M', 'P', 'Y', 1, 0, NPY_HEAD - 10, 0 };
    char shape[64] = "";
    memset(out, ' ', NPY_HEAD);
    memcpy(out, magic, sizeof magic);
    if (rows >= 0) snprintf(shape, sizeof shape, "%lld, %lld", (long long)rows, (long long)cols);
    int n = snprintf(out + 10, NPY_HEAD - 10, "{'descr': '<f4', 'fortran_order': False, 'shape': (%s), }", shape);
    out[10 + n] = ' ';
    out[NPY_HEAD - 1] = '\n';
}
