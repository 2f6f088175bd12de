/* The page for browsers: its files are compiled into the program (src/serve/page/, tools/embed.sh). */
#ifndef FC_SERVE_PAGE_H
#define FC_SERVE_PAGE_H

#include <stddef.h>

typedef struct page_file {
    const char *name;                /* "style.css" */
    const unsigned char *bytes;
    size_t n;
    const char *etag;                /* with its quotes */
} page_file;

extern const page_file page_files[];
extern const size_t page_file_count;
/* The description of the interfaces: one file. */
extern const page_file openapi_files[];
extern const size_t openapi_file_count;

#endif
