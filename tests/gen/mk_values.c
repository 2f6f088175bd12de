/* mk_values TYPE < BLOCKS > VALUES: blocks of a weight type as float32, for comparing decoders (tests/oracle/decode.py). */
#include <stdio.h>

#include "num/dtype.h"

int main(int argc, char **argv)
{
    static unsigned char block[512];
    static float values[256];
    const dtype_info *d = argc == 2 ? dtype_by_name(argv[1], NULL) : NULL;
    if (!d || (size_t)d->bytes > sizeof block || (size_t)d->block > sizeof values / sizeof *values) {
        fprintf(stderr, "mk_values: no such type\n");
        return 2;
    }
    while (fread(block, (size_t)d->bytes, 1, stdin) == 1) {
        d->decode(block, values, d->block);
        fwrite(values, sizeof *values, (size_t)d->block, stdout);
    }
    return ferror(stdin) || fflush(stdout) != 0;
}
