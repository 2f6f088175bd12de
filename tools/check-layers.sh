#!/bin/sh
# Every #include "folder/file.h" in src/ must be allowed by src/layers.txt, and every <...> must be the
# system's.  Tests include headers, never .c files.
cd "$(dirname "$0")/.." || exit 2
bad=0
includes='^[[:space:]]*#[[:space:]]*include[[:space:]]*'
grep -rnE "$includes\"" src --include='*.c' --include='*.h' --include='*.cu' --include='*.inc' |
awk '
FILENAME == "src/layers.txt" {
    sub(/#.*/, ""); if (!NF) next
    me = $1; sub(/:$/, "", me); known[me] = 1; ok[me, me] = 1
    for (i = 2; i <= NF; i++) ok[me, $i] = 1
    next
}
{
    split($0, p, ":"); split(p[1], d, "/"); me = d[2]
    inc = $0; sub(/^[^"]*"/, "", inc); sub(/".*/, "", inc)
    seen++
    if (!known[me])         { print p[1] ": folder " me "/ is not in src/layers.txt"; bad = 1; next }
    if (inc == "facet.h") next
    n = split(inc, q, "/")
    if (n < 2)              { print p[1] ":" p[2] ": write the folder: \"" me "/" inc "\""; bad = 1 }
    else if (inc ~ /\.c$/)  { print p[1] ":" p[2] ": includes a .c file: " inc; bad = 1 }
    else if (!known[q[1]])  { print p[1] ":" p[2] ": no such folder: " inc; bad = 1 }
    else if (!ok[me, q[1]]) { print p[1] ":" p[2] ": " me "/ may not include " inc " (see src/layers.txt)"; bad = 1 }
}
END { if (!seen) { print "check-layers: looked at nothing"; bad = 1 } exit bad }' src/layers.txt - || bad=1

for folder in src/*/; do
    folder=$(basename "$folder")
    if grep -rnE "$includes<($folder/|facet\.h)" src tests; then echo "  our own headers are written in quotes"; bad=1; fi
done
if grep -rnE "$includes\"[^\"]*\.c\"" tests; then echo "  tests include headers, never .c files"; bad=1; fi
# src/base and the kernels know nothing of threads or files; only os/ starts threads.
if grep -rnE 'pthread_create' src --include='*.c' | grep -v '^src/os/' | grep -v '^src/run/'; then
    echo "  threads are started in os/ and run/ only"; bad=1
fi
# Ubuntu 22.04 has jansson 2.13.
if grep -rnE 'json_object_(getn|setn|deln|keylen_foreach|iter_key_len)' src tests --include='*.c' --include='*.h'; then
    echo "  jansson 2.13 does not have it"; bad=1
fi
exit $bad
