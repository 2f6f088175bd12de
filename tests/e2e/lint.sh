#!/bin/sh
# The checks of `make lint` find planted mistakes: a check that accepts everything would go unnoticed.
set -u
passed=0
failed=0
expect() {   # expect TEXT NAME COMMAND...: the command fails and says TEXT
    want=$1 name=$2
    shift 2
    if out=$("$@" 2>&1); then echo "$name: not found"; failed=$((failed + 1))
    elif ! printf '%s' "$out" | grep -q -- "$want"; then echo "$name: found, but said: $out"; failed=$((failed + 1))
    else passed=$((passed + 1)); fi
}

# ---- layers: a copy of the tree with one bad file -------------------------------------------------
mkdir -p "$TMPDIR/tree/tests" && cp -r tools "$TMPDIR/tree/"
layers() {
    rm -rf "$TMPDIR/tree/src"
    mkdir -p "$TMPDIR/tree/src/base" "$TMPDIR/tree/src/os" "$TMPDIR/tree/src/num"
    cp src/layers.txt "$TMPDIR/tree/src/"
    printf '#include "base/err.h"\n' >"$TMPDIR/tree/src/os/good.c"
    printf '%s\n' "$2" >"$TMPDIR/tree/src/$1"
    sh "$TMPDIR/tree/tools/check-layers.sh"
}
layers os/fine.c '#include "base/mem.h"' && passed=$((passed + 1)) || { echo "a good tree is refused"; failed=$((failed + 1)); }
expect 'may not include' upward     layers base/bad.c '#include "os/file.h"'
expect 'may not include' sideways   layers os/bad.c '#  include "num/half.h"'
expect 'write the folder' folderless layers os/bad.c '#include "file.h"'
expect 'no such folder'  unknown    layers os/bad.c '#include "nothing/file.h"'
expect 'in quotes'       brackets   layers os/bad.c '#include <base/err.h>'
expect '\.c file'        source     layers os/bad.c '#include "base/err.c"'
expect 'jansson'         library    layers os/bad.c 'void *x = json_object_getn;'
expect 'threads'         thread     layers num/bad.c 'int x = pthread_create;'

# ---- symbols: an archive with one bad object -------------------------------------------------------
# The processor of the archive does not matter here, so the machine's own compiler makes it.
symbols() {
    printf '#include <stdio.h>\n#include <stdlib.h>\n#include <unistd.h>\n#include <assert.h>\n%s\n' "$2" >"$TMPDIR/$1.c"
    rm -f "$TMPDIR/lib.a"
    cc -c -o "$TMPDIR/$1.o" "$TMPDIR/$1.c" && ar rcs "$TMPDIR/lib.a" "$TMPDIR/$1.o" && sh tools/check-symbols.sh "$TMPDIR/lib.a"
}
symbols gguf 'void *gguf_open(void) { return malloc(1); }' && passed=$((passed + 1)) || { echo "a good archive is refused"; failed=$((failed + 1)); }
expect 'must not use' exit   symbols gguf 'void gguf_open(void) { exit(1); }'
expect 'must not use' abort  symbols gguf 'void gguf_open(void) { abort(); }'
expect 'must not use' print  symbols gguf 'void gguf_open(void) { printf("%d", 1); }'
expect 'must not use' stderr symbols gguf 'void gguf_open(void) { fputs("x", stderr); }'
expect 'must not use' assert symbols gguf 'void gguf_open(int x) { assert(x); }'
expect 'name of their file'  name symbols gguf 'void *open_gguf(void) { return malloc(1); }'
expect 'nothing to look at' empty sh tools/check-symbols.sh "$TMPDIR/none.a"

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
