/* Folders: made, removed, and filled under another name until they are complete. */
#ifndef FC_OS_DIR_H
#define FC_OS_DIR_H

#include "base/err.h"

/* Makes the folder when it is not there; the one above it must be. */
status dir_make(const char *path, err *e);
/* Removes a folder and what is in it; fine when there is none.  Does not follow links.  What cannot be removed stays. */
void   dir_remove(const char *path);

/* A folder that comes into being as a whole.  Files go to d.tmp, beside path; dir_out_commit gives them their place. */
typedef struct dir_out { char *path, *tmp; } dir_out;
status dir_out_begin(dir_out *d, const char *path, err *e);
/* names: the files that were written, NULL at the end.  A new folder gets its name at once.  In one that is there already the files
 * take the place of those with their names, and the last one, without which nobody takes the others for complete, is away meanwhile.
 * d is empty afterwards. */
status dir_out_commit(dir_out *d, const char *const *names, err *e);
void   dir_out_abort(dir_out *d);      /* removes what was written; fine on an empty one, {0} */

#endif
