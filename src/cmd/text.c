#include "cmd/text.h"

#include "cmd/setup.h"
#include "os/file.h"

status text_open(const args *a, text_model *out, err *e)
{
    char *path = NULL;
    setup_log(a);
    json_use_mem();
    status st = setup_path(a, &path, e);
    if (st == OK) st = text_model_open(out, path, e);
    mem_free(path);
    return st;
}

status text_input(buf *out, err *e)
{
    buf_init(out, 1u << 30);
    return file_read_all(out, "-", e);
}

void text_print_ids(const tok_ids *ids)
{
    for (size_t i = 0; i < ids->len; i++) printf("%s%d", i ? " " : "", ids->data[i]);
    putchar('\n');
}
