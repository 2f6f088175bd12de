/* An adapter for the bundled miniature, as PEFT would save one: random terms at the dense MLP's last matrix of every layer. */
#ifndef FC_TESTS_MINI_ADAPTER_H
#define FC_TESTS_MINI_ADAPTER_H

#include <stdint.h>

/* Makes the folder and its two files.  size: of the numbers; 0.3 changes what the miniature says. */
void mini_adapter_write(const char *dir, uint32_t seed, float size);

#endif
