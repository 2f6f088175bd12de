/* mk_tiny KIND TYPE SEED FILE: writes one of the tiny random models (E2B E4B 12B 26B 31B). */
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "support/tiny.h"

int main(int argc, char **argv)
{
    err e = { 0 };
    dtype type;
    int kind = 0;
    while (argc == 5 && kind < TINY_KINDS && strcasecmp(argv[1], tiny_name((tiny_kind)kind)) != 0) kind++;
    if (argc != 5 || kind == TINY_KINDS || !dtype_by_name(argv[2], &type)) {
        fprintf(stderr, "usage: mk_tiny E2B|E4B|12B|26B|31B TYPE SEED FILE\n");
        return 2;
    }
    if (tiny_write_gguf(argv[4], (tiny_kind)kind, type, strtoull(argv[3], NULL, 10), &e) == OK) return 0;
    fprintf(stderr, "mk_tiny: %s: %s\n", e.what, e.why);
    return 1;
}
