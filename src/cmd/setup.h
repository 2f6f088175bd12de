/* From the shared options of a command line to what facet.h wants. */
#ifndef FC_CMD_SETUP_H
#define FC_CMD_SETUP_H

#include "cmd/opt.h"

/* The path of what -m names, or of the bundled miniature with a sentence on standard error.  Owned: mem_free. */
status setup_path(const args *a, char **path, err *e);
/* Opens what -m names, or the bundled miniature with a sentence on standard error.  *out owned: facet_model_close. */
status setup_model(const args *a, facet_model **out, err *e);
/* --threads --isa --exact --ctx --kv --chunk (opt_machine and opt_context).  Borrowed from a. */
status setup_engine(args *a, facet_engine_opts *out, err *e);
/* opt_adapter, all under one name; named: as NAME=PATH, each under its own. *out: setup_adapters_done; borrowed from it by o. */
typedef struct setup_adapters { facet_adapter *list; char *texts; } setup_adapters;
#define SETUP_ADAPTER "adapter"
status setup_adapters_read(args *a, bool named, setup_adapters *out, facet_engine_opts *o, err *e);
void   setup_adapters_done(setup_adapters *s);
/* --cache as facet_engine_opts has it. */
int64_t setup_cache(const args *a);

/* --cache-dir and --cache-disk (opt_disk).  Borrowed from a. */
void   setup_disk(const args *a, facet_engine_opts *o);

typedef struct setup_sampling { facet_sampling s; facet_bias *bias; const char **stop; } setup_sampling;
/* opt_sampling over the file's defaults. *out: setup_sampling_done. */
status setup_sampling_read(args *a, const facet_model *m, setup_sampling *out, err *e);
void   setup_sampling_done(setup_sampling *s);

/* Remarks of the library go to standard error: warnings, and more with -v; none with -q. */
void   setup_log(const args *a);

#endif
