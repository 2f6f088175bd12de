/* Counter-based random numbers (Philox 4x32-10, Salmon et al. 2011): same key and counter, same number,
 * whatever the thread or the order. */
#ifndef FC_BASE_RNG_H
#define FC_BASE_RNG_H

#include <stdint.h>

/* Four 32-bit numbers for (key, counter). */
void rng_philox(uint64_t key, uint64_t counter, uint32_t out[4]);
/* Uniform in [0, 1), 53 bits. */
double rng_uniform(uint64_t key, uint64_t counter);
/* A seed from the operating system. */
uint64_t rng_fresh_seed(void);

#endif
