/* Formats as patterns: what they let through is valid, though not all that is valid is let through. */
#include "base/bits.h"
#include "text/schema_int.h"

#define DATE "(([0-9]{4}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8])))" \
             "|([0-9]{2}(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)-02-29)"
#define TIME "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
#define LABEL "[A-Za-z0-9]([A-Za-z0-9]|-[A-Za-z0-9]){0,30}"
#define HOST LABEL "(\\." LABEL "){0,3}"
#define BYTE "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
#define V4 BYTE "\\." BYTE "\\." BYTE "\\." BYTE
#define H16 "[0-9A-Fa-f]{1,4}"
#define PATH "([A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*"

static const struct { const char *name, *pattern; } formats[] = {
    { "date-time", "^" DATE "T" TIME "$" },
    { "date", "^" DATE "$" },
    { "time", "^" TIME "$" },
    { "duration", "^P([0-9]{1,9}W|[0-9]{1,9}Y([0-9]{1,9}M([0-9]{1,9}D)?)?|[0-9]{1,9}M([0-9]{1,9}D)?|[0-9]{1,9}D"
                  "|([0-9]{1,9}D)?T([0-9]{1,9}H([0-9]{1,9}M([0-9]{1,9}S)?)?|[0-9]{1,9}M([0-9]{1,9}S)?|[0-9]{1,9}S))$" },
    { "email", "^[A-Za-z0-9_+-]{1,32}(\\.[A-Za-z0-9_+-]{1,16}){0,1}@" HOST "$" },
    { "hostname", "^" HOST "$" },
    { "ipv4", "^" V4 "$" },
    { "ipv6", "^((" H16 ":){7}" H16 "|::|::" H16 "(:" H16 "){0,5}|" H16 "::(" H16 "(:" H16 "){0,4})?|" H16 ":" H16 "::(" H16 "(:" H16 "){0,3})?"
              "|" H16 "(:" H16 "){2}::(" H16 "(:" H16 "){0,2})?|::ffff:" V4 ")$" },
    { "uuid", "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$" },
    { "uri", "^[A-Za-z][A-Za-z0-9+.-]*:(//" HOST "(:[1-9][0-9]{0,3})?(/" PATH ")?|[A-Za-z0-9._~+-]" PATH ")(\\?" PATH ")?(#" PATH ")?$" },
};

const char *schema_format(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(formats); i++)
        if (strcmp(formats[i].name, name) == 0) return formats[i].pattern;
    return NULL;
}
