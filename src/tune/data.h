/* Training data: files of rows become documents (token ids, each with whether it is trained), the documents an order for every epoch
 * (and, in data_group.h, the documents of a step micro-batches).
 *
 * A conversation is rendered by the code that serves it.  For each answer j that is trained there is one context: the generation
 * prompt that inference would build from the messages before it.  The answer's own tokens follow, up to the token that
 * ends it (<turn|>, or <|tool_response> after calls).  Answers share a document exactly where the next one's context goes on from what the
 * document has so far, token by token; otherwise (the empty thought of the large models, thoughts of earlier turns) each has its own.
 * So what is trained is what serving shows.
 *
 * Rows that cannot be used are kept in a list with file, line and reason; nothing is left out without being counted.  Files are
 * hostile.  This opens no model and prints nothing. */
#ifndef FC_TUNE_DATA_H
#define FC_TUNE_DATA_H

#include "text/chat.h"
#include "text/tok.h"

enum {
    DATA_ROW_MAX = 16 << 20,       /* bytes of one row */
    DATA_MESSAGES_MAX = 4096,      /* messages of one conversation */
    DATA_LENGTH_MIN = 16, DATA_LENGTH_MAX = 1 << 20,
    DATA_BUCKETS = 21              /* of the histogram: lengths 1, 2-3, 4-7, ... */
};
#define DATA_BYTES_MAX ((int64_t)1 << 40)       /* of one file, unpacked */
#define DATA_TOKENS_MAX ((int64_t)1 << 36)      /* of all files */

typedef enum data_form {
    DATA_UNKNOWN, DATA_MESSAGES, DATA_SHAREGPT, DATA_ALPACA, DATA_COMPLETION /* prompt and completion */, DATA_TEXT,
    DATA_PREFERENCE /* chosen and rejected */, DATA_FORMS
} data_form;
const char *data_form_name(data_form f);        /* "messages", "ShareGPT", ... */

/* Thinking as inference would have it: on where a trained answer of the row has a thought, unless the row says so itself. */
typedef enum data_think { DATA_THINK_AUTO, DATA_THINK_OFF, DATA_THINK_ON } data_think;

typedef struct data_source { const char *path; double weight; } data_source;   /* weight: how often an epoch has its rows; > 0, at most 100 */

typedef struct data_opts {
    chat_variant variant;
    data_think think;
    bool thoughts_are_context;     /* thoughts are shown, but not trained */
    bool pairs;                    /* the files must hold chosen and rejected answers; without it they must not */
    bool strings_are_chat;         /* prompt and completion as texts: a question and its answer, not a text and how it goes on */
    int32_t max_length;            /* tokens of a document */
    int64_t bad_max;               /* rows that may be skipped before it is an error */
    double held_out;               /* share of the rows, 0: none; never any under 50 rows */
    uint64_t seed;                 /* of the split and the order */
} data_opts;

typedef enum data_side { DATA_ALONE, DATA_CHOSEN, DATA_REJECTED } data_side;

/* One sequence.  Its first token is never trained. */
typedef struct data_doc {
    int64_t begin;                 /* of ids and target in the set */
    int32_t n, targets;
    int32_t file;                  /* index of the source */
    int32_t turns_cut;             /* turns left out of the context */
    int64_t line;                  /* of the row, from 1 */
    int64_t example;
    data_side side;
} data_doc;

/* What is drawn as one: the documents of a row (of a long text: each piece). */
typedef struct data_example { int64_t first, count /* documents */; int64_t row; int32_t file; bool held_out; } data_example;

typedef struct data_bad { int32_t file; int64_t line; char *reason; } data_bad;

typedef struct data_report {
    int64_t rows;                  /* used ones, of all files */
    int64_t examples, docs, tokens, targets, longest /* tokens */;
    int64_t held_out_rows, held_out_docs;
    int64_t docs_cut, turns_cut;   /* documents whose context lost turns, and how many */
    int64_t texts_split;           /* texts longer than a document */
    int64_t thoughts_moved;        /* written into an answer's text; now its thought */
    int64_t thoughts_dropped;      /* of rows that are trained without thinking */
    int64_t answers_untrained;     /* context only: switched off by the row, or a part of its prompt */
    int64_t histogram[DATA_BUCKETS];   /* documents by length: bucket k has 2^k to 2^(k+1) - 1 tokens, the last one more too */
} data_report;

typedef struct data_file { char *path; double weight; data_form form; int64_t rows, bad, docs, tokens; } data_file;

typedef struct data_set {
    data_opts opts;
    data_file *files; int32_t file_count;
    int32_t *ids; uint8_t *target; int64_t tokens, token_cap;
    data_doc *docs; int64_t doc_count, doc_cap;
    data_example *examples; int64_t example_count, example_cap;
    data_bad *bad; int64_t bad_count, bad_cap;
    data_report report;
    uint64_t fingerprint;          /* of documents, targets and split: equal for equal data */
} data_set;

/* Reads all files.  *out owned: data_free.  E_FORMAT when more than bad_max rows cannot be used, when none is left, or when a
 * file is not what its beginning says; E_UNSUPPORTED for a packing that this build cannot read. */
status data_load(data_set **out, const data_source *sources, int32_t count, const tok *t, const data_opts *o, err *e);
/* The same for the bytes of one file; name is for messages. */
status data_load_memory(data_set **out, const char *name, str bytes, const tok *t, const data_opts *o, err *e);
void   data_free(data_set *d);

static inline const int32_t *data_ids(const data_set *d, int64_t doc) { return d->ids + d->docs[doc].begin; }
static inline const uint8_t *data_target(const data_set *d, int64_t doc) { return d->target + d->docs[doc].begin; }

/* ---- order ------------------------------------------------------------------------------------------- */

/* Every epoch has each trained example of a file as often as the file's weight says (a fraction: some of them, drawn anew), in an order
 * that seed and epoch decide. */
typedef struct data_order data_order;
typedef struct data_place { int64_t epoch, at; } data_place;   /* what a checkpoint keeps: epochs from 0, examples of the epoch already given */
/* *out owned: data_order_free; d is borrowed. */
status data_order_new(data_order **out, const data_set *d, err *e);
void   data_order_free(data_order *o);
int64_t data_order_examples(const data_order *o);              /* of one epoch */
data_place data_order_place(const data_order *o);
/* E_ARG for a place that the data does not have. */
status data_order_seek(data_order *o, data_place p, err *e);
/* The next examples, at most `most`, never of two epochs: *examples (borrowed until the next call) has *n >= 1 of them. */
void   data_order_next(data_order *o, int64_t most, const int64_t **examples, int64_t *n);

/* ---- looking at it ------------------------------------------------------------------------------------ */

/* A document as text; pieces in order, trained and untrained in turn.  Both owned: data_shown_done. */
typedef struct data_piece { size_t begin, end; bool trained; } data_piece;
typedef struct data_shown { buf text; data_piece *pieces; size_t count; } data_shown;
status data_show(data_shown *out, const data_set *d, int64_t doc, const tok *t, err *e);
void   data_shown_done(data_shown *s);

#endif
