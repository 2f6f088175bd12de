/* The engine: one thread that owns the cache and the step buffers, and a queue of requests in front of it.
 *
 * Each turn of its loop: take in what waits, drop what was cancelled, choose rows (sched.h), one gemma_step for all of them, then
 * a token for each request whose last row was among them.  A request is, to the step, only ids of which some are in the
 * cache already: prompt and answer are the same thing. */
#ifndef FC_RUN_ENGINE_H
#define FC_RUN_ENGINE_H

#include "model/gemma.h"

const facet_model *engine_model(const facet_engine *g);
const gemma_ctx_opts *engine_opts(const facet_engine *g);      /* as chosen */
/* Hands a request over.  E_BUSY: the queue is full, or the engine stops. */
status engine_push(facet_engine *g, facet_request *r, err *e);
/* Ends the running step early; it is computed again for those who still want it.  Any thread, signal handlers too. */
void   engine_interrupt(facet_engine *g);
bool   engine_is_self(const facet_engine *g);                  /* the caller is the engine's thread */
/* Public options to the model's, with every choice made. */
status engine_translate(const facet_model *m, const facet_engine_opts *o, gemma_ctx_opts *out, err *e);

#endif
