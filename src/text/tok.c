/* The vocabulary: pieces, their texts and kinds, the table of merges. */
#include "text/tok_int.h"

#include <stddef.h>

#include "base/bits.h"
#include "base/hash.h"
#include "base/utf8.h"

/* The special tokens of section 4.3.  shown: the kind is USER_DEFINED, as llama.cpp's converter sets it, so that
 * decoded output still has the token and the parser sees it; a tokenizer.json does not tell the two apart. */
static const struct { const char *piece; size_t at; bool shown; } NAMED[] = {
#define S(piece, field, shown) { piece, offsetof(tok_special, field), shown }
    S("<pad>", pad, false), S("<eos>", eos, false), S("<bos>", bos, false), S("<unk>", unk, false), S("<mask>", mask, false),
    S("<|tool>", tool, false), S("<tool|>", tool_end, false), S("<|tool_call>", tool_call, true), S("<tool_call|>", tool_call_end, true),
    S("<|tool_response>", tool_response, true), S("<tool_response|>", tool_response_end, true), S("<|\"|>", quote, true),
    S("<|think|>", think, false), S("<|channel>", channel, true), S("<channel|>", channel_end, true),
    S("<|turn>", turn, false), S("<turn|>", turn_end, false), S("<|image|>", image, false), S("<|image>", image_begin, false),
    S("<image|>", image_end, false), S("<|audio|>", audio, false), S("<|audio>", audio_begin, false), S("<audio|>", audio_end, false),
    S("<|video|>", video, false),
#undef S
};

static const char SPACE[] = "\xE2\x96\x81";   /* U+2581 stands for a space */

status tok_begin(tok **out, uint64_t count, err *e)
{
    status st = OK;
    tok *t = NULL;
    if (count < 1 || count > TOK_COUNT_MAX)
        FAIL(e, E_FORMAT, "cannot use this vocabulary\nit has %llu tokens, allowed are 1 to %d", (unsigned long long)count, (int)TOK_COUNT_MAX);
    size_t slots = 16;
    while (slots < count * 2) slots *= 2;
    t = mem_alloc(sizeof *t, MEM_TEXT);
    if (!t) FAIL(e, E_NOMEM, "could not make the tokenizer\nout of memory");
    t->count = (int32_t)count;
    buf_init(&t->blob, UINT32_MAX);
    t->piece_at = mem_array(count, sizeof *t->piece_at, MEM_TEXT);
    t->text_at = mem_array(count, sizeof *t->text_at, MEM_TEXT);
    t->piece_n = mem_array(count, sizeof *t->piece_n, MEM_TEXT);
    t->text_n = mem_array(count, sizeof *t->text_n, MEM_TEXT);
    t->kind = mem_array(count, 1, MEM_TEXT);
    t->index = mem_array(slots, sizeof *t->index, MEM_TEXT);
    t->index_mask = (uint32_t)(slots - 1);
    t->pairs = mem_alloc((1 << TOK_PAIR_BITS) / 8, MEM_TEXT);
    if (!t->piece_at || !t->text_at || !t->piece_n || !t->text_n || !t->kind || !t->index || !t->pairs)
        FAIL(e, E_NOMEM, "could not make the tokenizer\nout of memory");
    memset(t->ascii, 0xFF, sizeof t->ascii);
    memset(t->byte, 0xFF, sizeof t->byte);
    memset(&t->special, 0xFF, sizeof t->special);
    *out = t;
    t = NULL;
out:
    tok_free(t);
    return st;
}

void tok_free(tok *t)
{
    if (!t) return;
    buf_done(&t->blob);
    mem_free(t->piece_at);
    mem_free(t->text_at);
    mem_free(t->piece_n);
    mem_free(t->text_n);
    mem_free(t->kind);
    mem_free(t->index);
    mem_free(t->merges);
    mem_free(t->result);
    mem_free(t->pairs);
    mem_free(t);
}

status tok_set(tok *t, int32_t id, str piece, tok_kind kind, err *e)
{
    if (piece.n > TOK_PIECE_MAX)
        return err_set(e, E_FORMAT, "cannot use this vocabulary\ntoken %d is %zu bytes long, allowed are %d", id, piece.n, (int)TOK_PIECE_MAX);
    t->piece_at[id] = (uint32_t)t->blob.len;
    t->piece_n[id] = (uint16_t)piece.n;
    t->kind[id] = (uint8_t)kind;
    return buf_add(&t->blob, piece.p, piece.n, e);
}

int32_t tok_count(const tok *t) { return t->count; }
const tok_special *tok_specials(const tok *t) { return &t->special; }

static bool in_range(const tok *t, int32_t id) { return id >= 0 && id < t->count; }

