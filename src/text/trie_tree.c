#include "text/trie_tree.h"

#include "base/bits.h"
#include "base/mem.h"

void trie_tree_done(trie_tree *t)
{
    mem_free(t->nodes);
    mem_free(t->ids);
}

int trie_tree_order(const void *a, const void *b)
{
    const trie_tree_piece *x = a, *y = b;
    int c = memcmp(x->s.p, y->s.p, MIN(x->s.n, y->s.n));
    return c ? c : x->s.n != y->s.n ? (x->s.n < y->s.n ? -1 : 1) : (x->id > y->id) - (x->id < y->id);
}

status trie_tree_build(trie_tree *t, const trie_tree_piece *p, size_t n, int skip, err *e)
{
    size_t nodes = 0, ids = 0;
    const trie_tree_piece *last = NULL;
    uint32_t open[TRIE_DEPTH_MAX];
    for (int pass = 0; pass < 2; pass++) {
        if (pass == 1) {
            t->nodes = mem_array(nodes + 1, sizeof *t->nodes, MEM_TEXT);
            t->ids = mem_array(ids + 1, sizeof *t->ids, MEM_TEXT);
            if (!t->nodes || !t->ids) return err_set(e, E_NOMEM, "could not prepare the vocabulary for constrained answers\nout of memory");
        }
        nodes = ids = 0;
        last = NULL;
        for (size_t i = 0; i < n; i++) {
            if (skip >= 0 && (p[i].plain >> skip & 1)) continue;
            size_t same = 0;
            while (last && same < last->s.n && same < p[i].s.n && last->s.p[same] == p[i].s.p[same]) same++;
            if (pass == 1) {
                for (size_t d = same; last && d < last->s.n; d++) t->nodes[open[d]].skip = (uint32_t)nodes;
                for (size_t d = same; d < p[i].s.n; d++) {
                    open[d] = (uint32_t)(nodes + d - same);
                    t->nodes[open[d]] = (trie_node){ .byte = (uint8_t)p[i].s.p[d], .depth = (uint8_t)d, .first = (uint32_t)ids };
                }
                t->nodes[open[p[i].s.n - 1]].count++;
                t->ids[ids] = p[i].id;
            }
            nodes += p[i].s.n - same;
            ids++;
            last = &p[i];
        }
        for (size_t d = 0; pass == 1 && last && d < last->s.n; d++) t->nodes[open[d]].skip = (uint32_t)nodes;
    }
    t->count = (uint32_t)nodes;
    t->nodes[nodes].first = (uint32_t)ids;
    for (int b = 0; b < 256; b++) t->roots[b] = t->count;
    for (uint32_t i = 0; i < t->count; i = t->nodes[i].skip) t->roots[t->nodes[i].byte] = i;
    return OK;
}
