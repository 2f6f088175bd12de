/* One HTTP request on its way through the engine: its answers are collected, and given out in pieces or whole by the dialect
 * that the request came in.  Everything runs on the event loop's thread. */
#ifndef FC_SERVE_JOB_H
#define FC_SERVE_JOB_H

#include "serve/ask.h"
#include "serve/server.h"

typedef struct job job;

/* One of the answers of a job; what has come of it so far. */
typedef struct job_answer {
    job *job;
    int index;
    turn *turn;
    buf thought, text;
    json_t *calls;                   /* list of { "id", "name", "arguments": text } */
    json_t *logprobs;                /* list of OpenAI's entries; pieces of a stream take them out again */
    int32_t prompt_tokens, cached_tokens;
    int32_t prompt_done, tokens;     /* of the prompt, of the answer: computed so far */
    facet_result result;
    bool done;
} job_answer;

typedef struct dialect {
    const char *stream_type;         /* "text/event-stream", "application/x-ndjson" */
    /* A stream's first bytes: the prompt is being read.  NULL: nothing. */
    void (*begin)(job *j);
    /* A stream's next piece.  text: of THOUGHT or ANSWER.  call: an entry of a->calls. */
    void (*thought)(job *j, job_answer *a, str text);
    void (*text)(job *j, job_answer *a, str text);
    void (*call)(job *j, job_answer *a, const json_t *call);
    /* An answer of a stream is complete; all are. */
    void (*answered)(job *j, job_answer *a);
    void (*end)(job *j);
    void (*ping)(job *j);
    /* The stream cannot go on; it ends after this. */
    void (*broken)(job *j, const refusal *r);
    /* Everything at once.  The result is taken. */
    json_t *(*whole)(job *j);
    void (*refuse)(http_call *c, const refusal *r);
    const char *call_prefix;         /* "call_" */
} dialect;

struct job {
    server *s;
    job *next, **prev;               /* s->jobs */
    http_call *call;                 /* NULL: the client has left */
    const dialect *d;
    ask ask;
    char id[48];
    char model[SERVER_NAME_MAX];     /* as the answer names it */
    uint64_t scope;                  /* whose it is: gate_scope */
    int64_t created;                 /* seconds since 1970 */
    double started;                  /* clock_seconds */
    job_answer *answers;
    int count, left;
    bool begun, broken;
    refusal why;                     /* of a failure */
    struct event *ping, *patience;
    json_t *extra;                   /* the dialect's: owned */
    int step[8];                     /* the dialect's counters */
};

/* Takes the ask (ask_done is not needed any more) and answers the call, at once when it must be refused.  The texts that
 * a->s borrows must live until it returns.  extra may be NULL. */
void job_start(server *s, http_call *c, const dialect *d, ask *a, const char *id_prefix, json_t *extra);

/* ---- for dialects ------------------------------------------------------------------------------------------ */

/* One event of a stream: data as JSON, which is taken; NULL breaks the stream as out of memory.  event: its name or NULL.  In NDJSON a line. */
void job_send(job *j, const char *event, json_t *data);
void job_send_raw(job *j, const char *text);
/* "stop", "length", "tool_calls". */
const char *job_finish_name(const job_answer *a);
bool job_has_calls(const job_answer *a);
/* Tokens of all prompts and answers; those of thoughts are among the answers'. */
typedef struct job_usage { int64_t prompt, cached, answer, thought; } job_usage;
job_usage job_count(const job *j);
json_t *job_text(const buf *b);
/* Puts remembered thoughts into a conversation whose client did not send them back; job_start does it too. */
bool job_recall(server *s, const http_call *c, ask *a, refusal *r);
/* Since the job began. */
double job_seconds(const job *j);
/* How many tokens the prompt number i of an ask has. */
bool job_count_prompt(server *s, const ask *a, size_t i, size_t *count, refusal *r);

#endif