bool tok_is_control(const tok *t, int32_t id)
{
    return in_range(t, id) && (t->kind[id] == TOK_CONTROL || t->kind[id] == TOK_UNKNOWN);
}

bool tok_is_special(const tok *t, int32_t id)
{
    return tok_is_control(t, id) || (in_range(t, id) && t->kind[id] == TOK_USER_DEFINED);
}

bool tok_is_end(const tok *t, int32_t id)
{
    return id >= 0 && (id == t->special.turn_end || id == t->special.eos || id == t->special.tool_response);
}

str tok_piece(const tok *t, int32_t id)
{
    return in_range(t, id) ? (str){ buf_text(&t->blob) + t->piece_at[id], t->piece_n[id] } : STR("");
}

str tok_bytes(const tok *t, int32_t id)
{
    return in_range(t, id) ? (str){ buf_text(&t->blob) + t->text_at[id], t->text_n[id] } : STR("");
}

/* ---- spelling -> id --------------------------------------------------------------------------- */

/* The slot with this spelling, or the empty one where it belongs; at most half of them are full. */
static uint32_t *slot_of(const tok *t, str piece)
{
    uint64_t h = hash_bytes(piece.p, piece.n, 0);
    uint32_t tag = (uint32_t)(h >> 56) << 24;
    for (uint32_t i = (uint32_t)h & t->index_mask;; i = (i + 1) & t->index_mask) {
        uint32_t v = t->index[i];
        if (!v) return &t->index[i];
        if ((v & 0xFF000000u) == tag && str_eq(tok_piece(t, (int32_t)(v & 0xFFFFFF) - 1), piece)) return &t->index[i];
    }
}

int32_t tok_find(const tok *t, str piece)
{
    if (piece.n == 0) return -1;
    return (int32_t)(*slot_of(t, piece) & 0xFFFFFF) - 1;
}

/* A spelling that occurs twice belongs to the later id, as in llama.cpp and in a Python dict. */
static void index_pieces(tok *t)
{
    for (int32_t id = 0; id < t->count; id++) {
        str piece = tok_piece(t, id);
        if (piece.n == 0) continue;
        uint64_t h = hash_bytes(piece.p, piece.n, 0);
        *slot_of(t, piece) = (uint32_t)(h >> 56) << 24 | (uint32_t)(id + 1);
        if (piece.n == 1 && (unsigned char)piece.p[0] < 128 && t->kind[id] != TOK_BYTE) t->ascii[(int)piece.p[0]] = id;
    }
}

/* ---- texts and special tokens ----------------------------------------------------------------- */

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The byte of "<0x41>", or -1. */
static int byte_of(str p)
{
    if (p.n != 6 || memcmp(p.p, "<0x", 3) != 0 || p.p[5] != '>') return -1;
    int hi = hex_digit(p.p[3]), lo = hex_digit(p.p[4]);
    return hi < 0 || lo < 0 ? -1 : hi * 16 + lo;
}

static void name_specials(tok *t)
{
    for (size_t i = 0; i < COUNT_OF(NAMED); i++) {
        int32_t id = tok_find(t, str_from(NAMED[i].piece));
        memcpy((char *)&t->special + NAMED[i].at, &id, sizeof id);
        if (id < 0) continue;
        t->kind[id] = (uint8_t)(id == t->special.unk ? TOK_UNKNOWN : NAMED[i].shown ? TOK_USER_DEFINED : TOK_CONTROL);
    }
}

/* Remembers how special tokens begin and how long they are, which is all that the search for them needs. */
static status note_special(tok *t, str piece, err *e)
{
    t->special_first[(unsigned char)piece.p[0]] = true;
    int i = 0;
    while (i < t->special_lengths && t->special_n[i] > piece.n) i++;
    if (i < t->special_lengths && t->special_n[i] == piece.n) return OK;
    if (t->special_lengths == TOK_LENGTHS_MAX)
        return err_set(e, E_FORMAT, "cannot use this vocabulary\nits special tokens have more than %d different lengths", (int)TOK_LENGTHS_MAX);
    memmove(&t->special_n[i + 1], &t->special_n[i], (size_t)(t->special_lengths - i) * sizeof t->special_n[0]);
    t->special_n[i] = (uint16_t)piece.n;
    t->special_lengths++;
    return OK;
}

