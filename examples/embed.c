/* Answers one question with libfacet: cc embed.c -lfacet -ljansson -lm -pthread
 *
 *   embed MODEL.gguf ["question"] */
#include <facet.h>
#include <stdio.h>
#include <string.h>

/* Called on the engine's thread, in order. */
static void on_event(void *user, const facet_event *ev)
{
    (void)user;
    if (ev->kind == FACET_ANSWER) fwrite(ev->text, 1, ev->n, stdout);
}

static int failed(const facet_error *e)
{
    fprintf(stderr, "%s: %s\n", e->what, e->why);
    return 1;
}

int main(int argc, char **argv)
{
    const char *question = argc > 2 ? argv[2] : "What is 12 + 30?";
    facet_error e = { 0 };
    facet_model *model = NULL;
    facet_engine *engine = NULL;
    facet_request *request = NULL;
    facet_result result = { 0 };
    int code = 0;
    if (argc < 2) return fprintf(stderr, "usage: embed MODEL.gguf [\"question\"]\n"), 2;
    if (facet_model_open(&model, &(facet_model_opts){ .path = argv[1] }, &e) != FACET_OK ||
        facet_engine_start(&engine, model, NULL, &e) != FACET_OK ||
        facet_request_new(&request, engine, NULL, &e) != FACET_OK ||
        facet_request_message(request, FACET_USER, question, strlen(question), &e) != FACET_OK ||
        facet_request_submit(request, on_event, NULL, &e) != FACET_OK ||
        facet_request_wait(request, &result, &e) != FACET_OK)
        code = failed(&e);
    else
        printf("\n[%d tokens]\n", result.answer_tokens);
    facet_request_free(request);     /* each of these accepts NULL */
    facet_engine_stop(engine);
    facet_model_close(model);
    return code;
}
