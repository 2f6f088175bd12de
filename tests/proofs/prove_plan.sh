#!/bin/sh
# make prove-plan MODEL=FILE: what "facet plan" says against what the system counts for a process whose context is full.
# For each cache type: a prompt that fills the context but for the answer, and the largest RssAnon (memory of the
# process's own: all of the plan but the mapped weights) and VmHWM that /proc shows meanwhile.  Fails when the plan is
# further from RssAnon than 3 % and 50 MB both, or when VmHWM is above the plan's total by as much.
#   MODEL  the file     CTX  tokens, 4096     KV  cache types, "f16 q8_0"     ANSWER  tokens of the answer, 64
#   OUT    where the result goes, tests/proofs/plan.txt
set -eu
cd "$(dirname "$0")/../.."
: "${MODEL:?prove-plan: name a file with MODEL=FILE}"
facet=${FACET:-./facet} ctx=${CTX:-4096} answer=${ANSWER:-64} out=${OUT:-tests/proofs/plan.txt}
tmp=$(mktemp -d)
pid=
trap '[ -z "$pid" ] || kill "$pid" 2>/dev/null || true; rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM

# A text of just that many tokens: the tokens of one sentence, as often as it takes, then of words until it fits.
sentence='the quick brown fox jumps over the lazy dog and '
count() { "$facet" tokenize -m "$MODEL" --ids | wc -w; }
one=$(($(printf '%s%s' "$sentence" "$sentence" | count) - $(printf '%s' "$sentence" | count)))
times=$(((ctx - answer) / one - 2))
awk -v s="$sentence" -v n="$times" 'BEGIN { while (n--) printf "%s", s }' >"$tmp/prompt"
tokens=$(count <"$tmp/prompt")
[ "$tokens" -gt $((ctx * 9 / 10)) ] && [ "$tokens" -lt "$ctx" ] || { echo "prove-plan: the prompt has $tokens tokens" >&2; exit 1; }

field() { sed -n "s/^ *\"$1\": \([0-9]*\).*/\1/p" "$tmp/plan"; }
# The largest of what /proc says, looked at until the process ends: "RssAnon VmHWM", bytes.
watch() {
    most=0 high=0
    while status=$(cat "/proc/$1/status" 2>/dev/null) && case $status in *RssAnon*) ;; *) false ;; esac; do
        set -- "$1" $(printf '%s\n' "$status" | awk '$1 == "VmHWM:" { h = $2 } $1 == "RssAnon:" { a = $2 } END { printf "%.0f %.0f", a * 1024, h * 1024 }')
        [ "$2" -le "$most" ] || most=$2
        [ "$3" -le "$high" ] || high=$3
        sleep 0.05
    done
    echo "$most $high"
}

mb() { awk -v n="$1" 'BEGIN { printf "%.1f", n / 1e6 }'; }
failed=0
{
    echo "The plan against the process (make prove-plan): a context of $ctx tokens filled, one conversation; MB are 10^6 bytes"
    echo "date     $(date -u +%F)"
    echo "commit   $(git rev-parse HEAD)$([ -z "$(git status --porcelain --untracked-files=no -- src include)" ] || echo ', with changes')"
    echo "machine  $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(nproc) cores"
    echo "model    $(basename "$MODEL"), $(mb "$(du -sLb "$MODEL" | cut -f 1)") MB"
    echo
    echo "cache   planned: private     total    measured: RssAnon    VmHWM    difference"
} >"$tmp/result"
for kv in ${KV:-f16 q8_0}; do
    "$facet" plan -q -m "$MODEL" --ctx "$ctx" --kv "$kv" --parallel 1 --json >"$tmp/plan"
    private=$(($(field total) - $(field weights_mapped)))
    "$facet" run -m "$MODEL" --ctx "$ctx" --kv "$kv" --raw --temp 0 --ignore-end <"$tmp/prompt" >"$tmp/answer" 2>"$tmp/figures" &
    pid=$!
    seen=$(watch $pid)
    wait $pid || { cat "$tmp/figures" >&2; echo "prove-plan: the run failed" >&2; exit 1; }
    pid=
    grep -q 'cut by the limit' "$tmp/figures" || { cat "$tmp/figures" >&2; echo "prove-plan: the context was not filled" >&2; exit 1; }
    verdict=$(echo "$private $(field total) $seen" | awk '{
        d = $1 - $3; room = 0.03 * $3 > 50e6 ? 0.03 * $3 : 50e6
        printf "%+8.1f MB %s", d / 1e6, (d < 0 ? -d : d) <= room && $4 - $2 <= room ? "fine" : "TOO FAR" }')
    case $verdict in *fine) ;; *) failed=1 ;; esac
    set -- $seen
    printf '%-7s %16s %9s %20s %8s %s\n' "$kv" "$(mb "$private")" "$(mb "$(field total)")" "$(mb "$1")" "$(mb "$2")" "$verdict" >>"$tmp/result"
    tail -n 1 "$tmp/figures" | sed 's/^/        /' >>"$tmp/result"
done
cat "$tmp/result"
[ $failed -eq 0 ] || { echo "prove-plan: FAILED" >&2; exit 1; }
cp "$tmp/result" "$out"
