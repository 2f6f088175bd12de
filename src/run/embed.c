/* Embeddings: requests whose prompt is read and whose last states are added up; no token is drawn. */
#include "run/embed.h"

#include <math.h>

#include "base/bits.h"
#include "run/engine.h"

facet_status facet_request_embed(facet_request *r, float *out, facet_error *e)
{
    status st = OK;
    double *sum = NULL;
    if (!request_is_new(r)) FAIL(e, E_ARG, "cannot change a request\nit was submitted already");
    if (!engine_opts(r->engine)->hidden_rows_max)
        FAIL(e, E_ARG, "cannot make an embedding\nthe engine was started without room for one\nSet facet_engine_opts.embed.");
    sum = mem_array((size_t)r->model->gemma->config.hidden, sizeof *sum, MEM_TEXT);
    if (!sum) FAIL(e, E_NOMEM, "could not make an embedding\nout of memory");
    mem_free(r->sum);
    r->sum = sum;
    r->embedding = out;
out:
    return st;
}

status embed_check(facet_request *r, err *e)
{
    status st = OK;
    int32_t ctx = engine_opts(r->engine)->ctx, bos = r->model->tok ? tok_specials(r->model->tok)->bos : -1;
    if (!r->raw) FAIL(e, E_ARG, "cannot make an embedding of a conversation\nit is made of raw text or tokens");
    r->summed = r->ids.len > 0 && r->ids.data[0] == bos;
    if (r->ids.len == (size_t)r->summed) FAIL(e, E_ARG, "cannot make an embedding\nthe text is empty");
    if (r->ids.len > (size_t)ctx)
        FAIL(e, E_CONTEXT, "cannot fit the text into the context\nit has %zu tokens, the context holds %d\nUse --ctx with a larger number, or a shorter text.", r->ids.len, ctx);
out:
    return st;
}

int32_t embed_rows(const facet_request *r, int32_t n, int32_t *room)
{
    int32_t before = MAX(r->summed - r->done, 0), wanted = MIN(MAX(n - before, 0), *room);
    *room -= wanted;
    return MIN(n, before + wanted);
}

bool embed_wants(const facet_request *r, int32_t pos) { return r->embedding && pos >= r->summed; }

void embed_add(facet_request *r, const float **rows)
{
    int32_t H = r->model->gemma->config.hidden;
    for (; r->summed < r->done; r->summed++, *rows += H)
        for (int32_t i = 0; i < H; i++) r->sum[i] += (double)(*rows)[i];
}

void embed_end(facet_request *r)
{
    int32_t H = r->model->gemma->config.hidden;
    double square = 0;
    for (int32_t i = 0; i < H; i++) square += r->sum[i] * r->sum[i];
    double scale = square > 0 ? 1 / sqrt(square) : 0;
    for (int32_t i = 0; i < H; i++) r->embedding[i] = (float)(r->sum[i] * scale);
}
