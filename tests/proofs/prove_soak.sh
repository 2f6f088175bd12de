#!/bin/sh
# Soak: random clients against facet serve, built with AddressSanitizer and with ThreadSanitizer, side by side, MINUTES of each (60).  The
# result is written to tests/proofs/soak.txt (OUT).  KINDS="asan tsan".  Ctrl-C or SIGTERM ends it early; the true length is in the result.
set -u
minutes=${MINUTES:-60}
out=${OUT:-tests/proofs/soak.txt}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'kill $(cat "$tmp"/*/pid) 2>/dev/null' INT TERM
export ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1:detect_stack_use_after_return=1:quarantine_size_mb=16
export UBSAN_OPTIONS=print_stacktrace=1 TSAN_OPTIONS=halt_on_error=1

# soak KIND: server and clients, until the clients have ended
soak() {
    dir=$tmp/$1
    mkdir "$dir"
    printf 'first-key-of-the-soak\nsecond-key-of-the-soak\n' >"$dir/keys"
    chmod 600 "$dir/keys"
    python3 tests/proofs/mini_adapter.py "$dir/adapters/one" 1
    python3 tests/proofs/mini_adapter.py "$dir/adapters/two" 2
    cp "build/$1/facet" "$dir/facet"                    # another build meanwhile changes nothing
    "$dir/facet" serve -m models/facet-mini.gguf -q -p 0 --ctx 1024 --parallel 4 --queue 6 --queue-seconds 900 --api-key-file "$dir/keys" \
        --cache-dir "$dir/cache" --cache-disk 64M --adapter one="$dir/adapters/one" --adapter-dir "$dir/adapters" >"$dir/address" 2>"$dir/log" &
    server=$!
    for _ in $(seq 1200); do
        [ -s "$dir/address" ] && break
        sleep 0.1
    done
    python3 tests/proofs/soak.py "$(cat "$dir/address")" $server $((minutes * 60)) 1 $(cat "$dir/keys") &
    python=$!
    echo $python >"$dir/pid"
    rc=0
    wait $python || rc=1
    kill $server
    wait $server
    status=$?
    echo "the server ended with status $status"
    [ $status -eq 0 ] || rc=1
    grep -E 'ERROR: |WARNING: ThreadSanitizer|runtime error' "$dir/log" && { rc=1; tail -n 60 "$dir/log"; }
    return $rc
}

commit="$(git rev-parse HEAD)$(git diff --quiet HEAD -- src include || echo ' with changes')"
for kind in ${KINDS:-asan tsan}; do
    (trap '' INT TERM; soak "$kind" >"$tmp/$kind.result" 2>&1; echo $? >"$tmp/$kind.rc") &
    runs="${runs:-} $!"
done
for run in $runs; do
    while kill -0 $run 2>/dev/null; do wait $run; done
done
{
    echo "Soak of facet serve with the bundled miniature: make prove-soak MINUTES=$minutes"
    echo "date    $(date -u +%Y-%m-%dT%H:%MZ)"
    echo "commit  $commit"
    echo "machine $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(nproc) cores, $(awk '/MemTotal/ { printf "%.0f", $2 / 1048576 }' /proc/meminfo) GiB"
    for kind in ${KINDS:-asan tsan}; do
        printf '\n== %s\n' "$kind"
        cat "$tmp/$kind.result"
    done
    cat "$tmp"/*.rc | grep -qv '^0$' && echo "0 passed, 1 failed" || echo "1 passed, 0 failed"
} >"$tmp/result" 2>&1
cat "$tmp/result"
cp "$tmp/result" "$out"
tail -n 1 "$out" | grep -q '^1 passed'
