/* What the files of Ollama's dialect share. */
#ifndef FC_SERVE_OLLAMA_H
#define FC_SERVE_OLLAMA_H

#include "serve/server.h"

enum { OLLAMA_NAME_MAX = SERVER_NAME_MAX + 8, OLLAMA_TIME_MAX = 48 };

/* The model's name with a tag, "gemma:latest" or "gemma:ADAPTER": names in this dialect have one.  adapter "": none. */
void ollama_name(const server *s, const char *adapter, char out[OLLAMA_NAME_MAX]);
/* Now, as "2026-01-01T00:00:00.000000Z". */
void ollama_time(char out[OLLAMA_TIME_MAX]);
/* "model", or "name" as older clients have it. */
bool ollama_check_model(server *s, const json_t *body, char adapter[SERVER_ADAPTER_MAX], refusal *r);

#endif
