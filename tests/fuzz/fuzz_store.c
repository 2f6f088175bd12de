/* Any bytes as a file of the prefix cache, once as they are and once with checks that fit: what a hostile file says about itself must not
 * lead anywhere but to pages and states that were taken for it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bits.h"
#include "model/gemma.h"
#include "run/store.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerInitialize(int *argc, char ***argv);

enum { CTX = 96, PAGES = 3 };

static gemma *model;
static gemma_ctx *x;
static store s;
static int32_t ids[CTX], pages[PAGES];

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    err e = { 0 };
    gemma_ctx_opts o;
    (void)argc;
    (void)argv;
    gemma_ctx_defaults(&o);
    o.ctx = CTX;
    o.row_max = 32;
    o.seq_max = o.states = o.threads = 1;
    if (gemma_open(&model, "tests/golden/e2b/model", &e) != OK || gemma_ctx_new(&x, model, &o, NULL, &e) != OK) abort();
    s = (store){ .x = x, .model = 1, .dir = { .secret = { { 1, 2 } } } };
    for (int i = 0; i < 2; i++) pages[i] = gemma_page_take(x);
    return 0;
}

static void read_it(const uint8_t *data, size_t n, const store_header *h)
{
    err e = { 0 };
    int fd = memfd_create("store", MFD_CLOEXEC);
    if (fd < 0 || (n && write(fd, data, n) != (ssize_t)n)) abort();
    s.job = (store_job){ .ids = ids, .pages = pages, .count = h && h->state.length > 64 ? 2 : 1, .name = h ? h->name : 0 };
    status st = store_read_file(&s, fd, &e);
    if (st != OK && !e.what[0]) abort();
    if (st == OK && gemma_state_least(x, &s.job.state) == 0) abort();
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    store_header h;
    uint64_t scope = 0, check;
    read_it(data, n, NULL);
    if (n < sizeof h + sizeof check) return 0;
    uint8_t *copy = malloc(n);
    if (!copy) return 0;
    memcpy(copy, data, n);
    memcpy(&h, data, sizeof h);
    memcpy(h.magic, "FACETPC1", sizeof h.magic);
    h.model = s.model;
    h.scope = sip_hash(&s.dir.secret, &scope, sizeof scope);
    h.bytes = n;
    h.check = sip_hash(&s.dir.secret, &h, offsetof(store_header, check));
    memcpy(copy, &h, sizeof h);
    check = sip_hash(&s.dir.secret, copy, n - sizeof check);
    memcpy(copy + n - sizeof check, &check, sizeof check);
    read_it(copy, n, &h);
    free(copy);
    return 0;
}
