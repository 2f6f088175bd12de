/* A thought's limit, its own or a loop: the tokens that close a thought take the place of drawn ones, so the answer goes on behind it as it would behind any. */
#include <math.h>

#include "run/run_int.h"

status thought_begin(facet_request *r, err *e)
{
    status st = OK;
    tok_ids ids = { 0 };
    if (r->raw || r->embedding) return OK;
    const tok_special *s = tok_specials(r->model->tok);
    if (r->think_budget >= 0 && s->channel >= 0 && s->channel_end < 0)
        FAIL(e, E_UNSUPPORTED, "cannot limit the thought\nthe model's vocabulary lacks the token that ends one");
    TRY(tok_encode(r->model->tok, STR("\n"), false, &ids, e));
    r->newline = ids.len == 1 ? ids.data[0] : -1;
out:
    tok_ids_done(&ids);
    return st;
}

void thought_token(facet_request *r, int32_t id)
{
    enum { WINDOW = 512, ROUNDS = 8 };
    r->result.thought_tokens++;
    if (r->looped || tok_specials(r->model->tok)->channel_end < 0 || !loop_add(&r->loop, id, WINDOW, ROUNDS)) return;
    r->looped = true;
    r->think_budget = r->result.thought_tokens;
}

void thought_mask(const facet_request *r, float *logits)
{
    if (r->think_budget >= 0 && r->parser && parser_had_thought(r->parser)) logits[tok_specials(r->model->tok)->channel] = -INFINITY;
}

bool thought_close(const facet_request *r, int32_t *id)
{
    if (r->think_budget < 0 || !r->parser || !parser_in_thought(r->parser) || r->result.thought_tokens < r->think_budget) return false;
    /* a thought's text ends with a new line; that of its header is enough when there is no text */
    bool broken = r->newline < 0 || (r->ids.len && r->ids.data[r->ids.len - 1] == r->newline);
    *id = broken ? tok_specials(r->model->tok)->channel_end : r->newline;
    return true;
}
