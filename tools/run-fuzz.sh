#!/bin/sh
# Runs libFuzzer targets over their seeds, side by side.
#   tools/run-fuzz.sh BUILD SECONDS name...        SECONDS is for all of them together
# What is found stays in BUILD/found/<name>: inputs that reach new code, and crash-* files.
set -u

if [ "$1" = --one ]; then
    build=$2 seconds=$3 name=$4
    found=$build/found/$name
    mkdir -p "$found" "$build/logs"
    seeds=tests/fuzz/seeds/$name
    dict=
    [ ! -f "tests/fuzz/$name.dict" ] || dict="-dict=tests/fuzz/$name.dict"
    if "$build/tests/fuzz/libfuzzer_$name" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=3000 -print_final_stats=1 \
        -artifact_prefix="$found/" $dict "$found" "$seeds" >"$build/logs/fuzz-$name" 2>&1; then
        printf '  ok    %-20s %s inputs\n' "$name" "$(sed -n 's/^stat::number_of_executed_units: *//p' "$build/logs/fuzz-$name")"
        echo 1 0 >"$build/logs/fuzz-$name.sum"
    else
        printf '  FAIL  %-20s see %s\n' "$name" "$build/logs/fuzz-$name"
        grep -vE '^(#|INFO)' "$build/logs/fuzz-$name" | head -n 40 | sed 's/^/        | /'
        echo 0 1 >"$build/logs/fuzz-$name.sum"
    fi
    exit 0
fi

build=$1 total=$2
shift 2
[ $# -gt 0 ] || { echo "no fuzz targets found"; exit 1; }
jobs=$(nproc)
each=$((total * jobs / $#))
[ "$each" -gt 0 ] || each=1
rm -f "$build"/logs/fuzz-*
export ASAN_OPTIONS="${ASAN_OPTIONS:-allocator_may_return_null=1}"
printf '%s\n' "$@" | xargs -n 1 -P "$jobs" sh "$0" --one "$build" "$each"
cat "$build"/logs/fuzz-*.sum | awk '{ p += $1; f += $2 } END { printf "%d passed, %d failed\n", p, f; exit f > 0 || p == 0 }'
