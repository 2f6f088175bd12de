/* A profile of experts: from counts to JSON, and from JSON to the experts that are worth training. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "tune/router.h"

static status out_of_memory(err *e) { return err_set(e, E_NOMEM, "could not hold the profile\nout of memory"); }

/* The last bits depend on how rows were packed. */
static double rounded(double x) { return round(x * 1e9) / 1e9; }

status router_profile_json(json_t **out, const router_stats *s, int64_t tokens, err *e)
{
    status st = OK;
    json_t *layers = json_array(), *all = json_pack("{s:I, s:i, s:O}", "tokens", (json_int_t)tokens, "used", (int)s->used, "layers", layers);
    if (!all) st = out_of_memory(e);
    for (int32_t l = 0; l < s->layers && st == OK; l++) {
        json_t *share = json_array(), *mean = json_array();
        for (int32_t i = 0; i < s->experts && st == OK; i++)
            if (json_array_append_new(share, json_real(rounded(router_share(s, l, i)))) || json_array_append_new(mean, json_real(rounded(router_weight(s, l, i))))) st = out_of_memory(e);
        json_t *layer = json_pack("{s:i, s:I, s:o, s:o}", "layer", (int)l, "rows", (json_int_t)s->rows[l], "share", share, "weight", mean);
        if (json_array_append_new(layers, layer) != 0 && st == OK) st = out_of_memory(e);
    }
    json_decref(layers);
    if (st == OK) *out = all;
    else json_decref(all);
    return st;
}

/* ---- reading it -------------------------------------------------------------------------------------- */

typedef struct scored { double score; int32_t expert; } scored;

static int by_score(const void *a, const void *b)
{
    const scored *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return x->expert < y->expert ? -1 : x->expert > y->expert;
}

/* Highest first; false when it is no list of that many numbers from 0 to 1. */
static bool read_scores(const json_t *list, scored *out, int32_t E)
{
    if (!json_is_array(list) || json_array_size(list) != (size_t)E) return false;
    for (int32_t i = 0; i < E; i++) {
        const json_t *v = json_array_get(list, (size_t)i);
        double d = json_number_value(v);
        if (!json_is_number(v) || !(d >= 0 && d <= 1)) return false;
        out[i] = (scored){ d, i };
    }
    qsort(out, (size_t)E, sizeof *out, by_score);
    return true;
}

/* How many of the highest scores reach the share of all. */
static int32_t reaching(const scored *s, int32_t E, double share)
{
    double all = 0, sum = 0;
    int32_t n = 0;
    for (int32_t i = 0; i < E; i++) all += s[i].score;
    while (n < E && sum < share * all * (1 - 1e-12)) sum += s[n++].score;
    return n;
}

status router_profile_hot(const json_t *profile, const gemma *m, router_by by, double share, int64_t count, uint8_t *hot, err *e)
{
    status st = OK;
    int32_t L = m->config.layer_count, E = m->config.expert_count;
    const json_t *layers = json_object_get(profile, "layers");
    scored *s = mem_array((size_t)MAX(E, 1), sizeof *s, MEM_OTHER);
    if (!s) FAIL(e, E_NOMEM, "could not choose experts\nout of memory");
    if (!E || json_array_size(layers) != (size_t)L) FAIL(e, E_FORMAT, "cannot use the profile of experts\nit is not of a model with %d layers of %d experts", L, E);
    memset(hot, 0, (size_t)L * (size_t)E);
    for (int32_t l = 0; l < L; l++) {
        if (!read_scores(json_object_get(json_array_get(layers, (size_t)l), by == ROUTER_BY_WEIGHT ? "weight" : "share"), s, E))
            FAIL(e, E_FORMAT, "cannot use the profile of experts\nlayer %d has no list of %d shares", l, E);
        int32_t n = count ? (int32_t)MIN(count, (int64_t)E) : MAX(reaching(s, E, share), 1);
        for (int32_t i = 0; i < n; i++) hot[(int64_t)l * E + s[i].expert] = 1;
    }
out:
    mem_free(s);
    return st;
}

status router_profile_print(const json_t *profile, buf *out, err *e)
{
    static const double shares[] = { 0.25, 0.5, 0.75, 0.9, 1 };
    status st = OK;
    const json_t *layers = json_object_get(profile, "layers");
    int32_t E = (int32_t)json_array_size(json_object_get(json_array_get(layers, 0), "share"));
    scored *s = mem_array((size_t)MAX(E, 1), sizeof *s, MEM_OTHER);
    if (!s) FAIL(e, E_NOMEM, "could not print the profile\nout of memory");
    TRY(buf_addf(out, e, "experts by layer, over %lld tokens: how many of %d take a share of the choices; the most and the least chosen one\n", (long long)json_integer_value(json_object_get(profile, "tokens")), E));
    TRY(buf_addf(out, e, "layer    25 %%    50 %%    75 %%    90 %%   100 %%   most   share   least   share\n"));
    for (size_t l = 0; l < json_array_size(layers); l++) {
        if (!read_scores(json_object_get(json_array_get(layers, l), "share"), s, E)) FAIL(e, E_FORMAT, "cannot print the profile of experts\nlayer %zu has no list of shares", l);
        TRY(buf_addf(out, e, "%5zu", l));
        for (size_t k = 0; k < COUNT_OF(shares); k++) TRY(buf_addf(out, e, "%8d", reaching(s, E, shares[k])));
        TRY(buf_addf(out, e, "%7d  %5.1f%% %7d  %5.2f%%\n", s[0].expert, 100 * s[0].score, s[E - 1].expert, 100 * s[E - 1].score));
    }
out:
    mem_free(s);
    return st;
}
