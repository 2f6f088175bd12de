/* Files: map, read whole, write to a temporary name and rename, list folders. */
#ifndef FC_OS_FILE_H
#define FC_OS_FILE_H

#include "base/buf.h"
#include "base/err.h"

typedef struct file_map {
    const uint8_t *data;   /* NULL for an empty file */
    size_t size;
    uint64_t device, inode;
    int64_t changed;       /* nanoseconds since 1970 when it was last written to */
} file_map;

/* Maps a regular file read-only.  A file that shrinks while mapped is the caller's risk (SIGBUS). */
status file_map_open(file_map *out, const char *path, err *e);
void   file_map_close(file_map *m);
/* Asks the kernel to read ahead of a range. A hint only. */
void   file_map_want(const file_map *m, size_t offset, size_t n);
/* Bytes inside a mapping that are read over and over, all of them: pages of 2 MB, where the file system can and the file was not in memory
 * before.  A hint only. */
void   file_map_steady(const void *p, size_t n);
/* Bytes inside a mapping that will not be read again soon need no memory.  A hint only: they come back from the file. */
void   file_map_drop(const void *p, size_t n);
/* Whether path names this very file, under whatever name. */
bool   file_map_is(const file_map *m, const char *path);

bool   file_exists(const char *path);
bool   file_is_dir(const char *path);
bool   file_is_regular(const char *path);
int64_t file_size(const char *path);   /* -1 when there is none */
/* Whole file or stream (path "-": standard input) into b; b->max is the limit. */
status file_read_all(buf *b, const char *path, err *e);

/* Writes path.tmp-XXXXXX beside path and renames it in file_out_commit; nothing half-written is ever seen
 * under the final name.  file_out_abort (also after an error) removes the temporary. */
typedef struct file_out { int fd; char *path, *tmp; uint64_t written; } file_out;
status file_out_begin(file_out *f, const char *path, err *e);
status file_out_private(file_out *f, err *e);  /* nobody but the owner may read it: before anything is written */
status file_out_write(file_out *f, const void *p, size_t n, err *e);
status file_out_write_at(file_out *f, uint64_t offset, const void *p, size_t n, err *e);
status file_out_commit(file_out *f, err *e);   /* flushes to disk, renames; f is empty afterwards */
void   file_out_abort(file_out *f);            /* fine on an empty f ({.fd = -1} or {0} with NULL path) */

/* Calls fn for every entry of a folder, in byte order of the names; stops at the first failure. */
typedef status (*file_list_fn)(void *user, const char *name, bool is_dir, err *e);
status file_list(const char *dir, file_list_fn fn, void *user, err *e);
/* dir + "/" + name; owned: mem_free; NULL when out of memory. */
char *file_join(const char *dir, const char *name);

#endif
