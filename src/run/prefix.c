#include "run/prefix.h"

#include <string.h>

#include "base/bits.h"
#include "os/clock.h"

enum { ROOT = 0, PAGE = GEMMA_PAGE };

/* ---- the tree ------------------------------------------------------------------------------------ */

status prefix_layout(prefix *p, const gemma_ctx_opts *o, arena *a, err *e)
{
    status st = OK;
    int32_t nodes = o->states ? o->pages + 1 : 1;
    TRY(arena_array(a, &p->nodes, nodes, e));
    TRY(arena_take(a, &p->tokens, (size_t)nodes * PAGE, sizeof *p->tokens, e));
    TRY(arena_array(a, &p->checkpoints, o->states, e));
    TRY(arena_array(a, &p->path, (o->ctx + PAGE - 1) / PAGE, e));
out:
    return st;
}

void prefix_start(prefix *p, gemma_ctx *model, const gemma_ctx_opts *o)
{
    p->model = model;
    p->count = o->states;
    p->chance = 0x9e3779b97f4a7c15;
    for (int32_t i = o->states ? o->pages : 0; i > 0; i--) {
        p->nodes[i].next = p->free_node;
        p->free_node = i;
    }
}

static int32_t *tokens_of(const prefix *p, int32_t node) { return p->tokens + (size_t)node * PAGE; }

static int32_t end_of(const prefix *p, int32_t node) { return p->nodes[node].at + p->nodes[node].count; }

static int32_t common(const int32_t *a, const int32_t *b, int32_t n)
{
    int32_t i = 0;
    while (i < n && a[i] == b[i]) i++;
    return i;
}

static bool is_child(const prefix *p, int32_t node, int32_t parent, uint64_t scope) { return parent != ROOT || p->nodes[node].scope == scope; }

static void unlink_node(prefix *p, int32_t node)
{
    int32_t *link = &p->nodes[p->nodes[node].parent].child;
    while (*link != node) link = &p->nodes[*link].next;
    *link = p->nodes[node].next;
    gemma_page_drop(p->model, p->nodes[node].page);
    p->nodes[node] = (prefix_node){ .next = p->free_node };
    p->free_node = node;
    p->held--;
}

/* Nodes that lead nowhere any more. */
static void prune(prefix *p, int32_t node)
{
    while (node != ROOT && !p->nodes[node].child && !p->nodes[node].checkpoints) {
        int32_t parent = p->nodes[node].parent;
        unlink_node(p, node);
        node = parent;
    }
}

static void forget(prefix *p, int32_t i)
{
    int32_t node = p->checkpoints[i].node;
    p->checkpoints[i] = (prefix_checkpoint){ 0 };
    p->nodes[node].checkpoints--;
    p->kept--;
    p->evicted++;
    prune(p, node);
}

/* ---- looking ------------------------------------------------------------------------------------- */

/* Walks down, and leaves in every node that it looks at how much of it is the same.  How many tokens are the same in all. */
static int32_t search(prefix *p, uint64_t scope, const int32_t *ids, int32_t n)
{
    int32_t at = ROOT, most = 0;
    p->searches++;
    while (at >= 0) {
        int32_t next = -1, pos = end_of(p, at);
        for (int32_t c = p->nodes[at].child; c; c = p->nodes[c].next) {
            prefix_node *d = &p->nodes[c];
            if (!is_child(p, c, at, scope)) continue;
            d->seen = p->searches;
            d->same = common(tokens_of(p, c), ids + pos, MIN(d->count, n - pos));
            most = MAX(most, pos + d->same);
            if (d->same == PAGE) next = c;
        }
        at = next;
    }
    return most;
}

/* How many tokens a checkpoint's path shares with what was looked for: exact where it can be used (it serves fewer tokens less than
 * its length than a page has), else less than that. */
static int32_t shared(const prefix *p, const prefix_checkpoint *k)
{
    const prefix_node *d = &p->nodes[k->node];
    if (d->seen == p->searches) return MIN(d->at + d->same, k->length);
    d = &p->nodes[d->parent];
    return d->seen == p->searches ? d->at + d->same : 0;
}

