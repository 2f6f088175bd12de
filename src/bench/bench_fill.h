/* Random inputs for kernels, the same every time; also what the kernels' tests are fed with. */
#ifndef FC_BENCH_BENCH_FILL_H
#define FC_BENCH_BENCH_FILL_H

#include <stdint.h>

#include "num/dtype.h"

uint64_t bench_fill_random(uint64_t *state);      /* splitmix64 */
float    bench_fill_gauss(uint64_t *state);       /* about normal */
/* n elements of a type in random blocks with scales around `scale`: finite, whatever the type. */
void     bench_fill_weights(dtype t, void *out, int64_t n, float scale, uint64_t *state);

#endif
