/* Any bytes as a file of training data, packed or not: refused with a reason, or documents within their limits. */
#include <stdlib.h>

#include "support/vocab.h"
#include "tune/data_group.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const tok *vocabulary;

enum { LENGTH = 64 };

static void need(bool ok)
{
    if (!ok) abort();
}

static void check_docs(const data_set *d)
{
    int64_t at = 0, targets = 0;
    for (int64_t i = 0; i < d->doc_count; i++) {
        const data_doc *doc = &d->docs[i];
        int32_t trained = 0;
        need(doc->begin == at && doc->n > 1 && doc->n <= LENGTH && doc->targets > 0 && !data_target(d, i)[0]);
        for (int32_t k = 0; k < doc->n; k++) {
            need(data_ids(d, i)[k] >= 0 && data_ids(d, i)[k] < tok_count(vocabulary) && data_target(d, i)[k] <= 1);
            trained += data_target(d, i)[k];
        }
        need(trained == doc->targets && data_target(d, i)[doc->n - 1]);
        at += doc->n;
        targets += trained;
    }
    need(at == d->tokens && at == d->report.tokens && targets == d->report.targets);
}

static void use(const data_set *d)
{
    data_order *order = NULL;
    data_groups g = { 0 };
    data_shown shown = { 0 };
    tune_row rows[2 * LENGTH];                       /* a pair */
    const int64_t *examples;
    int64_t n;
    check_docs(d);
    need(data_order_new(&order, d, NULL) == OK);
    data_order_next(order, 8, &examples, &n);
    need(n > 0 && data_group(&g, d, examples, n, 2 * LENGTH, NULL) == OK && g.count > 0);
    for (int64_t i = 0; i < g.count; i++) need(data_fill(rows, d, &g, i) <= 2 * LENGTH);
    need(data_show(&shown, d, 0, vocabulary, NULL) == OK && shown.count >= 2);
    data_shown_done(&shown);
    data_groups_done(&g);
    data_order_free(order);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (!vocabulary) vocabulary = vocab_small();
    for (int i = 0; i < 3; i++) {
        err e = { 0 };
        data_set *d = NULL;
        data_opts o = { .variant = i == 1 ? CHAT_LARGE : CHAT_EDGE, .pairs = i == 2, .strings_are_chat = i == 1, .max_length = LENGTH, .bad_max = 100 };
        if (data_load_memory(&d, "fuzz", (str){ (const char *)data, n }, vocabulary, &o, &e) == OK) use(d);
        else need(e.what[0] && e.why[0]);
        data_free(d);
    }
    return 0;
}
