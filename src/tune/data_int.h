/* Between the files that read training data: bytes, rows, conversations, documents. */
#ifndef FC_TUNE_DATA_INT_H
#define FC_TUNE_DATA_INT_H

#include "base/json.h"
#include "tune/data.h"

/* ---- bytes (data_stream.c, data_gzip.c, data_zstd.c) -------------------------------------------------- */

/* One packing, as a stream.  run: takes some of in, makes some of out (never nothing of both while both have room, unless it
 * ended); *ended: a whole frame is complete, and what follows would be a new one. */
typedef struct data_unpacker {
    void *state;
    status (*run)(void *state, const uint8_t *in, size_t n, size_t *used, uint8_t *out, size_t room, size_t *made, bool *ended, err *e);
    void (*free)(void *state);
} data_unpacker;
status data_gzip_open(data_unpacker *out, err *e);      /* E_UNSUPPORTED, with the package's name, where this build lacks the library */
status data_zstd_open(data_unpacker *out, err *e);

/* A file's bytes, unpacked when its first bytes say that it is packed. */
typedef struct data_stream data_stream;
status data_stream_open(data_stream **out, const char *path, err *e);
status data_stream_memory(data_stream **out, const char *name, str bytes, err *e);   /* bytes are borrowed */
void   data_stream_close(data_stream *s);
/* The next bytes, borrowed until the next call; none at the end.  E_FORMAT for a packed file that is damaged, cut short or swells
 * beyond reason. */
status data_stream_next(data_stream *s, str *out, err *e);

/* ---- rows (data_rows.c) ------------------------------------------------------------------------------- */

typedef struct data_rows data_rows;
/* bad: why the row cannot even be read as JSON (constant text), or NULL. */
typedef struct data_row { str text; int64_t line; const char *bad; } data_row;
status data_rows_new(data_rows **out, data_stream *s, const char *name, err *e);     /* s, name: borrowed */
void   data_rows_free(data_rows *r);
/* *have false at the end.  row->text is borrowed until the next call. */
status data_rows_next(data_rows *r, data_row *row, bool *have, err *e);

/* ---- conversations (data_shape.c, data_talk.c) -------------------------------------------------------- */

/* What a row says, in one form: a conversation whose messages are as chat_render takes them, each answer that is not trained with
 * "train": false; or a text. */
typedef struct data_talk {
    data_side side;
    json_t *messages, *tools;      /* owned; tools may be NULL */
    bool last_only;                /* only the last message is trained */
    size_t least_cut;              /* turns that are left out from the start, at least */
    int think;                     /* -1: the row does not say */
    bool preserve_thinking;
    json_t *before, *text;         /* owned; a text (then messages is NULL), and what stands before it and is not trained, or NULL */
} data_talk;
void data_talk_done(data_talk *t);

json_t *data_talk_copy(const json_t *object);      /* owned, with the same members; NULL out of memory */

data_form data_shape_of(const json_t *row);
/* The one or two (chosen, rejected) talks of a row of that form; out[0..*count): data_talk_done each, also after an error.
 * E_FORMAT, E_ARG, E_UNSUPPORTED say why the row cannot be used. */
status data_shape_read(data_talk out[2], int *count, const json_t *row, data_form form, const data_opts *o, data_report *r, err *e);

/* A list of messages as people write them, checked, in the form that inference renders; what changes is counted in *r. */
status data_talk_messages(json_t **out, const json_t *given, data_report *r, err *e);
status data_talk_tools(json_t **out, const json_t *given, err *e);       /* *out NULL for none */

/* ---- documents (data_render.c, data.c) ---------------------------------------------------------------- */

typedef struct data_builder {
    data_set *set;
    const tok *tok;
    int32_t file;
    int64_t line, row;
    data_report *report;           /* of this row */
} data_builder;
bool   data_render_thinks(const data_talk *t, data_think think);         /* whether it is rendered with thinking */
/* Appends the documents of a talk.  Errors as data_shape_read's; what was appended then is the caller's to take back. */
status data_render_talk(data_builder *b, const data_talk *t, err *e);
/* Appends one document as part of the example that is last; targets > 0. */
status data_add_doc(data_builder *b, const int32_t *ids, const uint8_t *target, size_t n, data_side side, int32_t turns_cut, err *e);
/* Begins an example. */
status data_add_example(data_builder *b, err *e);
/* n lots in an order that seed, epoch and purpose decide (data_order.c); a value stays with its lot. */
typedef struct data_lot { uint64_t key; int64_t value, at; } data_lot;
void data_order_draw(data_lot *lots, int64_t n, uint64_t seed, int64_t epoch, uint64_t purpose);
/* A list of *cap items of that size has room for `more` beyond `count`. */
status data_reserve(void *list, int64_t *cap, int64_t count, int64_t more, size_t size, err *e);

#endif
