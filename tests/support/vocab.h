/* Tokenizers for tests. */
#ifndef FC_TESTS_SUPPORT_VOCAB_H
#define FC_TESTS_SUPPORT_VOCAB_H

#include "text/tok.h"

/* Gemma 4's own, from tests/data/tokenizer.  Ends the program when that fails.  Owned: tok_free. */
tok *vocab_real(void);
/* The text of a tokenizer.json with bytes, ASCII, a few merges and the special tokens at other ids.  Owned by *out: buf_done. */
void vocab_small_json(buf *out);
/* The tokenizer of that. */
tok *vocab_small(void);

#endif
