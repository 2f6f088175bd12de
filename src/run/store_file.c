/* One file of the store: written and read in one go, both through the checksum. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/bits.h"
#include "run/store.h"

static const uint8_t magic[8] = "FACETPC1";

/* Bytes on their way to or from a file. */
typedef struct stream { store *s; int fd; bool out; sip check; } stream;

static status move_bytes(stream *f, void *p, size_t n, err *e)
{
    for (uint8_t *at = p; n;) {
        ssize_t done = f->out ? write(f->fd, at, n) : read(f->fd, at, n);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return err_set(e, E_IO, "could not %s the cache\n%s", f->out ? "write" : "read", strerror(errno));
        if (done == 0) return err_set(e, E_FORMAT, "cannot use a file of the cache\nit is cut short");
        at += done;
        n -= (size_t)done;
    }
    return OK;
}

static status move_checked(void *user, void *p, size_t n, err *e)
{
    stream *f = user;
    if (atomic_load(&f->s->abort)) return err_set(e, E_CANCELLED, "the cache's file was left");
    if (f->out) sip_add(&f->check, p, n);
    status st = move_bytes(f, p, n, e);
    if (!f->out && st == OK) sip_add(&f->check, p, n);
    return st;
}

uint64_t store_file_bytes(const store *s, const gemma_state *state)
{
    return sizeof(store_header) + (uint64_t)state->length * (sizeof(int32_t) + gemma_page_row_bytes(s->x)) +
           (uint64_t)(state->length - state->first) * gemma_state_row_bytes(s->x) + sizeof(uint64_t);
}

status store_check_header(const store *s, const store_header *h, uint64_t bytes, bool *of_model, err *e)
{
    const char *cannot = "cannot use a file of the cache";
    if (memcmp(h->magic, magic, sizeof magic) != 0) return err_set(e, E_FORMAT, "%s\nit is no such file, or of another version", cannot);
    if (h->check != sip_hash(&s->dir.secret, h, offsetof(store_header, check))) return err_set(e, E_FORMAT, "%s\nits header is damaged, or of another folder", cannot);
    if (h->bytes != bytes) return err_set(e, E_FORMAT, "%s\nit has %llu bytes and should have %llu", cannot, (unsigned long long)bytes, (unsigned long long)h->bytes);
    *of_model = h->model == s->model;
    if (!*of_model) return OK;
    bool possible = h->state.length > 0 && h->state.first >= 0 && h->state.first <= h->state.length && h->kind >= 0 && h->kind < 4;
    if (!possible || store_file_bytes(s, &h->state) != bytes) return err_set(e, E_FORMAT, "%s\nits header is impossible", cannot);
    return OK;
}

/* Pages and windows, in file order. */
static status move_rows(stream *f, err *e)
{
    status st = OK;
    const store_job *j = &f->s->job;
    int32_t n = j->state.length;
    for (int32_t at = 0; at < n; at += GEMMA_PAGE)
        TRY(gemma_page_move(f->s->x, j->pages[at / GEMMA_PAGE], MIN(n - at, (int32_t)GEMMA_PAGE), f->out, move_checked, f, e));
    TRY(gemma_state_move(f->s->x, j->place, n - j->state.first, f->out, move_checked, f, e));
out:
    return st;
}

status store_write_file(store *s, int fd, err *e)
{
    status st = OK;
    store_job *j = &s->job;
    stream f = { .s = s, .fd = fd, .out = true };
    store_header h = { .model = s->model, .scope = sip_hash(&s->dir.secret, &j->scope, sizeof j->scope), .name = j->name,
                       .anchor = store_hash(s, 0, j->ids, store_anchor(j->state.length)), .state = j->state, .kind = j->kind,
                       .bytes = store_file_bytes(s, &j->state) };
    memcpy(h.magic, magic, sizeof magic);
    h.check = sip_hash(&s->dir.secret, &h, offsetof(store_header, check));
    sip_begin(&f.check, &s->dir.secret);
    TRY(move_checked(&f, &h, sizeof h, e));
    TRY(move_checked(&f, j->ids, (size_t)j->state.length * sizeof *j->ids, e));
    TRY(move_rows(&f, e));
    uint64_t check = sip_end(f.check);
    TRY(move_bytes(&f, &check, sizeof check, e));
out:
    return st;
}

/* The tokens before the others: they say whether the rest is wanted. */
static status compare(stream *f, const int32_t *wanted, int32_t n, int32_t least, err *e)
{
    store_job *j = &f->s->job;
    int32_t piece[256], same = 0;
    bool differs = false;
    for (int32_t at = 0, part; at < j->state.length; at += part) {
        part = MIN(j->state.length - at, (int32_t)COUNT_OF(piece));
        status st = move_checked(f, piece, (size_t)part * sizeof *piece, e);
        if (st != OK) return st;
        for (int32_t i = 0; i < part && !differs; i++) {
            differs = at + i >= n || piece[i] != wanted[at + i];
            same += !differs;
        }
        memcpy(j->ids + at, piece, (size_t)part * sizeof *piece);
    }
    return same >= least ? OK : err_set(e, E_CANCELLED, "the file of the cache holds other tokens");
}

status store_read_file(store *s, int fd, err *e)
{
    status st = OK;
    store_job *j = &s->job;
    store_header h;
    uint64_t check;
    bool of_model;
    stream f = { .s = s, .fd = fd };
    off_t size = lseek(fd, 0, SEEK_END);
    if (size < 0 || lseek(fd, 0, SEEK_SET) < 0) FAIL(e, E_IO, "could not read the cache\n%s", strerror(errno));
    sip_begin(&f.check, &s->dir.secret);
    TRY(move_checked(&f, &h, sizeof h, e));
    TRY(store_check_header(s, &h, (uint64_t)size, &of_model, e));
    if (!of_model || h.name != j->name || h.scope != sip_hash(&s->dir.secret, &j->scope, sizeof j->scope))
        FAIL(e, E_FORMAT, "cannot use a file of the cache\nits name belongs to another one");
    int32_t least = gemma_state_least(s->x, &h.state);
    if (!least || (h.state.length + GEMMA_PAGE - 1) / GEMMA_PAGE != j->count) FAIL(e, E_FORMAT, "cannot use a file of the cache\nits window is impossible");
    j->state = h.state;
    j->kind = h.kind;
    TRY(compare(&f, j->ids, j->wanted, least, e));
    TRY(move_rows(&f, e));
    TRY(move_bytes(&f, &check, sizeof check, e));
    if (check != sip_end(f.check)) FAIL(e, E_FORMAT, "cannot use a file of the cache\nits checksum is wrong");
out:
    return st;
}
