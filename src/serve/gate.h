/* Who may ask: keys, and which Host and Origin a request may carry.  No sockets here. */
#ifndef FC_SERVE_GATE_H
#define FC_SERVE_GATE_H

#include "serve/head.h"

enum { GATE_KEY_MAX = 256, GATE_KEYS_MAX = 1024 };

typedef struct gate gate;

/* host: what the server listens on; a loopback address brings the Host rule.  *out owned: gate_free. */
status gate_new(gate **out, const char *host, err *e);
void   gate_free(gate *a);
/* 8 to 256 printable characters. */
status gate_add_key(gate *a, const char *key, err *e);
/* One key per line; empty lines and those that begin with # are skipped.  The file must not be readable by others. */
status gate_read_keys(gate *a, const char *path, err *e);
/* An origin besides those of this machine whose pages may ask: "https://chat.example.org". */
status gate_add_origin(gate *a, const char *origin, err *e);
bool   gate_is_loopback(const char *host);
size_t gate_keys(const gate *a);

/* The number of the request's key, from 0; 0 too when no key is needed; -1: it has none that is right.  Takes the same time
 * whichever key it is and however much of it is right. */
int    gate_key(const gate *a, const head *h);
/* Whose request it is, the same number for the same key as long as the server runs; 0 when no key is needed. */
uint64_t gate_scope(const gate *a, const head *h);
/* The Host field names this machine.  A page that an attacker's DNS points here does not (DNS rebinding). */
bool   gate_host(const gate *a, const head *h);
/* The Origin field is absent or welcome. */
bool   gate_origin(const gate *a, const head *h);

#endif
