#include "support/packed.h"

#include <stdio.h>
#include <stdlib.h>

void packed_read(buf *out, const char *path)
{
    char command[1024], block[65536];
    buf_init(out, 1u << 30);
    snprintf(command, sizeof command, "%s '%s'", str_ends(str_from(path), ".xz") ? "xz -dc" : "cat", path);
    FILE *f = popen(command, "r");
    size_t n = 0;
    bool bad = !f;
    while (!bad && (n = fread(block, 1, sizeof block, f)) > 0) bad = buf_add(out, block, n, NULL) != OK;
    if ((f && pclose(f) != 0) || bad || out->len == 0) {
        fprintf(stderr, "could not read %s (is xz-utils installed?)\n", path);
        exit(1);
    }
}

bool packed_line(str *rest, str *line)
{
    return rest->n > 0 && str_split(rest, '\n', line);
}