prefix_hit prefix_find(prefix *p, uint64_t scope, const int32_t *ids, int32_t n)
{
    prefix_hit h = { .pages = p->path };
    if (!p->kept) return h;
    h.same = search(p, scope, ids, n);
    for (int32_t i = 0; i < p->count; i++) {
        const prefix_checkpoint *k = &p->checkpoints[i];
        int32_t same = k->node ? shared(p, k) : 0;
        if (same <= h.length || same < k->least) continue;
        h.length = same;
        h.checkpoint = i;
    }
    for (int32_t at = h.length ? p->checkpoints[h.checkpoint].node : ROOT; at != ROOT; at = p->nodes[at].parent)
        if (p->nodes[at].at < h.length) p->path[p->nodes[at].at / PAGE] = p->nodes[at].page;
    return h;
}

void prefix_touch(prefix *p, const prefix_hit *h)
{
    p->clock++;
    if (!h->length) return;
    p->checkpoints[h->checkpoint].used = p->clock;
    p->checkpoints[h->checkpoint].when = clock_seconds();
}

/* ---- forgetting ---------------------------------------------------------------------------------- */

/* In (0, 1], the same in every run. */
static double chance(prefix *p)
{
    p->chance ^= p->chance << 13;
    p->chance ^= p->chance >> 7;
    p->chance ^= p->chance << 17;
    return (double)((p->chance >> 32) + 1) / 4294967296.0;
}

static double age(const prefix *p, int32_t i) { return (double)(p->clock - p->checkpoints[i].used + 1); }

/* The length of the next checkpoint before this one on its path, and whether one lies behind it in its last page. */
static int32_t before(const prefix *p, int32_t i, bool *behind)
{
    const prefix_checkpoint *k = &p->checkpoints[i];
    int32_t most = 0;
    *behind = false;
    for (int32_t at = k->node; at != ROOT && !most; at = p->nodes[at].parent) {
        if (p->nodes[at].checkpoints <= (at == k->node)) continue;
        for (int32_t j = 0; j < p->count; j++) {
            if (p->checkpoints[j].node != at) continue;
            if (p->checkpoints[j].length < k->length) most = MAX(most, p->checkpoints[j].length);
            *behind |= p->checkpoints[j].length > k->length;
        }
    }
    return most;
}

/* What it would cost to be without it: tokens to compute again, by how likely that is. */
static double worth(int32_t tokens, prefix_kind kind)
{
    static const double of[] = { 1, 4, 16, 16 };
    return of[kind] * MAX(tokens, 1);
}

static double worth_of(const prefix *p, int32_t i)
{
    const prefix_checkpoint *k = &p->checkpoints[i];
    bool behind;
    int32_t child = p->nodes[k->node].child, tokens = k->length - before(p, i, &behind);
    bool inner = behind || (child && !p->nodes[child].next);
    return worth(tokens, !inner ? PREFIX_END : k->kind);
}

/* A place for the window state of a prefix that was just searched for: a free one, or that of the checkpoint that is drawn, in
 * proportion to its age and the inverse of its worth.  -1: the new one itself was drawn. */
static int32_t take_place(prefix *p, int32_t length, prefix_kind kind)
{
    int32_t worst = -1, nearest = 0;
    for (int32_t i = 0; i < p->count; i++) {
        const prefix_checkpoint *k = &p->checkpoints[i];
        if (k->busy) continue;
        if (!k->node) return i;
        if (k->length < length && shared(p, k) == k->length) nearest = MAX(nearest, k->length);
    }
    double most = 1 / worth(length - nearest, kind) / chance(p);
    for (int32_t i = 0; i < p->count; i++) {
        if (p->checkpoints[i].busy) continue;
        double score = age(p, i) / worth_of(p, i) / chance(p);
        if (score <= most) continue;
        most = score;
        worst = i;
    }
    if (worst >= 0) forget(p, worst);
    return worst;
}

