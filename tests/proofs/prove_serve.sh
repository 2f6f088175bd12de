#!/bin/sh
# What needs programs of others: nginx in front, slowhttptest against it, 1,000 idle connections.  The result is written to
# tests/proofs/serve.txt.
set -u
out=tests/proofs/serve.txt
tmp=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null; rm -rf "$tmp"' EXIT
rc=0
start() {   # start ARGUMENTS...
    : >"$tmp/address"
    ./facet serve -q -p 0 "$@" >"$tmp/address" 2>"$tmp/log" &
    server=$!
    for _ in $(seq 300); do [ -s "$tmp/address" ] && break; sleep 0.1; done
    url=$(cat "$tmp/address")
}
stop() { kill "$server" && wait "$server" || { echo "the server ended with an error"; rc=1; }; server=; }
slow() {   # slow NAME ARGUMENTS...: the attack, and a question in the middle of it
    name=$1
    shift
    slowhttptest "$@" -c 1000 -r 200 -l 40 -p 3 >"$tmp/slow" 2>&1 &
    attack=$!
    sleep 12
    code=$(curl -s --noproxy '*' --max-time 20 -o "$tmp/answer" -w '%{http_code}' "$url/v1/chat/completions" \
        -d '{"messages":[{"role":"user","content":"What is 12 + 30?"}],"temperature":0}')
    wait $attack
    if [ "$code" = 200 ] && grep -q '12 + 30 = 42' "$tmp/answer"; then echo "slowhttptest $name: answered meanwhile"
    else echo "slowhttptest $name: $code"; rc=1; fi
    sed 's/\x1b\[[0-9;]*m//g' "$tmp/slow" | grep -E 'Exit status|closed:|error:' | tail -n 3
}
{
    echo "facet serve beside programs of others: make prove-serve"
    echo "date    $(date -u +%Y-%m-%dT%H:%MZ)"
    echo "commit  $(git rev-parse HEAD)$(git diff --quiet HEAD -- src include || echo ' with changes')"
    echo "machine $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(nproc) cores"
    echo
    start
    python3 tests/proofs/idle.py "$url" "$server" || rc=1
    slow "-H (slow head)" -H -u "$url/v1/models" -i 5
    slow "-B (slow body)" -B -u "$url/v1/chat/completions" -i 5 -s 100000
    slow "-X (slow read)" -X -u "$url/" -w 10 -y 20 -n 5 -z 32
    stop
    start --api-key key-of-anna
    sh tests/proofs/nginx.sh "$url" || { echo "nginx failed"; rc=1; }
    stop
    [ $rc -eq 0 ] && echo "1 passed, 0 failed" || echo "0 passed, 1 failed"
} >"$tmp/result" 2>&1
cat "$tmp/result"
cp "$tmp/result" "$out"
tail -n 1 "$out" | grep -q '^1 passed'
