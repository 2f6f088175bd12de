/* A file's bytes from its beginning to its end, unpacked where needed; nothing of it is kept. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/bits.h"
#include "tune/data_int.h"

enum { IN_BYTES = 1 << 16, OUT_BYTES = 1 << 18 };
/* Text packs 3 to 20 times.  What swells more than this is not data, and could fill any disk or memory. */
enum { SWELL_MAX = 400, SWELL_FREE = 64 << 20 };

struct data_stream {
    char *name;
    int fd;                        /* -1: memory */
    str memory;                    /* what is left of it */
    uint8_t *in, *out;
    size_t from, to;               /* in[from..to) is not used yet */
    bool packed, inside /* a frame is open */, full /* the last output was: there may be more of the same input */;
    data_unpacker unpacker;
    int64_t taken, made;           /* bytes */
};

static status fill(data_stream *s, err *e)
{
    ssize_t n = 0;
    s->from = s->to = 0;
    if (s->fd < 0) {
        n = (ssize_t)MIN(s->memory.n, (size_t)IN_BYTES);
        if (n) memcpy(s->in, s->memory.p, (size_t)n);
        s->memory = str_skip(s->memory, (size_t)n);
    } else {
        do n = read(s->fd, s->in, IN_BYTES); while (n < 0 && errno == EINTR);
        if (n < 0) return err_set(e, E_IO, "could not read \"%s\"\n%s", s->name, strerror(errno));
    }
    s->to = (size_t)n;
    s->taken += n;
    return OK;
}

/* Reads the first bytes and chooses. */
static status look(data_stream *s, err *e)
{
    status st = OK;
    TRY(fill(s, e));
    bool gzip = s->to >= 3 && memcmp(s->in, "\x1F\x8B\x08", 3) == 0, zstd = s->to >= 4 && memcmp(s->in, "\x28\xB5\x2F\xFD", 4) == 0;
    if (gzip) TRY(data_gzip_open(&s->unpacker, e));
    if (zstd) TRY(data_zstd_open(&s->unpacker, e));
    s->packed = gzip || zstd;
out:
    if (st != OK) err_wrap(e, "\"%s\"", s->name);
    return st;
}

static status start(data_stream **out, const char *name, int fd, str memory, err *e)
{
    status st = OK;
    data_stream *s = mem_alloc(sizeof *s, MEM_IO);
    if (!s) {
        if (fd >= 0) close(fd);
        return err_set(e, E_NOMEM, "could not read \"%s\"\nout of memory", name);
    }
    s->fd = fd;
    s->memory = memory;
    s->name = mem_strdup(name, strlen(name), MEM_IO);
    s->in = mem_alloc(IN_BYTES, MEM_IO);
    s->out = mem_alloc(OUT_BYTES, MEM_IO);
    if (!s->name || !s->in || !s->out) FAIL(e, E_NOMEM, "could not read \"%s\"\nout of memory", name);
    TRY(look(s, e));
    *out = s;
    s = NULL;
out:
    data_stream_close(s);
    return st;
}

status data_stream_open(data_stream **out, const char *path, err *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return err_set(e, E_IO, "could not open \"%s\"\n%s\nCheck the name.", path, strerror(errno));
    return start(out, path, fd, (str){ NULL, 0 }, e);
}

status data_stream_memory(data_stream **out, const char *name, str bytes, err *e) { return start(out, name, -1, bytes, e); }

void data_stream_close(data_stream *s)
{
    if (!s) return;
    if (s->fd >= 0) close(s->fd);
    if (s->unpacker.free) s->unpacker.free(s->unpacker.state);
    mem_free(s->name);
    mem_free(s->in);
    mem_free(s->out);
    mem_free(s);
}

static status check_size(const data_stream *s, err *e)
{
    if (s->made > DATA_BYTES_MAX)
        return err_set(e, E_FORMAT, "cannot use \"%s\"\nit holds more than %lld GiB of text", s->name, (long long)(DATA_BYTES_MAX >> 30));
    if (s->packed && s->made > SWELL_FREE && s->made / SWELL_MAX > s->taken)
        return err_set(e, E_FORMAT, "cannot use \"%s\"\nits %lld bytes unpack to more than %d times as much, which no text does", s->name,
                       (long long)s->taken, (int)SWELL_MAX);
    return OK;
}

static status unpack(data_stream *s, str *out, err *e)
{
    status st = OK;
    size_t made = 0, used = 0;
    while (!made) {
        bool ended = false, more = s->full;
        if (s->from == s->to && !more) {
            TRY(fill(s, e));
            if (!s->to && s->inside) FAIL(e, E_FORMAT, "cannot unpack \"%s\"\nit is cut short", s->name);
            if (!s->to) goto out;
        }
        st = s->unpacker.run(s->unpacker.state, s->in + s->from, s->to - s->from, &used, s->out, OUT_BYTES, &made, &ended, e);
        if (st != OK) err_wrap(e, "\"%s\"", s->name);
        TRY(st);
        s->from += used;
        s->inside = !ended;
        s->full = made == OUT_BYTES && !ended;
        if (!used && !made && !ended && !more) FAIL(e, E_FORMAT, "cannot unpack \"%s\"\nit is damaged", s->name);
    }
    *out = (str){ (const char *)s->out, made };
out:
    return st;
}

status data_stream_next(data_stream *s, str *out, err *e)
{
    status st = OK;
    *out = (str){ "", 0 };
    if (s->packed) {
        TRY(unpack(s, out, e));
    } else {
        if (s->from == s->to) TRY(fill(s, e));
        *out = (str){ (const char *)s->in + s->from, s->to - s->from };
        s->from = s->to;
    }
    s->made += (int64_t)out->n;
    TRY(check_size(s, e));
out:
    return st;
}
