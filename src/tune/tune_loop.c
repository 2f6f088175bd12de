/* The steps of a run.  A step that fails or is stopped leaves parameters, optimizer and place in the data as they were before it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "os/clock.h"
#include "tune/tune_int.h"

/* What the documents of a step, or those held out, came to. */
typedef struct loop_sums { tune_sums tokens; pair_sums pairs; } loop_sums;

/* Of a trained token, or of a pair. */
static double mean_loss(const loop_sums *s)
{
    if (s->pairs.count) return s->pairs.loss / (double)s->pairs.count;
    return s->tokens.targets ? s->tokens.loss / (double)s->tokens.targets : 0;
}

static status add_group(tune *t, const data_groups *groups, int64_t g, bool train, loop_sums *sums, err *e)
{
    if (t->pairs) return tune_pairs_add(t, groups, g, train ? groups->first[groups->count] / 2 : 0, &sums->tokens, &sums->pairs, e);
    int32_t T = data_fill(t->rows, t->data, groups, g);
    return tune_step_add(t->step, t->rows, T, train ? groups->targets : 0, &sums->tokens, e);
}

/* Gradients of one step's documents; *groups says what they were. */
static status gradients(tune *t, data_groups *groups, loop_sums *sums, err *e)
{
    status st = OK;
    const int64_t *examples;
    int64_t n;
    data_order_next(t->order, t->r.batch, &examples, &n);
    TRY(data_group(groups, t->data, examples, n, t->rows_max, e));
    tune_params_clear(t->params);
    for (int64_t g = 0; g < groups->count && groups->targets; g++) {
        if (atomic_load(&t->stop)) FAIL(e, E_CANCELLED, "the run was stopped");
        TRY(add_group(t, groups, g, true, sums, e));
    }
out:
    return st;
}

/* ---- what must not be -------------------------------------------------------------------------------- */

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static bool is_spike(const tune *t, double loss)
{
    double sorted[TUNE_RECENT];
    int64_t n = MIN(t->s.recent_count, (int64_t)TUNE_RECENT);
    if (t->r.spike <= 0 || n < 16) return false;
    memcpy(sorted, t->s.recent, sizeof sorted);
    qsort(sorted, (size_t)n, sizeof *sorted, by_size);
    return loss > t->r.spike * sorted[n / 2] && loss > sorted[n / 2] + 2;
}

/* Where the rows of a step came from: the first document. */
static void source_of(const tune *t, const data_groups *g, char *out, size_t cap)
{
    const data_doc *d = &t->data->docs[g->docs[0]];
    snprintf(out, cap, "%s, line %lld", t->data->files[d->file].path, (long long)d->line);
}

static status check(const tune *t, const data_groups *groups, double loss, err *e)
{
    char where[300];
    int64_t at = 0, bad = optim_find_bad(t->params, &at);
    source_of(t, groups, where, sizeof where);
    if (bad >= 0) {
        const tune_param *p = &t->params->p[bad];
        return err_set(e, E_FORMAT, "could not go on behind step %lld\nthe gradient of layer %d, linear %d (%s), expert %d is no number, at element %lld of %s; the step begins with %s\n"
                                    "The run up to there is saved. Lower the rate, or look at those rows.",
                       (long long)t->s.step, p->layer, (int)p->which, tune_group_name(p->group), p->expert, (long long)(at < p->rank * p->in ? at : at - p->rank * p->in),
                       at < p->rank * p->in ? "A" : "B", where);
    }
    if (!isfinite(loss))
        return err_set(e, E_FORMAT, "could not go on behind step %lld\nthe loss is no number; the step begins with %s\nThe run up to there is saved. Look at those rows.", (long long)t->s.step, where);
    if (is_spike(t, loss))
        return err_set(e, E_FORMAT, "could not go on behind step %lld\nthe loss rose to %.3f, more than %g times that of the steps before; the step begins with %s\n"
                                    "The run up to there is saved. Lower the rate, look at those rows, or go on with a higher --spike.", (long long)t->s.step, loss, t->r.spike, where);
    return OK;
}

/* ---- one step ------------------------------------------------------------------------------------------ */

static json_t *norms_json(const optim_norms *n)
{
    json_t *o = json_object();
    for (int g = 0; o && g < TUNE_GROUP_COUNT; g++)
        if (n->group[g] > 0) json_object_set_new(o, tune_group_name((tune_group)g), json_real(n->group[g]));
    return o;
}

static status add_pairs(json_t *to, const pair_sums *p)
{
    double n = (double)p->count;
    json_t *j = json_pack("{s:f, s:f, s:f, s:f}", "preferred", (double)p->right / n, "reward_chosen", p->chosen / n, "reward_rejected", p->rejected / n, "margin", (p->chosen - p->rejected) / n);
    int failed = json_object_update(to, j);
    json_decref(j);
    return failed ? E_NOMEM : OK;
}

/* Takes j over. */
static status log_line(const tune *t, json_t *j, const loop_sums *s, err *e)
{
    if (!j || (s->pairs.count && add_pairs(j, &s->pairs) != OK)) {
        json_decref(j);
        return err_set(e, E_NOMEM, "could not write the log\nout of memory");
    }
    return tune_save_log(t, j, e);
}

