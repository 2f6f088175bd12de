#!/bin/sh
# Fifty steps of DPO on the bundled miniature beside TRL's (tests/golden/dpo, written by tests/oracle/preference.py).
. tests/e2e/common

G=tests/golden/dpo
prefer() { run "$FACET" tune -q -m "$BUNDLED" -d "$G/pairs.jsonl" --method dpo --beta 0.2 --lr 0.0003 --schedule constant --warmup 0 --batch 4 --steps 50 --exact --init-from "$G/start" "$@"; }
prefer -o "$TMPDIR/dpo"
expect 0 "fifty steps"

# value LINE KEY: of a log
values() { sed -n 's/.*"'"$1"'":\([-0-9.e]*\).*/\1/p' "$TMPDIR/dpo/log.jsonl"; }
column=0
for key in loss reward_chosen reward_rejected norm; do
    column=$((column + 1))
    values $key >"$TMPDIR/ours"
    off=$(grep -v '^#' "$G/curve.txt" | awk -v c=$column '{ print $c }' | paste - "$TMPDIR/ours" |
          awk '{ d = $1 - $2; if (d < 0) d = -d; if (d > off) off = d; n++ } NF != 2 { exit 1 } END { if (n == 50) print (off <= 1e-4 ? "near" : off) }')
    same "$off" near "$key beside TRL's, by how much"
done

report
