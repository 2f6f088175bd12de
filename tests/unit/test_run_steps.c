/* The pace of answers while prompts are read, in steps: no clock. */
#include <semaphore.h>

#include "base/bits.h"
#include "support/engine.h"

enum { STREAMS = 2, PROMPTS = 3, CHUNK = 48, AT = 3, ALL = STREAMS + PROMPTS, LOG_MAX = 4096 };

/* What all requests said, in the order of the engine's thread. */
typedef struct entry { int who; bool token; int32_t rows; } entry;
static const int lengths[PROMPTS] = { 700, 310, 520 };
static entry said[LOG_MAX];
static int said_count;

/* reached, go: the engine waits in this stream's token number AT until the others are there. */
typedef struct listener { int who, tokens; int32_t read; sem_t *reached, *go; } listener;

static void listen(void *user, const facet_event *ev)
{
    listener *l = user;
    if (ev->kind != FACET_TOKEN && ev->kind != FACET_PROGRESS) return;
    assert_true(said_count < LOG_MAX);
    said[said_count++] = (entry){ l->who, ev->kind == FACET_TOKEN, ev->kind == FACET_PROGRESS ? ev->prompt_done - l->read : 0 };
    if (ev->kind == FACET_PROGRESS) l->read = ev->prompt_done;
    else if (++l->tokens == AT && l->reached) {
        sem_post(l->reached);
        sem_wait(l->go);
    }
}

static facet_request *submit(listener *l, facet_engine *g, const facet_sampling *s, const int32_t *ids, int n)
{
    facet_error e;
    facet_request *r = NULL;
    assert_ok(facet_request_new(&r, g, s, &e), &e);
    facet_request_scope(r, (uint64_t)l->who);
    assert_ok(facet_request_tokens(r, ids, (size_t)n, &e), &e);
    assert_ok(facet_request_submit(r, listen, l, &e), &e);
    return r;
}

/* While any prompt is read, every step gives each stream its token, and no step reads more of all prompts than fits beside them; the
 * shortest is read to its end first. */
static void check(int32_t total)
{
    int32_t rows = 0, beside = 0, finished[PROMPTS] = { 0 };
    int order[PROMPTS], tokens[STREAMS] = { 0 }, since[STREAMS] = { 0 }, steps = 0, prompts_done = 0;
    int i = 0;
    while (i < said_count && said[i].who < STREAMS) i++;
    for (; i < said_count && prompts_done < PROMPTS; i++) {
        const entry *one = &said[i];
        if (one->who < STREAMS) {
            tokens[one->who]++;
            assert_true(since[one->who] <= CHUNK - STREAMS);      /* rows of prompts since its last token */
            since[one->who] = 0;
            if (one->who == 0) { steps += beside > 0; beside = 0; }
        } else if (one->token) {
            if (!finished[one->who - STREAMS]++) order[prompts_done++] = lengths[one->who - STREAMS];
        } else {
            rows += one->rows;
            beside += one->rows;
            for (int k = 0; k < STREAMS; k++) since[k] += one->rows;
        }
    }
    assert_int_equal(prompts_done, PROMPTS);
    assert_int_equal(rows, total);
    for (int k = 1; k < PROMPTS; k++) assert_true(order[k] > order[k - 1]);
    assert_true(steps >= total / CHUNK);
    for (int k = 0; k < STREAMS; k++) assert_true(tokens[k] >= steps);
}

static void answers_keep_their_pace(void **state)
{
    (void)state;
    static const char *const goldens[] = { "tests/golden/31b", "tests/golden/26b", "tests/golden/e2b" };
    for (size_t k = 0; k < COUNT_OF(goldens); k++) {
        facet_model *m = engine_open_model(goldens[k]);
        facet_engine *g = engine_start(m, &(facet_engine_opts){ .threads = 1, .ctx = 1024, .parallel = ALL, .chunk = CHUNK });
        facet_sampling long_one = engine_sampling(m, 1, 200), short_one = engine_sampling(m, 2, 4);
        facet_request *r[ALL];
        listener l[ALL] = { 0 };
        int32_t ids[1024], total = 0;
        sem_t reached, go;
        sem_init(&reached, 0, 0);
        sem_init(&go, 0, 0);
        said_count = 0;
        for (int i = 0; i < STREAMS; i++) {
            engine_prompt(ids, 20, i);
            l[i] = (listener){ .who = i, .reached = &reached, .go = &go };
            r[i] = submit(&l[i], g, &long_one, ids, 20);
            if (i) sem_post(&go);
            sem_wait(&reached);
        }
        for (int i = STREAMS; i < ALL; i++) {
            engine_prompt(ids, lengths[i - STREAMS], i);
            l[i] = (listener){ .who = i };
            r[i] = submit(&l[i], g, &short_one, ids, lengths[i - STREAMS]);
            total += lengths[i - STREAMS];
        }
        sem_post(&go);
        for (int i = 0; i < ALL; i++) {
            facet_error e;
            assert_ok(facet_request_wait(r[i], NULL, &e), &e);
            facet_request_free(r[i]);
        }
        check(total);
        facet_engine_stop(g);
        facet_model_close(m);
        sem_destroy(&reached);
        sem_destroy(&go);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(answers_keep_their_pace) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
