/* GET /openapi.json: openapi.json, compiled in. */
#include "serve/page.h"
#include "serve/server.h"

void openapi_get(server *s, http_call *c)
{
    (void)s;
    http_reply(c, 200, "application/json", (const char *)openapi_files[0].bytes, openapi_files[0].n);
}
