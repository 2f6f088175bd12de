#ifndef FC_QUANT_MERGE_INT_H
#define FC_QUANT_MERGE_INT_H

#include "quant/merge.h"
#include "quant/quant_int.h"

/* Tensors of a folder to another one (merge_folder.c).  l: quant_list_folder's, types chosen; type as in merge_opts. */
status merge_folder_write(const gemma *m, const quant_list *l, const char *out, dtype type, quant_stream *s, quant_note note, void *user, err *e);

/* The tokens on which answers are compared (merge_compare.c): of the text, NULL: of our own; without a tokenizer some of a fixed seed.  *ids owned: mem_free. */
status merge_tokens(const gemma *m, const char *text, int32_t **ids, int32_t *count, err *e);
/* Predictions of the merged model, and of m without its adapter, against those of m with it; fills the report's last fields.  a: taken over. */
status merge_compare(const gemma *m, gemma_adapter *a, const gemma *merged, const int32_t *ids, int32_t count, const merge_opts *o, merge_report *report, err *e);

#endif
