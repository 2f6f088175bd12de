#include "cmd/amount.h"

#include <stdio.h>

static const char *human(double n, const char *const *steps, double base, char out[AMOUNT_CAP])
{
    int i = 0;
    while (n >= base * 0.9995 && steps[i + 1]) n /= base, i++;
    snprintf(out, AMOUNT_CAP, "%.*f%s", i == 0 ? 0 : n < 10 ? 2 : 1, n, steps[i]);
    return out;
}

const char *amount_bytes(uint64_t n, char out[AMOUNT_CAP])
{
    static const char *const steps[] = { " B", " KB", " MB", " GB", " TB", NULL };
    return human((double)n, steps, 1024, out);
}

const char *amount_count(int64_t n, char out[AMOUNT_CAP])
{
    static const char *const steps[] = { "", " K", " M", " B", " T", NULL };   /* B as in "4B model" */
    return human((double)n, steps, 1000, out);
}
