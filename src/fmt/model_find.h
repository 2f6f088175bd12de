/* Finding models by name where people already keep them.
 *
 * Looked through, in this order: the folders of $FACET_MODELS (colon list), ~/.local/share/facet/models ($XDG_DATA_HOME),
 * Ollama's store, the Hugging Face cache, LM Studio's folder.  Only files that are there are read; nothing is fetched. */
#ifndef FC_FMT_MODEL_FIND_H
#define FC_FMT_MODEL_FIND_H

#include "base/err.h"
#include "base/str.h"

typedef struct model_entry {
    char *name;              /* what -m takes: "gemma4:e2b", "google/gemma-4-E2B-it", "gemma-4-E2B-it-Q4_0" */
    char *path;              /* a GGUF file (the first of a sharded set) or a Hugging Face folder */
    const char *where;       /* "FACET_MODELS", "facet", "Ollama", "Hugging Face", "LM Studio" */
} model_entry;

typedef struct model_list { model_entry *items; size_t count, cap; } model_list;   /* {0} is empty */

/* Every model in those places, whatever its architecture.  Folders that cannot be read are passed over. */
status model_find_all(model_list *out, err *e);
void   model_find_done(model_list *l);

/* A path that exists is taken as it is.  Otherwise the one model whose name is `name`, or has it as a part; case does
 * not matter.  *path owned: mem_free.  E_ARG, with the candidates, when it is none or not one. */
status model_find(char **path, const char *name, err *e);

/* What a file holds, read from its header. */
typedef struct model_about {
    char architecture[64];   /* "gemma4"; a folder's model_type */
    char types[96];          /* "q4_K + q6_K": element types with at least 5 % of the bytes, largest first */
    uint64_t bytes;
    bool runs;               /* facet has this architecture */
} model_about;
status model_find_about(model_about *out, const char *path, err *e);

#endif
