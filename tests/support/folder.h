/* What tests ask of a folder that they made. */
#ifndef FC_TESTS_SUPPORT_FOLDER_H
#define FC_TESTS_SUPPORT_FOLDER_H

#include <jansson.h>

/* "dir/name".  The last four answers stay valid. */
const char *folder_at(const char *dir, const char *name);
/* Everything in it, hidden or not. */
int folder_count(const char *dir);
/* The JSON in "dir/name", which must be some.  Owned: json_decref. */
json_t *folder_json(const char *dir, const char *name);

#endif
