#include "cmd/convert.h"

#include <stdio.h>
#include <string.h>

dtype convert_type(const args *a, const char *option)
{
    dtype t = DTYPE_COUNT;
    if (args_text(a, option)) dtype_by_name(args_text(a, option), &t);
    return t;
}

/* "blk.0.attn_q.weight" without what all have. */
const char *convert_kind(int place, char out[WEIGHT_NAME_CAP])
{
    if (place == WEIGHT_PLACES) return "(others)";
    weight_names_gguf((weight_place)place, 0, out);
    char *begin = weight_names_per_layer((weight_place)place) ? out + strlen("blk.0.") : out, *end = strstr(begin, ".weight");
    if (end) *end = '\0';
    return begin;
}

const char *convert_types(uint64_t mask, char *out, size_t cap)
{
    size_t n = 0;
    out[0] = '\0';
    for (int t = 0; t < DTYPE_COUNT; t++)
        if (mask >> t & 1 && n < cap) n += (size_t)snprintf(out + n, cap - n, "%s%s", n ? ", " : "", dtype_of((dtype)t)->name);
    return out;
}

json_t *convert_types_json(uint64_t mask)
{
    json_t *list = json_array();
    for (int t = 0; t < DTYPE_COUNT; t++)
        if (mask >> t & 1) json_array_append_new(list, json_string(dtype_of((dtype)t)->name));
    return list;
}

status convert_print(json_t *o, err *e)
{
    bool printed = o && json_dumpf(o, stdout, JSON_INDENT(2)) == 0;
    if (printed) putchar('\n');
    json_decref(o);
    return printed ? OK : err_set(e, E_NOMEM, "could not print the report\nout of memory or the output is closed");
}
