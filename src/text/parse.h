/* Gemma 4's output, from token ids: thought, answer, tool calls (serving.md section 4).  One state machine for
 * streaming and not; every token ends in exactly one of answer, thought, call or structure; O(n). */
#ifndef FC_TEXT_PARSE_H
#define FC_TEXT_PARSE_H

#include "base/buf.h"
#include "base/json.h"
#include "text/tok.h"

typedef enum parse_event_kind { PARSE_THOUGHT, PARSE_ANSWER, PARSE_CALL } parse_event_kind;
typedef struct parse_event {
    parse_event_kind kind;
    str text;                 /* thought or answer text, whole characters; borrowed during the callback */
    str name;                 /* call: the function's name */
    str json;                 /* call: the arguments as compact JSON, numbers as the model wrote them */
    json_t *arguments;        /* call: the same as an object, integers beyond 64 bits as in chat_value.h; borrowed */
    int32_t index;            /* call: 0, 1, ... in order of appearance */
} parse_event;
typedef status (*parse_fn)(void *user, const parse_event *ev, err *e);

typedef enum parse_finish { PARSE_OPEN, PARSE_STOP, PARSE_TOOL_CALLS, PARSE_LENGTH } parse_finish;

/* Where the tokens went.  A call that cannot be read is answer. */
typedef struct parse_counts { size_t answer, thought, call, structure; } parse_counts;

typedef struct parser parser;
typedef struct parser_opts {
    bool in_thought;              /* the prompt ended inside an open thought */
    const char *const *tools;     /* declared names (borrowed until parser_free), or NULL: any name */
    size_t tool_count;
} parser_opts;
/* *out owned: parser_free.  t and the options' names are borrowed.  opts may be NULL. */
status parser_new(parser **out, const tok *t, const parser_opts *o, parse_fn fn, void *user, err *e);
void   parser_free(parser *p);
/* One token of output.  What follows an end token is ignored. */
status parser_token(parser *p, int32_t id, err *e);
/* The end: stopped by a stop token or, when cut, by the length limit. Flushes what is held. */
status parser_end(parser *p, bool cut, parse_finish *finish, err *e);
/* Inside a thought, its header read.  A thought was opened, by the prompt too. */
bool   parser_in_thought(const parser *p);
bool   parser_had_thought(const parser *p);
const char *parser_warning(const parser *p);      /* what was malformed, or NULL */
const parse_counts *parser_counts(const parser *p);
const char *parse_finish_name(parse_finish f);    /* "stop", "tool_calls", "length", "open" */
/* True when the prompt's last ids leave a thought open. */
bool   parse_prompt_opens_thought(const tok *t, const int32_t *ids, size_t n);

#endif
