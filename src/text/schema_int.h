/* Between the files that compile schemas. */
#ifndef FC_TEXT_SCHEMA_INT_H
#define FC_TEXT_SCHEMA_INT_H

#include "text/schema.h"

enum { SCHEMA_SET_MAX = 256, SCHEMA_TEXT_MAX = 4 << 20, SCHEMA_PATTERN_BYTES_MAX = 32 << 20 /* of patterns' tables */ };

/* Steps of SCHEMA_WORK_MAX for what is done for each of something; measured with schemas that have many of it. */
enum { SCHEMA_COST_PART = 8, SCHEMA_COST_SET = 40, SCHEMA_COST_KEYWORD = 16, SCHEMA_COST_UNKNOWN = 150, SCHEMA_COST_PROPERTY = 150, SCHEMA_COST_TEXT = 50,
       SCHEMA_COST_PATTERN = 2000, SCHEMA_COST_THREAD = 6 };

/* A schema of a set, and what of it has been dealt with. */
enum { SCHEMA_FLAT = 1, SCHEMA_ANYOF_DONE = 2, SCHEMA_ONEOF_DONE = 4, SCHEMA_ENUM_DONE = 8 };
typedef struct schema_part { const json_t *json; int flags; } schema_part;

typedef struct schema_set { schema_part *parts; int32_t count; } schema_set;

typedef struct schema_compiler {
    schema *s;
    const json_t *root;
    schema_set *sets;            /* [node]: what node base + i was asked for; NULL parts for nodes without one */
    int32_t base, set_cap, kid_base, prop_base;      /* kids and properties of the roots before */
    int32_t *index; int32_t index_mask;     /* hash of a set -> node + 1 */
    err *e;
} schema_compiler;

/* So much work is done now; E_UNSUPPORTED: it would be too much. */
status schema_spend(schema_compiler *c, int64_t steps);
/* The two values are equal as JSON Schema sees it: 1 is 1.0.  What comparing them takes is added to *steps. */
bool schema_equal(const json_t *a, const json_t *b, int64_t *steps);
/* The node of a set (parts are copied), compiled later. */
status schema_want(schema_compiler *c, const schema_part *parts, int32_t n, int32_t *node);
/* A new node; *node its number. */
status schema_node_new(schema_compiler *c, schema_node n, int32_t *node);
status schema_kid(schema_compiler *c, int32_t kid);
status schema_text(schema_compiler *c, str text);
/* A copy that lives as long as the schema. */
status schema_keep(schema_compiler *c, str text, str *out);
status schema_note(schema_compiler *c, const char *keyword);
/* Makes room for one more of n items. */
status schema_grow(void *array, int32_t n, int32_t *cap, size_t size, err *e);

/* What is left when a set has no $ref, allOf, anyOf, oneOf any more (schema_shape.c). */
status schema_shape(schema_compiler *c, int32_t node, const schema_part *parts, int32_t n);
/* A format's pattern; NULL: not known (schema_format.c). */
const char *schema_format(const char *name);
/* Heights, dead properties, literals that break another rule; E_ARG: root has no value (schema_finish.c). */
status schema_finish(schema_compiler *c, int32_t root);

#endif
