/* mk_masks golden: tests/golden/masks.txt.
 * mk_masks steps: each step of the walks (tests/support/mask_walks.h) as four int32 – schema, walk, step, the token that follows –
 *     and the words of its mask.
 * mk_masks complete: reads lines "SCHEMA HEX", the beginning of an answer as bytes; prints the shortest end that Facet gives it,
 *     as a whole answer, or an empty line when the beginning cannot be continued.
 * For tests/oracle/masks.py; from the root of the repository. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/mask_walks.h"
#include "support/vocab.h"
#include "text/automaton.h"

enum { TEXT_MAX = 1 << 16 };

static void to_stdout(void *user, const mask_walks_step *s)
{
    (void)user;
    int32_t head[] = { s->schema, s->walk, s->step, s->id };
    fwrite(head, sizeof head, 1, stdout);
    fwrite(s->bits, sizeof *s->bits, s->words, stdout);
}

static int steps(void)
{
    json_t *schemas = mask_walks_schemas();
    tok *t = vocab_real();
    trie *x = NULL;
    if (trie_new(&x, t, NULL) != OK) return 1;
    mask_walks_run(schemas, t, x, to_stdout, NULL);
    trie_free(x);
    tok_free(t);
    json_decref(schemas);
    return ferror(stdout) || fflush(stdout) != 0;
}

static int golden(void)
{
    buf b;
    mask_walks_golden(&b);
    fwrite(b.data, 1, b.len, stdout);
    buf_done(&b);
    return ferror(stdout) || fflush(stdout) != 0;
}

/* text has room for TEXT_MAX bytes; false: it is no beginning of an answer. */
static bool complete(automaton *a, int32_t node, char *text, size_t n)
{
    automaton_state x[2];
    int now = 0;
    unsigned char b;
    automaton_begin(a, node, &x[0]);
    for (size_t i = 0; i < n && x[now].count; i++, now = !now) automaton_step(a, &x[now], (unsigned char)text[i], &x[!now]);
    while (x[now].count && !automaton_complete(a, &x[now])) {
        b = automaton_closing_byte(a, &x[now].threads[0]);
        if (!b || n == TEXT_MAX - 1) return false;
        text[n++] = (char)b;
        automaton_step(a, &x[now], b, &x[!now]);
        now = !now;
    }
    text[n] = 0;
    return x[now].count > 0;
}

static int completions(void)
{
    static char text[TEXT_MAX], line[2 * TEXT_MAX];
    json_t *schemas = mask_walks_schemas();
    while (fgets(line, sizeof line, stdin)) {
        char *at;
        size_t i = (size_t)strtoul(line, &at, 10), n = 0;
        automaton a = { 0 };
        schema *s;
        int32_t node;
        unsigned byte;
        for (at += *at == ' '; n < TEXT_MAX - 1 && sscanf(at, "%2x", &byte) == 1; at += 2) text[n++] = (char)byte;
        mask_walks_compile(schemas, i, &s, &node);
        if (automaton_init(&a, s, NULL) != OK) return 1;
        puts(complete(&a, node, text, n) ? text : "");
        automaton_done(&a);
        schema_free(s);
    }
    json_decref(schemas);
    return ferror(stdout) || fflush(stdout) != 0;
}

int main(int argc, char **argv)
{
    const char *what = argc == 2 ? argv[1] : "";
    if (strcmp(what, "golden") == 0) return golden();
    if (strcmp(what, "steps") == 0) return steps();
    if (strcmp(what, "complete") == 0) return completions();
    fputs("mk_masks: golden, steps or complete\n", stderr);
    return 2;
}
