/* The text side of a model on disk, without its weights: a vocabulary-only GGUF is enough. */
#ifndef FC_TEXT_TEXT_MODEL_H
#define FC_TEXT_TEXT_MODEL_H

#include "text/chat.h"
#include "text/tok.h"

typedef struct text_model {
    tok *tok;
    chat_variant variant;      /* from the file's chat template, or the model's size */
    bool template_known;       /* false also when it has none */
    bool has_template;
} text_model;

/* path: a GGUF file or a Hugging Face folder.  *out: text_model_done.  An unknown template is a remark in the log. */
status text_model_open(text_model *out, const char *path, err *e);
void   text_model_done(text_model *m);

#endif
