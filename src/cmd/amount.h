/* Sizes and counts for people. */
#ifndef FC_CMD_AMOUNT_H
#define FC_CMD_AMOUNT_H

#include <stdint.h>

enum { AMOUNT_CAP = 32 };

const char *amount_bytes(uint64_t n, char out[AMOUNT_CAP]);   /* 1536 -> "1.50 KB" */
const char *amount_count(int64_t n, char out[AMOUNT_CAP]);    /* 5100000000 -> "5.10 B", as in "4B model" */

#endif
