#!/bin/sh
# Runs test commands side by side and adds up what they report.
#   tools/run-tests.sh BUILD 'command' 'command' ...
# A command is one test program, script or check.  It fails when its exit status is not 0.  Its cases are
# counted from what it prints: cmocka's "[  PASSED  ] 3 test(s)", or a line "3 passed, 0 failed"; otherwise it is
# one case.  Output is kept in BUILD/logs and shown only on failure.  The last line is "N passed, N failed".
#   JOBS  how many at once       RUN   put before programs of BUILD (an emulator)
#   ONLY  only commands with this text in them            LIMIT  seconds for one command
set -u

count() {   # count WORD FILE: adds up the numbers of cases that FILE calls PASSED or FAILED
    sed -n "s/^.*\[ *$1 *\] \([0-9][0-9]*\) test(s).*/\1/p; s/^\([0-9]*\) passed, \([0-9]*\) failed\$/$3/p" "$2" |
        awk '{ n += $1 } END { print n + 0 }'
}

one() {
    build=$1 cmd=$2
    name=$(printf '%s' "$cmd" | sed "s,^sh ,,; s,$build/,,; s, .*,,; s,^tests/,,; s,[/],-,g")
    log=$build/logs/$name
    export TMPDIR="$PWD/$build/tmp/$name" FACET="$PWD/$build/facet" BUILD="$build"
    [ -z "${RUN:-}" ] || FACET=$FACET.run
    rm -rf "$TMPDIR" && mkdir -p "$TMPDIR"
    case $cmd in "$build"/*) [ -z "${RUN:-}" ] || cmd="$RUN $cmd" ;; esac
    start=$(date +%s)
    timeout -k 10 "${LIMIT:-900}" sh -c "exec $cmd" >"$log" 2>&1 </dev/null
    rc=$?
    seconds=$(($(date +%s) - start))
    rm -rf "$TMPDIR"
    passed=$(count PASSED "$log" '\1')
    failed=$(count FAILED "$log" '\2')
    [ $((passed + failed)) -gt 0 ] || { [ $rc -eq 0 ] && passed=1; }
    [ $rc -eq 0 ] || [ "$failed" -gt 0 ] || failed=1
    skipped=$(count SKIPPED "$log" 0)
    echo "$passed $failed $skipped" >"$log.sum"
    note=
    [ "$skipped" -eq 0 ] || note=", $skipped skipped"
    if [ "$failed" -eq 0 ]; then
        printf '  ok    %-44s %4d%s  (%d s)\n' "$name" "$passed" "$note" "$seconds"
    else
        why="exit status $rc"
        [ $rc -ne 124 ] || why="stopped after ${LIMIT:-900} s"
        { printf '  FAIL  %-44s %4d of %d, %s%s\n' "$name" "$failed" $((passed + failed)) "$why" "$note"
          tail -n 60 "$log" | sed 's/^/        | /'; }
    fi
}

if [ "$1" = --one ]; then
    one "$2" "$3"
    exit 0
fi

build=$1
shift
rm -rf "$build/logs"
mkdir -p "$build/logs"
# Scripts call $FACET as one word; with an emulator that is a script of its own.
if [ -n "${RUN:-}" ]; then
    printf '#!/bin/sh\nexec %s "%s" "$@"\n' "$RUN" "$PWD/$build/facet" >"$build/facet.run"
    chmod +x "$build/facet.run"
fi
export LC_ALL=C.UTF-8
export ASAN_OPTIONS="${ASAN_OPTIONS:-detect_leaks=1:detect_stack_use_after_return=1:allocator_may_return_null=1}"
export UBSAN_OPTIONS="${UBSAN_OPTIONS:-print_stacktrace=1}" TSAN_OPTIONS="${TSAN_OPTIONS:-halt_on_error=1}"
for cmd in "$@"; do
    case $cmd in *"${ONLY:-}"*) printf '%s\0' "$cmd" ;; esac
done | xargs -0 -r -n 1 -P "${JOBS:-$(nproc)}" sh "$0" --one "$build"

set -- "$build"/logs/*.sum
[ -e "$1" ] || { echo "no tests found"; exit 1; }
cat "$@" | awk '
    { passed += $1; failed += $2; skipped += $3 }
    END { if (skipped) printf "%d skipped\n", skipped
          printf "%d passed, %d failed\n", passed, failed; exit failed > 0 || passed == 0 }'
