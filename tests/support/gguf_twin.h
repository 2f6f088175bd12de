/* Writes a model that was opened from a Hugging Face folder as a GGUF file, as llama.cpp's converter would name things
 * (without a tokenizer). */
#ifndef FC_TESTS_GGUF_TWIN_H
#define FC_TESTS_GGUF_TWIN_H

#include "model/gemma.h"

/* Vectors become F32; matrices keep their type, or become F32 too.  Any trouble fails the test. */
void gguf_twin_write(const gemma *m, const char *path, bool f32);

#endif
