/* JSON Schemas as nodes that text/automaton walks, for JSON and for Gemma 4's call syntax.
 *
 * What holds at one place is a set of schemas that must all be true (a schema, what its $ref and allOf name, a property of
 * each of them), so sets are compiled, each once: that gives allOf, $ref with siblings and recursion one meaning.  anyOf
 * and oneOf split a set into one per alternative.  A keyword that is not enforced is named, never silently dropped. */
#ifndef FC_TEXT_SCHEMA_H
#define FC_TEXT_SCHEMA_H

#include "base/buf.h"
#include "text/digits.h"
#include "text/regex.h"

typedef enum schema_syntax { SCHEMA_JSON, SCHEMA_CALL } schema_syntax;

/* In texts of the call syntax, stands for the token <|"|>: a byte that UTF-8 never has. */
#define SCHEMA_QUOTE '\xFF'

enum { SCHEMA_NONE = -1, SCHEMA_DEPTH_MAX = 60, SCHEMA_BYTES_MAX = 256 << 10, SCHEMA_NEVER_HEIGHT = 1 << 20,
       SCHEMA_ANY_ORDER_MAX = 128 /* properties of an object that may come in any order */,
       SCHEMA_NODES_MAX = 30000 /* more than five for each of 5,000 properties that may be null */,
       SCHEMA_WORK_MAX = 4000000 /* steps of ten nanoseconds or less on a processor of 2023: less than 50 ms */ };

typedef enum schema_kind { SCHEMA_UNION, SCHEMA_LITERALS, SCHEMA_STRING, SCHEMA_NUMBER, SCHEMA_ARRAY, SCHEMA_OBJECT,
    SCHEMA_CALLS               /* one of its properties, "call:NAME", then its node */
} schema_kind;

typedef struct schema_property {
    str text;                  /* as it is written, with its colon: "name": or name: */
    str name;
    int32_t node;
    bool required;
} schema_property;

typedef struct schema_node {
    schema_kind kind;
    int32_t height;            /* levels of brackets that its smallest value needs; SCHEMA_NEVER_HEIGHT: it has none */
    int32_t first, count;      /* UNION: of kids; LITERALS: of texts, sorted; OBJECT: of properties; ARRAY: of kids, the prefix */
    int32_t rest;              /* OBJECT: node of further properties; ARRAY: of further items; SCHEMA_NONE: there are none.
                                * LITERALS: what each of them must also be, until compiling ends */
    uint32_t min, max;         /* STRING: code points; ARRAY: items; max UINT32_MAX: no limit */
    int32_t pattern;           /* STRING: of patterns, or SCHEMA_NONE */
    digits_range range;        /* NUMBER */
    bool any_order;            /* OBJECT; of calls, unless it has too many properties */
} schema_node;

typedef struct schema {
    schema_syntax syntax;
    schema_node *nodes; int32_t node_count, node_cap;
    int32_t *kids; int32_t kid_count, kid_cap;
    str *texts; int32_t text_count, text_cap;
    schema_property *props; int32_t prop_count, prop_cap;
    int32_t *by_text, *by_name;        /* [prop_count] of each object: its properties (from its first) sorted */
    int32_t *next_required;            /* [prop_count]: first required property at or after this one, or the count */
    regex **patterns; int32_t pattern_count, pattern_cap;
    void **owned; int32_t owned_count, owned_cap;
    buf unenforced;                    /* names of keywords, separated by ", " */
    int64_t work, pattern_bytes;       /* what compiling took so far, all roots together: steps, bytes of patterns' tables */
} schema;

/* *out owned: schema_free. */
status schema_new(schema **out, schema_syntax syntax, err *e);
void   schema_free(schema *s);
/* Compiles one more root: a value that json describes.  object: it must be an object.  *node: its node.
 * E_ARG: no valid schema, or one that no value fits; E_UNSUPPORTED: too large, or it and the roots before it would take more than
 * SCHEMA_WORK_MAX steps; json is not needed afterwards. */
status schema_add(schema *s, const json_t *json, bool object, int32_t *node, err *e);
/* Lets a few more steps be taken, for a small root in place of one that was too large. */
void   schema_allow_more(schema *s);
/* One of n calls: call:NAME and its arguments (call syntax).  arguments[i]: nodes of objects. */
status schema_add_calls(schema *s, const str *names, const int32_t *arguments, int32_t n, int32_t *node, err *e);
/* The names of keywords that were met and are not enforced: "not, if"; "" when all are. */
const char *schema_unenforced(const schema *s);
/* Appends a key with its colon, or v, as the syntax writes it. */
status schema_print_key(buf *out, schema_syntax syntax, str name, err *e);
status schema_print(buf *out, schema_syntax syntax, const json_t *v, err *e);

#endif
