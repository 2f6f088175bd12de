#!/bin/sh
# tools/run-tests.sh counts what fails: a runner that loses a failure would make every other test worthless.
set -u
passed=0
failed=0
b=$TMPDIR/b
mkdir -p "$b"
program() { printf '#!/bin/sh\n%s\n' "$2" >"$b/$1" && chmod +x "$b/$1"; }
check() {   # check STATUS "LAST LINE" COMMAND...
    want_rc=$1 want=$2
    shift 2
    # the runner works with paths below its own folder
    out=$(cd "$TMPDIR" && env -u ONLY -u RUN LIMIT=2 sh "$root/tools/run-tests.sh" b "$@" 2>&1)
    rc=$?
    last=$(printf '%s\n' "$out" | tail -n 1)
    if [ $rc = "$want_rc" ] && [ "$last" = "$want" ]; then passed=$((passed + 1))
    else failed=$((failed + 1)); printf 'wanted %s "%s", got %s:\n%s\n' "$want_rc" "$want" "$rc" "$out"; fi
}
root=$PWD
program good 'echo "[  PASSED  ] 3 test(s)."'
program bad 'echo "[  PASSED  ] 2 test(s)."; echo "[  FAILED  ] 1 test(s), listed below:"; exit 1'
program leak 'echo "[  PASSED  ] 3 test(s)."; exit 23'
program crash 'kill -SEGV $$'
program hang 'sleep 20'
program script 'echo "4 passed, 0 failed"'
program plain 'exit 0'
check 0 '3 passed, 0 failed' b/good
check 0 '8 passed, 0 failed' b/good b/script b/plain
check 1 '2 passed, 1 failed' b/bad
check 1 '3 passed, 1 failed' b/leak
check 1 '0 passed, 1 failed' b/crash
check 1 '0 passed, 1 failed' b/hang
check 1 '0 passed, 1 failed' b/missing
check 1 '6 passed, 2 failed' b/bad b/plain b/good b/crash
check 1 'no tests found'
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
