#include "tune/prefer.h"

#include <math.h>

/* 1 / (1 + e^-x) and -log of it, without overflow. */
static double sigmoid(double x) { return x >= 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x)); }
static double minus_log_sigmoid(double x) { return x >= 0 ? log1p(exp(-x)) : log1p(exp(x)) - x; }

static double mean(const prefer_answer *a) { return a->logp / (double)a->n; }

/* A mean of 0 (every token certain) would have infinite odds: it stands a step of rounding below. */
static double certain(double m) { return fmin(m, -1e-12); }
static double log_odds(double m) { return m - log(-expm1(m)); }
static double log_odds_slope(double m) { return -1 / expm1(m); }

static prefer_loss orpo(const prefer_opts *o, const prefer_answer *c, const prefer_answer *r)
{
    double mc = certain(mean(c)), mr = certain(mean(r)), x = log_odds(mc) - log_odds(mr), pull = -o->beta * sigmoid(-x);
    return (prefer_loss){
        .loss = -mean(c) + o->beta * minus_log_sigmoid(x),
        .chosen = (-1 + pull * log_odds_slope(mc)) / (double)c->n,
        .rejected = -pull * log_odds_slope(mr) / (double)r->n,
        .reward_chosen = o->beta * mean(c),
        .reward_rejected = o->beta * mean(r),
    };
}

static prefer_loss dpo(const prefer_opts *o, const prefer_answer *c, const prefer_answer *r)
{
    bool means = o->kind == PREFER_IPO;
    double nc = means ? (double)c->n : 1, nr = means ? (double)r->n : 1;
    double delta = (c->logp - c->base) / nc - (r->logp - r->base) / nr, slope;
    prefer_loss l = { .reward_chosen = o->beta * (c->logp - c->base), .reward_rejected = o->beta * (r->logp - r->base) };
    switch (o->kind) {
    case PREFER_HINGE:
        l.loss = fmax(0, 1 - o->beta * delta);
        slope = o->beta * delta < 1 ? -o->beta : 0;
        break;
    case PREFER_IPO:
        l.loss = (delta - 0.5 / o->beta) * (delta - 0.5 / o->beta);
        slope = 2 * (delta - 0.5 / o->beta);
        break;
    default:
        l.loss = minus_log_sigmoid(o->beta * delta);
        slope = -o->beta * sigmoid(-o->beta * delta);
        break;
    }
    l.loss -= o->sft * mean(c);
    l.chosen = slope / nc - o->sft / (double)c->n;
    l.rejected = -slope / nr;
    return l;
}

prefer_loss prefer_pair(const prefer_opts *o, const prefer_answer *chosen, const prefer_answer *rejected)
{
    return o->kind == PREFER_ORPO ? orpo(o, chosen, rejected) : dpo(o, chosen, rejected);
}