/* Nobody but the tree has its page: forgetting it frees one. */
static bool is_loose_end(const prefix *p, int32_t node) { return !p->nodes[node].child && gemma_page_users(p->model, p->nodes[node].page) == 1; }

bool prefix_shrink(prefix *p)
{
    int32_t worst = -1, node;
    double most = -1;
    for (int32_t i = 0; i < p->count; i++) {
        const prefix_checkpoint *k = &p->checkpoints[i];
        if (!k->node || k->busy || !is_loose_end(p, k->node)) continue;
        double score = age(p, i) * (double)k->length / chance(p);
        if (score <= most) continue;
        most = score;
        worst = i;
    }
    if (worst < 0) return false;
    node = p->checkpoints[worst].node;
    for (int32_t i = 0; i < p->count; i++)      /* all that lie in it: together they hold one page */
        if (i != worst && p->checkpoints[i].node == node && !p->checkpoints[i].busy) forget(p, i);
    forget(p, worst);
    return true;
}

int32_t prefix_pages(const prefix *p)
{
    int32_t n = 0, left = p->held;
    for (int32_t i = 1; left > 0; i++) {
        if (p->nodes[i].count == 0) continue;
        left--;
        n += gemma_page_users(p->model, p->nodes[i].page) == 1;
    }
    return n;
}

/* ---- remembering --------------------------------------------------------------------------------- */

/* A shorter end of the same tokens becomes part of the new node. */
static void absorb(prefix *p, int32_t node)
{
    int32_t parent = p->nodes[node].parent, next;
    for (int32_t c = p->nodes[parent].child; c; c = next) {
        next = p->nodes[c].next;
        if (c == node || !is_child(p, c, parent, p->nodes[node].scope) || p->nodes[c].count >= p->nodes[node].count) continue;
        if (common(tokens_of(p, c), tokens_of(p, node), p->nodes[c].count) < p->nodes[c].count) continue;
        for (int32_t i = 0; i < p->count; i++)
            if (p->checkpoints[i].node == c) p->checkpoints[i].node = node;
        p->nodes[node].checkpoints += p->nodes[c].checkpoints;
        unlink_node(p, c);
    }
}

/* The child of a node that begins with these tokens: one that is there, or one with the page of pages[] or, when that is NULL, of the
 * sequence.  0: no room. */
static int32_t step_down(prefix *p, uint64_t scope, int32_t parent, const int32_t *ids, int32_t count, int32_t seq, const int32_t *pages)
{
    for (int32_t c = p->nodes[parent].child; c; c = p->nodes[c].next)
        if (is_child(p, c, parent, scope) && p->nodes[c].count >= count && common(tokens_of(p, c), ids, count) == count) {
            if (count == PAGE && !pages) gemma_seq_share(p->model, seq, p->nodes[c].at / PAGE, p->nodes[c].page);
            return c;
        }
    int32_t node = p->free_node;
    if (!node) return 0;
    p->free_node = p->nodes[node].next;
    int32_t at = end_of(p, parent);
    p->nodes[node] = (prefix_node){ .page = pages ? pages[at / PAGE] : gemma_seq_page(p->model, seq, at / PAGE), .parent = parent, .next = p->nodes[parent].child,
                                    .at = at, .count = count, .scope = scope };
    p->nodes[parent].child = node;
    memcpy(tokens_of(p, node), ids, (size_t)count * sizeof *ids);
    gemma_page_hold(p->model, p->nodes[node].page);
    p->held++;
    absorb(p, node);
    return node;
}

