#!/bin/sh
# make prove-serve-speed MODEL=FILE: facet serve beside llama.cpp's server, in turn, on the same file, with facet bench serve, locust and
# wrk.  Fails when one of Facet's requests does; goals that are missed are said.
#   CLIENTS   "1 4 8 16 64"    LOAD_SECONDS  of each load, 30  PARALLEL  requests at once, 8     CTX  tokens of each, 8192
#   WORDS     of a prompt, 128 ANSWER   tokens of it, 64       THINK     seconds, 1              LEAVE  share of clients, 0.1
#   LONG      words of the long first turn, 4000               LIMIT     seconds of one measurement, 600
#   BUDGET    no measurement is begun after so many seconds, 3600
#   LLAMA_CPP as tests/oracle/llamacpp_tree.sh takes it        OUT       where the result goes, tests/proofs/serve-speed.txt
set -eu
: "${MODEL:?prove-serve-speed: name a file with MODEL=FILE}"
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
out=${OUT:-tests/proofs/serve-speed.txt}
venv=${XDG_CACHE_HOME:-$HOME/.cache}/facet/load
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check locust==2.47.0
llama=$(sh tests/oracle/llamacpp_tree.sh "$venv/bin/python" llama-server)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
{
    echo "facet serve beside llama.cpp's server: make prove-serve-speed"
    echo "date     $(date -u +%Y-%m-%dT%H:%MZ)"
    echo "commit   $(git rev-parse HEAD)$(git diff --quiet HEAD -- src include || echo ' with changes')"
    echo "machine  $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(nproc) cores"
    echo "model    $(basename "$MODEL"), $(($(du -sLb "$MODEL" | cut -f 1) / 1000000)) MB"
    echo "peer     llama.cpp of llama-cpp-python $(sed -n 's/^version=//p' tests/oracle/llamacpp_tree.sh), $("$llama/build/bin/llama-server" --version 2>&1 | sed -n 's/^version: //p')"
    echo "servers  ${PARALLEL:-8} requests at once, ${CTX:-8192} tokens each, one thread per core"
    echo
} >"$tmp/result"
rc=0
"$venv/bin/python" tests/proofs/serve_speed.py "$MODEL" "$llama/build/bin/llama-server" "$venv/bin/locust" >>"$tmp/result" || rc=1
cat "$tmp/result"
cp "$tmp/result" "$out"
exit $rc