static status log_step(const tune *t, const loop_sums *sums, const optim_norms *n, double loss, double factor, double seconds, err *e)
{
    const tune_sums *s = &sums->tokens;
    double targets = (double)MAX(s->targets, (int64_t)1);
    json_t *j = json_pack("{s:I, s:f, s:f, s:f, s:I, s:f, s:f, s:b, s:I, s:o, s:f}", "step", (json_int_t)t->s.step, "loss", loss, "accuracy", (double)s->right / targets,
                          "entropy", s->entropy / targets, "targets", (json_int_t)s->targets, "rate", t->r.lr * factor, "norm", n->all, "clipped", n->clipped,
                          "idle", (json_int_t)n->idle, "norms", norms_json(n), "seconds", seconds);
    return log_line(t, j, sums, e);
}

static void tell(const tune *t, tune_event_fn fn, void *user, tune_event ev)
{
    ev.step = t->s.step;
    ev.steps = t->steps;
    if (fn) fn(user, &ev);
}

static void apply(tune *t, double loss, const data_groups *groups, double factor, optim_norms *norms)
{
    double rates[TUNE_GROUP_COUNT];
    for (int g = 0; g < TUNE_GROUP_COUNT; g++) rates[g] = t->rates[g] * factor;
    optim_norms_read(t->params, norms);
    optim_step(t->optim, rates, norms);
    if (!t->s.step) t->s.first_loss = loss;
    t->s.last_loss = loss;
    t->s.recent[t->s.recent_count++ % TUNE_RECENT] = loss;
    t->s.step++;
    t->s.tokens += groups->rows;
    t->s.targets += groups->targets;
    t->s.place = data_order_place(t->order);
}

static status one_step(tune *t, tune_event_fn fn, void *user, err *e)
{
    status st = OK;
    double start = clock_seconds(), factor = optim_factor(strcmp(t->r.schedule, "cosine") == 0 ? OPTIM_COSINE : strcmp(t->r.schedule, "linear") == 0 ? OPTIM_LINEAR : OPTIM_CONSTANT,
                                                          t->s.step, t->warmup, t->steps);
    data_groups groups = { 0 };
    loop_sums sums = { .pairs = { 0 } };
    optim_norms norms;
    TRY(gradients(t, &groups, &sums, e));
    double loss = mean_loss(&sums);
    TRY(check(t, &groups, loss, e));
    if (t->dump_grads && !t->s.step) TRY(tune_save_grads(t, loss, e));
    apply(t, loss, &groups, factor, &norms);
    double took = clock_seconds() - start;
    t->seconds = t->seconds > 0 ? 0.8 * t->seconds + 0.2 * took : took;
    TRY(log_step(t, &sums, &norms, loss, factor, took, e));
    tell(t, fn, user, (tune_event){ .kind = TUNE_STEP, .loss = loss, .rate = t->r.lr * factor, .norm = norms.all, .tokens_per_s = (double)groups.rows / MAX(took, 1e-9),
                                    .seconds_left = t->seconds * (double)(t->steps - t->s.step) });
out:
    data_groups_done(&groups);
    return st;
}

/* ---- between steps ------------------------------------------------------------------------------------- */

static status evaluate(tune *t, tune_event_fn fn, void *user, err *e)
{
    status st = OK;
    loop_sums sums = { .pairs = { 0 } };
    char best[4096];
    if (!t->held_out.count) return OK;
    for (int64_t g = 0; g < t->held_out.count; g++) TRY(add_group(t, &t->held_out, g, false, &sums, e));
    double loss = mean_loss(&sums);
    bool better = isfinite(loss) && (!t->s.best_step || loss < t->s.best_loss);
    t->s.worse = better ? 0 : t->s.worse + 1;
    if (better) {
        t->s.best_loss = loss;
        t->s.best_step = t->s.step;
        snprintf(best, sizeof best, "%s/best", t->out);
        TRY(tune_save_adapter(t, best, e));
    }
    TRY(log_line(t, json_pack("{s:I, s:f, s:b}", "step", (json_int_t)t->s.step, "eval_loss", loss, "best", better), &sums, e));
    tell(t, fn, user, (tune_event){ .kind = TUNE_EVALUATED, .loss = loss });
out:
    return st;
}

/* A disk that is full for a while does not end the run: the next save may work, and the last one must. */
static void save(tune *t, tune_event_fn fn, void *user)
{
    err e = { 0 };
    char text[1200];
    if (tune_save_state(t, &e) == OK) {
        tell(t, fn, user, (tune_event){ .kind = TUNE_SAVED });
        return;
    }
    snprintf(text, sizeof text, "%s: %s; the run goes on and tries again in %lld steps", e.what, e.why, (long long)t->save_every);
    tell(t, fn, user, (tune_event){ .kind = TUNE_REMARK, .text = text });
}

static bool is_over(const tune *t) { return t->s.step >= t->steps || (t->r.patience && t->s.worse >= t->r.patience); }

static bool is_stopped(const tune *t) { return atomic_load(&t->stop) || (t->r.stop_after && t->s.step >= t->r.stop_after); }

status tune_loop_run(tune *t, tune_event_fn fn, void *user, tune_end *end, err *e)
{
    status st = OK;
    while (!is_over(t) && !is_stopped(t)) {
        TRY(one_step(t, fn, user, e));
        if (t->s.step % t->eval_every == 0 || t->s.step == t->steps) TRY(evaluate(t, fn, user, e));
        if (t->s.step % t->save_every == 0 && t->s.step < t->steps) save(t, fn, user);
    }
out:
    *end = is_over(t) ? TUNE_FINISHED : TUNE_STOPPED;
    if (st == E_CANCELLED && atomic_load(&t->stop)) st = OK;
    else if (st != OK) (void)tune_save_state(t, NULL);      /* the first failure is the one to tell of */
    return st;
}
