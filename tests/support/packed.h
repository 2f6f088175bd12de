/* Test data that is kept compressed. */
#ifndef FC_TESTS_SUPPORT_PACKED_H
#define FC_TESTS_SUPPORT_PACKED_H

#include "base/buf.h"
#include "base/str.h"

/* The content of a file that xz packed (or of a plain one, when the name does not end in .xz).  Ends the test program
 * when that fails: nothing can be tested then.  *out: buf_done. */
void packed_read(buf *out, const char *path);
/* Cuts off the next line (without its newline); false at the end. */
bool packed_line(str *rest, str *line);

#endif
