/* A folder that one process at a time has for itself: nobody else on the machine may read it, and no second program works in it. */
#ifndef FC_OS_OWN_DIR_H
#define FC_OS_OWN_DIR_H

#include "base/err.h"
#include "base/sip.h"

typedef struct own_dir {
    char *path;
    int lock;                   /* of the file "lock" in it; the system lets go of it when the process ends, however it ends */
    sip_key secret;             /* of this folder, made when it is first used */
} own_dir;

/* Makes the folder, mode 0700, when it is not there (not the folders above it).  E_ARG: others may read it, or it is another user's;
 * E_BUSY: another process works in it.  *out: own_dir_close. */
status own_dir_open(own_dir *out, const char *path, err *e);
void   own_dir_close(own_dir *d);      /* fine on an empty one, { .lock = -1 } */

#endif
