/* Checking answers field by field. */
#ifndef FC_TESTS_CONTRACT_H
#define FC_TESTS_CONTRACT_H

#include "support/client.h"
#include "support/test.h"

/* The member of a key that is a part of a text, or NULL. */
static inline const json_t *contract_member(const json_t *o, str key)
{
    char name[128];
    if (key.n >= sizeof name) return NULL;
    memcpy(name, key.p, key.n);
    name[key.n] = '\0';
    return json_object_get(o, name);
}

/* Exactly these keys, separated by spaces, in any order. */
static inline void contract_keys(const json_t *o, const char *keys)
{
    size_t n = 0;
    str rest = str_from(keys), key;
    if (!json_is_object(o)) fail_msg("no object with the keys %s", keys);
    while (str_split(&rest, ' ', &key)) {
        n++;
        if (!contract_member(o, key)) fail_msg("no \"%.*s\" in: %s", (int)key.n, key.p, json_dumps(o, 0));
    }
    if (json_object_size(o) != n) fail_msg("more than %s in: %s", keys, json_dumps(o, 0));
}

static inline const char *contract_text(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    if (!s) fail_msg("no text \"%s\" in: %s", key, json_dumps(o, JSON_ENCODE_ANY));
    return s;
}

static inline int contract_int(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    if (!json_is_integer(v)) fail_msg("no integer \"%s\" in: %s", key, json_dumps(o, JSON_ENCODE_ANY));
    return (int)json_integer_value(v);
}

/* POST of JSON that must be answered with 200. Owned. */
static inline json_t *contract_post(int port, const char *path, const char *body)
{
    int code = 0;
    json_t *v = client_post(port, path, body, &code);
    if (code != 200 || !v) fail_msg("%s: %d: %s", path, code, v ? json_dumps(v, JSON_ENCODE_ANY) : "no JSON");
    return v;
}

#endif
