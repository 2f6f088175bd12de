#ifndef FC_FMT_MODEL_FIND_INT_H
#define FC_FMT_MODEL_FIND_INT_H

#include "fmt/model_find.h"

enum { MODEL_FIND_DEPTH = 6, MODEL_FIND_VISITS = 20000 };

/* One walk through the places; visits bounds it on strange disks (loops of links, home folders given by mistake). */
typedef struct model_finder {
    model_list *out;
    const char *where;
    int visits;
} model_finder;

/* Appends a model, unless one with the same path is there.  Both texts are copied. */
status model_find_add(model_finder *f, const char *name, const char *path, err *e);
/* Adds the GGUF files and model folders below dir; names are paths relative to it, with prefix in front. */
status model_find_scan(model_finder *f, const char *dir, const char *prefix, err *e);
/* root: .../ollama/models */
status model_find_ollama(model_finder *f, const char *root, err *e);
/* root: .../huggingface/hub */
status model_find_hub(model_finder *f, const char *root, err *e);
/* dir + "/" + name where that is a folder, else NULL: nothing to look through, or out of memory. */
char *model_find_folder(const char *dir, const char *name);

#endif