/* The whole path, and the checkpoint at its end.  False: no room. */
static bool put(prefix *p, uint64_t scope, const int32_t *ids, const prefix_checkpoint *k, int32_t place, int32_t seq, const int32_t *pages)
{
    int32_t node = ROOT, last = ROOT;
    for (int32_t pos = 0; pos < k->length; pos += PAGE) {
        node = step_down(p, scope, last, ids + pos, MIN(PAGE, k->length - pos), seq, pages);
        if (!node) break;
        last = node;
    }
    if (!node) { prune(p, last); return false; }
    p->checkpoints[place] = *k;
    p->checkpoints[place].node = node;
    p->nodes[node].checkpoints++;
    p->kept++;
    return true;
}

void prefix_keep(prefix *p, uint64_t scope, const int32_t *ids, int32_t n, int32_t seq, prefix_kind kind)
{
    if (!p->count || n <= 0) return;
    search(p, scope, ids, n);
    for (int32_t i = 0; i < p->count && kind == PREFIX_PROMPT; i++) {
        prefix_checkpoint *k = &p->checkpoints[i];
        if (k->node && k->length < n && shared(p, k) == k->length) k->kind = MIN(k->kind, PREFIX_BORDER);
    }
    for (int32_t i = 0; i < p->count; i++) {
        prefix_checkpoint *k = &p->checkpoints[i];
        if (!k->node || k->length != n || shared(p, k) != n) continue;
        k->used = p->clock;                     /* it is there */
        k->when = clock_seconds();
        k->kind = MAX(k->kind, kind);
        return;
    }
    int32_t place = take_place(p, n, kind);
    int32_t least = place < 0 ? 0 : gemma_state_save(p->model, place, seq, n);
    if (!least) return;
    put(p, scope, ids, &(prefix_checkpoint){ .length = n, .least = least, .used = p->clock, .kind = kind, .when = clock_seconds() }, place, seq, NULL);
}

/* ---- to and from elsewhere ----------------------------------------------------------------------- */

int32_t prefix_take_place(prefix *p, uint64_t scope, const int32_t *ids, int32_t n, int32_t length)
{
    if (!p->count) return -1;
    search(p, scope, ids, n);
    int32_t place = take_place(p, length, PREFIX_END);
    if (place >= 0) p->checkpoints[place].busy = true;
    return place;
}

void prefix_free_place(prefix *p, int32_t place) { p->checkpoints[place] = (prefix_checkpoint){ 0 }; }

bool prefix_insert(prefix *p, uint64_t scope, const int32_t *ids, int32_t n, const int32_t *pages, int32_t place, prefix_kind kind)
{
    gemma_state state = gemma_state_read(p->model, place);
    bool there = false;
    search(p, scope, ids, n);
    for (int32_t i = 0; i < p->count; i++) {
        const prefix_checkpoint *k = &p->checkpoints[i];
        there |= k->node && k->length == n && shared(p, k) == n;
    }
    prefix_free_place(p, place);
    return !there && put(p, scope, ids, &(prefix_checkpoint){ .length = n, .least = gemma_state_least(p->model, &state), .used = p->clock, .kind = kind,
                                                              .when = clock_seconds(), .stored = true }, place, -1, pages);
}

int32_t prefix_find_unstored(const prefix *p, double before, bool newest)
{
    int32_t best = -1;
    for (int32_t i = 0; i < p->count; i++) {
        const prefix_checkpoint *k = &p->checkpoints[i];
        if (!k->node || k->busy || k->stored || k->kind == PREFIX_REGULAR || k->when > before) continue;
        if (best < 0 || (newest ? k->when > p->checkpoints[best].when : k->when < p->checkpoints[best].when)) best = i;
    }
    return best;
}

uint64_t prefix_read(const prefix *p, int32_t i, int32_t *ids, int32_t *pages)
{
    const prefix_checkpoint *k = &p->checkpoints[i];
    uint64_t scope = 0;
    for (int32_t at = k->node; at != ROOT; at = p->nodes[at].parent) {
        const prefix_node *d = &p->nodes[at];
        pages[d->at / PAGE] = d->page;
        memcpy(ids + d->at, tokens_of(p, at), (size_t)MIN(d->count, k->length - d->at) * sizeof *ids);
        scope = d->scope;
    }
    return scope;
}
