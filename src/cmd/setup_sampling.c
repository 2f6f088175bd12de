/* The sampling options over the file's defaults. */
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "cmd/setup.h"

/* "ID=X" */
static status read_bias(args *a, const char *text, facet_bias *out, err *e)
{
    err why = { 0 };
    str rest = str_from(text), id;
    int64_t number = 0;
    double add = 0;
    if (!strchr(text, '=') || !str_split(&rest, '=', &id))
        return args_mistake(a, e, "--bias cannot be \"%s\"\nit is a token's id and a number, as in 105=-2.5", text);
    if (str_to_i64(id, "--bias", 0, INT32_MAX, &number, &why) != OK || str_to_f64(rest, "--bias", -1e9, 1e9, &add, &why) != OK)
        return args_mistake(a, e, "%s\n%s", why.what, why.why);
    *out = (facet_bias){ (int32_t)number, (float)add };
    return OK;
}

status setup_sampling_read(args *a, const facet_model *m, setup_sampling *out, err *e)
{
    status st = OK;
    facet_sampling *s = &out->s;
    int biases = args_count(a, "bias"), stops = args_count(a, "stop");
    *out = (setup_sampling){ .bias = mem_array((size_t)biases, sizeof *out->bias, MEM_OTHER),
                             .stop = mem_array((size_t)stops, sizeof *out->stop, MEM_OTHER) };
    if (!out->bias || !out->stop) FAIL(e, E_NOMEM, "could not read the options\nout of memory");
    facet_sampling_defaults(m, s);
    if (args_given(a, "temp")) s->temperature = (float)args_real(a, "temp");
    if (args_given(a, "top-k")) s->top_k = (int32_t)args_int(a, "top-k");
    if (args_given(a, "top-p")) s->top_p = (float)args_real(a, "top-p");
    if (args_given(a, "seed")) s->seed = (uint64_t)args_int(a, "seed");
    s->min_p = (float)args_real(a, "min-p");
    s->repeat_penalty = (float)args_real(a, "repeat-penalty");
    s->presence_penalty = (float)args_real(a, "presence-penalty");
    s->frequency_penalty = (float)args_real(a, "frequency-penalty");
    s->ignore_end = args_flag(a, "ignore-end");
    s->max_tokens = (int32_t)args_int(a, "tokens");
    for (int i = 0; i < biases; i++) TRY(read_bias(a, args_nth(a, "bias", i), &out->bias[i], e));
    for (int i = 0; i < stops; i++) out->stop[i] = args_nth(a, "stop", i);
    s->bias = out->bias;
    s->bias_count = (size_t)biases;
    s->stop = out->stop;
    s->stop_count = (size_t)stops;
out:
    if (st != OK) setup_sampling_done(out);
    return st;
}

void setup_sampling_done(setup_sampling *s)
{
    mem_free(s->bias);
    mem_free(s->stop);
    *s = (setup_sampling){ 0 };
}
