/* Answers by a script instead of by the model, in a program for tests only: agents send prompts far beyond what the bundled miniature
 * was trained for.  The prompt is read, computed and sampled from as ever; only then the drawn token is replaced.
 *
 * $FACET_TEST_SCRIPT names a JSON file: { "call": text, "answer": text, "other": text }, spellings of special tokens included.  A
 * conversation with tools gets "call", with the result of a call in it "answer", any other "other"; an answer that a schema holds is the
 * model's own. */
#include <stdlib.h>
#include <string.h>

#include "os/file.h"
#include "run/run_int.h"

enum { SCRIPT_MAX = 1 << 20 };

/* Which of the script's texts this request gets. */
static const char *which(const facet_request *r)
{
    size_t i;
    json_t *m;
    if (json_array_size(r->tools) == 0) return "other";
    json_array_foreach(r->messages, i, m) {
        const char *role = json_string_value(json_object_get(m, "role"));
        if (role && strcmp(role, "tool") == 0) return "answer";
    }
    return "call";
}

/* Read again for every token: a script is short, and nothing has to be kept. */
status script_token(const facet_request *r, int32_t *id, err *e)
{
    status st = OK;
    const char *path = getenv("FACET_TEST_SCRIPT"), *text;
    buf bytes, said;
    size_t count = 0;
    int32_t *ids = NULL;
    json_t *script = NULL;
    if (!path || !r->messages || r->format) return OK;
    buf_init(&bytes, SCRIPT_MAX);
    buf_init(&said, SCRIPT_MAX);
    TRY(file_read_all(&bytes, path, e));
    TRY(json_parse(&script, (str){ buf_text(&bytes), bytes.len }, path, true, e));
    text = json_string_value(json_object_get(script, which(r)));
    if (!text) FAIL(e, E_FORMAT, "%s has no \"%s\"", path, which(r));
    TRY(buf_addf(&said, e, "%s%s", r->in_thought ? "<channel|>" : "", text));      /* a prompt may end inside a thought */
    TRY(facet_tokenize(r->model, said.data, said.len, true, &ids, &count, e));
    if ((size_t)r->result.answer_tokens >= count) FAIL(e, E_FORMAT, "%s: \"%s\" does not end the turn", path, which(r));
    *id = ids[r->result.answer_tokens];
out:
    facet_free(ids);
    json_decref(script);
    buf_done(&bytes);
    buf_done(&said);
    return st;
}
