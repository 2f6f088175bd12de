/* A schema's nodes as an automaton over bytes: which byte may come next in a value.
 *
 * A thread is one way of reading the bytes so far: what it is inside of (a frame and its parents) and how far it is in a
 * string, number, literal or key.  Several threads run at once where anyOf leaves a choice open.  Every thread can be
 * completed: what could not end well is never begun.  Frames are shared and never change. */
#ifndef FC_TEXT_AUTOMATON_H
#define FC_TEXT_AUTOMATON_H

#include "text/schema.h"

enum { AUTOMATON_THREADS_MAX = 48, AUTOMATON_FRAMES_MAX = 1 << 15 };

/* An open object or array; frame 0 is outside of all. */
typedef struct automaton_frame {
    uint32_t parent;
    int32_t node;
    uint32_t count;            /* ARRAY: items begun; OBJECT in order: first property that may still come */
    uint32_t depth;
    uint64_t used[2];          /* OBJECT in any order */
} automaton_frame;

typedef enum automaton_mode {
    AUTOMATON_VALUE,           /* a value of node comes */
    AUTOMATON_LITERAL,         /* in one of the texts lo .. hi of node, `at` bytes of it read */
    AUTOMATON_STRING,          /* in a string of node, behind its first quote */
    AUTOMATON_NUMBER,
    AUTOMATON_KEY,             /* a key of the frame comes */
    AUTOMATON_DECLARED,        /* in one of the declared keys lo .. hi (of by_text), `at` bytes of it read */
    AUTOMATON_OTHER_KEY,       /* in a quoted key that is not declared; lo .. hi (of by_name) begin alike */
    AUTOMATON_BARE_KEY,        /* the same without quotes */
    AUTOMATON_COLON,           /* behind such a key */
    AUTOMATON_AFTER,           /* behind a value */
    AUTOMATON_CLOSE            /* the frame is empty and must end */
} automaton_mode;

/* Where a string is in a character: nothing, a UTF-8 sequence, an escape. */
enum { AUTOMATON_PLAIN = 0, AUTOMATON_UTF8 = 1 /* + bytes that are missing, 1..3 */, AUTOMATON_ESCAPE = 8, AUTOMATON_HEX = 9 /* .. 12: digits read */,
       AUTOMATON_PAIR = 13 /* \ of the second half */, AUTOMATON_PAIR_U, AUTOMATON_PAIR_HEX /* .. 18 */ };

typedef struct automaton_thread {
    uint32_t frame;
    int32_t node;
    uint8_t mode, inside, size /* bytes of the UTF-8 sequence */, unused;
    uint32_t lo, hi, at;       /* STRING: state of the pattern, -, code points read */
    uint32_t code;             /* of an unfinished character */
    uint32_t high;             /* first half of a pair */
    digits number;
} automaton_thread;

typedef struct automaton_state { int32_t count; automaton_thread threads[AUTOMATON_THREADS_MAX]; } automaton_state;

typedef struct automaton {
    const schema *s;
    automaton_frame *frames; uint32_t frame_count;
    uint32_t *heads, *next;    /* frames by hash */
    int64_t steps;             /* threads and alternatives that were looked at so far */
} automaton;

status automaton_init(automaton *a, const schema *s, err *e);
void   automaton_done(automaton *a);
/* A value of node, or one of its calls, comes. */
void   automaton_begin(automaton *a, int32_t node, automaton_state *out);
/* out->count 0: the byte may not come.  in and out differ. */
void   automaton_step(automaton *a, const automaton_state *in, unsigned char b, automaton_state *out);
/* Sets the bits of bytes that may come next, and perhaps of others. */
typedef struct automaton_bytes { uint64_t bits[4]; } automaton_bytes;
void   automaton_first(const automaton *a, const automaton_state *x, automaton_bytes *set);
/* The value may end here. */
bool   automaton_complete(const automaton *a, const automaton_state *x);
/* A key comes, and it need not be a declared one. */
bool   automaton_key_is_open(const automaton *a, const automaton_thread *t);
/* Forgets frames that were made since the mark. */
static inline uint32_t automaton_mark(const automaton *a) { return a->frame_count; }
void   automaton_reset(automaton *a, uint32_t mark);
/* Keeps only what these states need; their frames get new numbers. */
void   automaton_collect(automaton *a, automaton_state **states, int32_t n);
/* A byte that brings a thread nearer to its end; 0: it is complete.  Following it always ends. */
unsigned char automaton_closing_byte(const automaton *a, const automaton_thread *t);
/* True when the whole text is a value of node.  *left: how many threads and alternatives may be looked at, NULL: any number; what was
 * taken goes off it, and below 0 the answer is false for want of them. */
bool   automaton_accepts(automaton *a, int32_t node, str text, int64_t *left);

#endif
