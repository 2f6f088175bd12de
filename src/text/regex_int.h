/* Between reading a pattern (regex_parse.c) and making its automaton (regex.c). */
#ifndef FC_TEXT_REGEX_INT_H
#define FC_TEXT_REGEX_INT_H

#include "text/regex.h"

enum { REGEX_NODES_MAX = 20000, REGEX_RANGES_MAX = 8192, CODE_POINTS = 0x110000 };

typedef enum regex_kind { REGEX_SET, REGEX_SPLIT, REGEX_BEGIN, REGEX_END, REGEX_MATCH } regex_kind;
typedef struct regex_node { regex_kind kind; int32_t a, b; uint32_t first, count; /* ranges of a set */ } regex_node;
typedef struct regex_range { uint32_t lo, hi; } regex_range;

/* A nondeterministic automaton: edges a and b, -1 none. */
typedef struct regex_graph {
    regex_node *nodes; int32_t node_count, node_cap;
    regex_range *ranges; uint32_t range_count, range_cap;
    int32_t start, steps;        /* steps: what reading took */
    int32_t rest, rest_set;      /* the loop over any text behind the pattern, and its set */
} regex_graph;

status regex_parse(regex_graph *g, str pattern, err *e);
void   regex_graph_done(regex_graph *g);

#endif
