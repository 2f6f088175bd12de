/* For programs that cannot go on after an error: says it and ends. */
#ifndef FC_TESTS_SUPPORT_MUST_H
#define FC_TESTS_SUPPORT_MUST_H

#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"

static inline void must(status st, const err *e)
{
    if (st == OK) return;
    fprintf(stderr, "%s: %s\n", e->what, e->why);
    exit(1);
}

#endif
