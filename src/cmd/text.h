/* What tokenize, render and parse share. */
#ifndef FC_CMD_TEXT_H
#define FC_CMD_TEXT_H

#include "cmd/opt.h"
#include "text/text_model.h"

/* The tokenizer and template of what -m names.  *out: text_model_done. */
status text_open(const args *a, text_model *out, err *e);
/* All of standard input, at most 1 GiB. */
status text_input(buf *out, err *e);
/* The ids on one line, separated by spaces. */
void   text_print_ids(const tok_ids *ids);

#endif