/* Text of a normal piece: its spelling with U+2581 as spaces, stored only when that differs. */
static status set_text(tok *t, int32_t id, err *e)
{
    status st = OK;
    str piece = tok_piece(t, id);
    char text[TOK_PIECE_MAX];
    size_t n = 0;
    int byte = t->kind[id] == TOK_NORMAL || t->kind[id] == TOK_BYTE ? byte_of(piece) : -1;
    t->text_at[id] = t->piece_at[id];
    t->text_n[id] = t->piece_n[id];
    if (byte >= 0) {
        t->kind[id] = TOK_BYTE;
        t->byte[byte] = id;
        text[n++] = (char)byte;
    } else {
        if (t->kind[id] == TOK_BYTE) t->kind[id] = TOK_NORMAL;
        if (t->kind[id] != TOK_NORMAL || str_find(piece, STR("\xE2\x96\x81")) == piece.n) return OK;
        for (size_t i = 0; i < piece.n;) {
            bool space = piece.n - i >= 3 && memcmp(piece.p + i, SPACE, 3) == 0;
            text[n++] = space ? ' ' : piece.p[i];
            i += space ? 3 : 1;
        }
    }
    t->text_at[id] = (uint32_t)t->blob.len;
    t->text_n[id] = (uint16_t)n;
    TRY(buf_add(&t->blob, text, n, e));
out:
    return st;
}

status tok_seal(tok *t, err *e)
{
    status st = OK;
    index_pieces(t);
    name_specials(t);
    for (int32_t id = 0; id < t->count; id++) {
        TRY(set_text(t, id, e));
        if (tok_is_special(t, id) && t->piece_n[id]) TRY(note_special(t, tok_piece(t, id), e));
    }
out:
    return st;
}

/* ---- merges ----------------------------------------------------------------------------------- */

static uint32_t pair_hash(uint32_t a, uint32_t b)
{
    return (uint32_t)(((uint64_t)a << 32 | b) * 0x9E3779B97F4A7C15u >> 32);
}

status tok_merges_begin(tok *t, uint64_t count, err *e)
{
    if (count > 1u << 26) return err_set(e, E_FORMAT, "cannot use this vocabulary\nit has %llu merges", (unsigned long long)count);
    size_t slots = 16;
    while (slots < count + count / 4) slots *= 2;
    mem_free(t->merges);
    mem_free(t->result);
    t->merge_count = 0;
    t->merges = mem_array(slots, sizeof *t->merges, MEM_TEXT);
    t->result = mem_array(count, sizeof *t->result, MEM_TEXT);
    if (!t->merges || !t->result) return err_set(e, E_NOMEM, "could not make the tokenizer\nout of memory");
    t->merge_mask = (uint32_t)(slots - 1);
    t->merge_cap = (uint32_t)count;
    return OK;
}

static tok_merge *merge_slot(const tok *t, int32_t left, int32_t right)
{
    uint32_t l = (uint32_t)left + 1, r = (uint32_t)right;
    for (uint32_t i = pair_hash(l, r) & t->merge_mask;; i = (i + 1) & t->merge_mask) {
        tok_merge *m = &t->merges[i];
        if (!m->left || (m->left == l && m->right == r)) return m;
    }
}

uint32_t tok_merge_rank(const tok *t, int32_t left, int32_t right)
{
    if (!t->merges) return UINT32_MAX;
    const tok_merge *m = merge_slot(t, left, right);
    return m->left ? m->rank : UINT32_MAX;
}

uint64_t *tok_pair_word(const tok *t, uint32_t a, uint32_t b, uint64_t *bit)
{
    uint32_t h = pair_hash(a, b) >> (32 - TOK_PAIR_BITS);
    *bit = (uint64_t)1 << (h & 63);
    return &t->pairs[h >> 6];
}

static uint32_t last_code_point(str s)
{
    uint32_t cp = 0;
    size_t i = s.n;
    while (i > 0 && ((unsigned char)s.p[i - 1] & 0xC0) == 0x80 && s.n - i < 3) i--;
    if (i > 0) i--;
    return utf8_decode(s.p + i, s.n - i, &cp) ? cp : 0;
}

void tok_merge_add(tok *t, str left, str right)
{
    char whole[2 * TOK_PIECE_MAX];
    if (left.n > TOK_PIECE_MAX || right.n > TOK_PIECE_MAX || !left.n || !right.n || t->merge_count == t->merge_cap) return;
    memcpy(whole, left.p, left.n);
    memcpy(whole + left.n, right.p, right.n);
    int32_t l = tok_find(t, left), r = tok_find(t, right), w = tok_find(t, (str){ whole, left.n + right.n });
    if (l < 0 || r < 0 || w < 0 || tok_is_special(t, w)) return;   /* plain text never becomes a special token */
    tok_merge *m = merge_slot(t, l, r);
    if (m->left) return;
    *m = (tok_merge){ .left = (uint32_t)l + 1, .right = (uint32_t)r, .rank = t->merge_count };
    t->result[t->merge_count++] = (uint32_t)w;
    uint32_t first = 0;
    uint64_t bit;
    utf8_decode(right.p, right.n, &first);
    uint64_t *word = tok_pair_word(t, last_code_point(left), first, &bit);
    *word |= bit;
}
