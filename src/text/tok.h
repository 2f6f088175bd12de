/* Gemma 4's tokenizer: BPE over code points with byte fallback (file-formats section 4).  Read-only once made, so any
 * thread may use it.  Special tokens are found by their spelling, so small vocabularies with other ids work too. */
#ifndef FC_TEXT_TOK_H
#define FC_TEXT_TOK_H

#include "base/buf.h"
#include "base/json.h"
#include "base/str.h"
#include "fmt/gguf.h"

typedef struct tok tok;

enum { TOK_COUNT_MAX = 1 << 22, TOK_PIECE_MAX = 512 /* bytes of one vocabulary entry */ };

/* Ids of the special tokens the program needs by name; -1 when the vocabulary lacks one. */
typedef struct tok_special {
    int32_t pad, eos, bos, unk, mask, tool, tool_end, tool_call, tool_call_end, tool_response, tool_response_end, quote, think,
            channel, channel_end, turn, turn_end, image, image_begin, image_end, audio, audio_begin, audio_end, video;
} tok_special;

/* *out owned: tok_free; everything is copied.  Merges are regenerated when the file has none (section 4.1).
 * E_FORMAT for a malformed vocabulary, E_UNSUPPORTED for another kind of tokenizer, by name. */
status tok_from_gguf(tok **out, const gguf_file *g, err *e);
status tok_from_json(tok **out, const json_t *tokenizer_json, err *e);
void   tok_free(tok *t);
/* The keys tokenizer.* of a GGUF file whose tokenizer is the same as tok_from_json's (tok_write.c), its chat template aside.  count: rows of the
 * token table; ids that the vocabulary lacks are filled up.  eos: ids that end an answer. */
status tok_write_gguf(gguf_writer *w, const json_t *tokenizer_json, int32_t count, const int32_t *eos, int32_t eos_count, err *e);

int32_t tok_count(const tok *t);
const tok_special *tok_specials(const tok *t);
bool    tok_is_control(const tok *t, int32_t id);    /* CONTROL or UNKNOWN: nothing when decoded normally */
bool    tok_is_special(const tok *t, int32_t id);    /* any of the special tokens, USER_DEFINED too */
/* True for the ids that end an answer: <turn|>, <eos>, <|tool_response>. */
bool    tok_is_end(const tok *t, int32_t id);
str     tok_piece(const tok *t, int32_t id);         /* the vocabulary's own spelling; borrowed; empty for a wrong id */
int32_t tok_find(const tok *t, str piece);           /* exact vocabulary entry, or -1 */
/* Bytes the token stands for in text (special tokens: their spelling); borrowed, at most TOK_PIECE_MAX. */
str     tok_bytes(const tok *t, int32_t id);

/* Growing list of ids. */
typedef struct tok_ids { int32_t *data; size_t len, cap; } tok_ids;  /* {0} is empty */
void   tok_ids_done(tok_ids *ids);
status tok_ids_add(tok_ids *ids, int32_t id, err *e);

/* Appends the ids of the text.  special: spellings of special tokens in it are recognised; otherwise they are
 * ordinary text.  BOS is never added here.  Bytes that are not UTF-8 become byte tokens. O(n log n). */
status tok_encode(const tok *t, str text, bool special, tok_ids *out, err *e);
/* The same; special tokens are recognised only where their whole spelling lies in one of the ranges, which are in
 * order and do not overlap.  Text on both sides of a range's border is still merged. */
typedef struct tok_range { size_t begin, end; } tok_range;
status tok_encode_ranges(const tok *t, str text, const tok_range *special, size_t n, tok_ids *out, err *e);

/* Streaming decoder: never gives half a character. */
typedef struct tok_decoder { char held[4]; int held_n; bool special; } tok_decoder;   /* {0}; special: print control tokens too */
status tok_decode(const tok *t, tok_decoder *d, int32_t id, buf *out, err *e);   /* appends what is complete */
status tok_decode_bytes(tok_decoder *d, str bytes, buf *out, err *e);             /* the same for bytes */
status tok_decode_end(tok_decoder *d, buf *out, err *e);                          /* an unfinished character becomes U+FFFD */

#endif
