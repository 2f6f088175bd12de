/* Losses of a pair: one prompt, a chosen answer and a rejected one.
 *
 *   DPO    delta = (log p(c) - log p_ref(c)) - (log p(r) - log p_ref(r)), sums over an answer's tokens (ipo: means)
 *          sigmoid -log s(beta delta);  hinge max(0, 1 - beta delta);  ipo (delta - 1 / (2 beta))^2        [Rafailov 2023, Zhao 2023, Azar 2023]
 *   ORPO   -mean log p(c) - beta log s(odds(c) - odds(r)), odds(y) = m - log(1 - e^m), m = mean log p(y)   [Hong 2024]
 *
 * sft adds sft * -mean log p(c) to DPO. */
#ifndef FC_TUNE_PREFER_H
#define FC_TUNE_PREFER_H

#include <stdbool.h>
#include <stdint.h>

typedef enum prefer_kind { PREFER_SIGMOID, PREFER_HINGE, PREFER_IPO, PREFER_ORPO } prefer_kind;

typedef struct prefer_opts {
    prefer_kind kind;
    double beta;               /* > 0 */
    double sft;                /* >= 0; not for ORPO */
} prefer_opts;

/* Sums of log-probabilities over an answer's n >= 1 tokens; of the model that is trained, and of the reference (0 for ORPO). */
typedef struct prefer_answer { double logp, base; int64_t n; } prefer_answer;

typedef struct prefer_loss {
    double loss;
    double chosen, rejected;   /* the loss by the log-probability of each token of an answer */
    double reward_chosen, reward_rejected;     /* beta (log p - log p_ref); for ORPO beta * mean log p */
} prefer_loss;

prefer_loss prefer_pair(const prefer_opts *o, const prefer_answer *chosen, const prefer_answer *rejected);

#endif
