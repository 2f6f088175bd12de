/* Zstandard, by libzstd. */
#include "tune/data_int.h"

#ifdef FC_HAVE_ZSTD

#include <zstd.h>

static status run(void *state, const uint8_t *in, size_t n, size_t *used, uint8_t *out, size_t room, size_t *made, bool *ended, err *e)
{
    ZSTD_inBuffer from = { in, n, 0 };
    ZSTD_outBuffer to = { out, room, 0 };
    size_t rc = ZSTD_decompressStream(state, &to, &from);
    *used = from.pos;
    *made = to.pos;
    *ended = rc == 0;
    if (ZSTD_isError(rc)) return err_set(e, E_FORMAT, "cannot unpack zstd\n%s", ZSTD_getErrorName(rc));
    return OK;
}

static void done(void *state) { ZSTD_freeDStream(state); }

status data_zstd_open(data_unpacker *out, err *e)
{
    ZSTD_DStream *z = ZSTD_createDStream();
    if (!z) return err_set(e, E_NOMEM, "could not unpack zstd\nout of memory");
    *out = (data_unpacker){ z, run, done };
    return OK;
}

#else

status data_zstd_open(data_unpacker *out, err *e)
{
    (void)out;
    return err_set(e, E_UNSUPPORTED, "cannot read zstd\nthis program was built without libzstd\nInstall libzstd-dev and build it again, or unpack the file first.");
}

#endif
