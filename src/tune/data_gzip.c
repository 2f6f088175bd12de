/* gzip, by zlib. */
#include "tune/data_int.h"

#ifdef FC_HAVE_ZLIB

#include <limits.h>
#include <zlib.h>

#include "base/bits.h"

static void *take(void *unused, unsigned count, unsigned size)
{
    (void)unused;
    return mem_array(count, size, MEM_IO);
}

static void give(void *unused, void *p)
{
    (void)unused;
    mem_free(p);
}

static status run(void *state, const uint8_t *in, size_t n, size_t *used, uint8_t *out, size_t room, size_t *made, bool *ended, err *e)
{
    z_stream *z = state;
    unsigned from = (unsigned)MIN(n, (size_t)UINT_MAX), to = (unsigned)MIN(room, (size_t)UINT_MAX);
    z->next_in = (uint8_t *)(uintptr_t)in;
    z->avail_in = from;
    z->next_out = out;
    z->avail_out = to;
    int rc = inflate(z, Z_NO_FLUSH);
    *used = from - z->avail_in;
    *made = to - z->avail_out;
    *ended = rc == Z_STREAM_END;
    if (rc == Z_MEM_ERROR) return err_set(e, E_NOMEM, "could not unpack gzip\nout of memory");
    if (rc == Z_STREAM_END && inflateReset(z) == Z_OK) return OK;
    if (rc == Z_OK || rc == Z_BUF_ERROR) return OK;
    return err_set(e, E_FORMAT, "cannot unpack gzip\n%s", z->msg ? z->msg : "it is damaged");
}

static void done(void *state)
{
    inflateEnd(state);
    mem_free(state);
}

status data_gzip_open(data_unpacker *out, err *e)
{
    z_stream *z = mem_alloc(sizeof *z, MEM_IO);
    if (!z) return err_set(e, E_NOMEM, "could not unpack gzip\nout of memory");
    z->zalloc = take;
    z->zfree = give;
    if (inflateInit2(z, 16 + MAX_WBITS) != Z_OK) {
        mem_free(z);
        return err_set(e, E_NOMEM, "could not unpack gzip\nout of memory");
    }
    *out = (data_unpacker){ z, run, done };
    return OK;
}

#else

status data_gzip_open(data_unpacker *out, err *e)
{
    (void)out;
    return err_set(e, E_UNSUPPORTED, "cannot read gzip\nthis program was built without zlib\nInstall zlib1g-dev and build it again, or unpack the file first.");
}

#endif
