#!/bin/sh
# facet bench: every field is there and is a sensible number; mistakes are refused.  Times are not judged.
. tests/e2e/common

field() { sed -n "s/^ *\"$1\": \([0-9.e+-]*\),*\$/\1/p" "$out" | head -n 1; }
positive() { # positive NAME TEST: in the last run
    if awk -v x="$(field "$1")" 'BEGIN { exit !(x > 0) }'; then fine; else wrong "$2: $1 is \"$(field "$1")\""; fi
}
fast="--seconds 0.01 --rounds 2 --threads 2"

run "$FACET" bench -q -m "$BUNDLED" $fast --prefill 16,32 --decode 4 --depth 0,40 --batch 1,3 --json --svg "$TMPDIR/plot.svg"
expect 0 "a model"
cp "$out" "$TMPDIR/json"
same "$(grep -c '"test": "prefill"' "$out")" 8 "prefill tests"
same "$(grep -c '"test": "decode"' "$out")" 4 "decode tests"
same "$(grep -c '"batch": 3' "$out")" 6 "tests of a batch"
same "$(grep -c '"depth": 40' "$out")" 6 "tests at a depth"
for k in model threads results machine memory spread; do says "$out" "\"$k\":" "a model"; done
for k in threads tok_s bandwidth_gb_s int8_gops bf16_gflops f32_gflops file_bytes private_bytes peak_rss_bytes first_token_s bandwidth_share peak_share \
    needed_gb needed_gop experts_read; do positive $k "a model"; done
same "$(field threads)" 2 threads
same "$(field file_bytes)" "$(wc -c <"$BUNDLED" | tr -d ' ')" "bytes of the file"
same "$(sed -n 's/^ *"tok_s": \([0-9.e+-]*\).*/\1/p' "$TMPDIR/json" | awk '$1 > 0' | wc -l | tr -d ' ')" 12 "rates above zero"
says "$TMPDIR/plot.svg" "</svg>" "the picture"
same "$(grep -c 'tok/s' "$TMPDIR/plot.svg")" 12 "bars in the picture"

run "$FACET" bench -q -m "$BUNDLED" $fast --prefill 0 --decode 4 --skip-machine --isa ref --kv q8_0 --chunk 8
expect 0 "a table"
says "$out" "decode" "a table"
lacks "$out" "prefill " "a table without prompts"
says "$out" "Start to first token" "a table"

run "$FACET" bench machine -q --seconds 0.01 --threads 2 --json --dir "$TMPDIR"
expect 0 machine
for k in bandwidth_gb_s int8_gops bf16_gflops f32_gflops read_bytes; do positive $k machine; done
same "$(grep -c '"threads":' "$out")" 2 "numbers of threads"
same "$(find "$TMPDIR" -name 'facet-bench-*' | wc -l | tr -d ' ')" 0 "temporary files left"
run "$FACET" bench machine -q --seconds 0.01 --threads 1 --isa ref
expect 0 "machine, ref"
says "$out" "plain C" "machine, ref"

run "$FACET" bench kernels --isa ref --type q4_0 --seconds 0.001
expect 0 kernels
says "$out" "exact q4_0 6144x1536" kernels

run "$FACET" bench masks -q -m "$BUNDLED" --rounds 2 --json
expect 0 masks
same "$(grep -c '"schema":' "$out")" 13 "schemas, and all together"
for k in tokens masks compile_ms mask_us mask_p99_us mask_max_us accept_us accept_p99_us accept_max_us; do positive $k masks; done
run "$FACET" bench masks -q -m "$BUNDLED" --rounds 1
expect 0 "masks, a table"
says "$out" "tool call, nested" "masks, a table"

refuses 2 'takes machine, kernels' "an unknown part" "$FACET" bench nonsense
refuses 2 'means nothing to "facet bench machine"' "an option of another part" "$FACET" bench machine --prefill 5
refuses 2 'means nothing to "facet bench kernels"' "an option of another part" "$FACET" bench kernels -m x
refuses 2 'means nothing to "facet bench masks"' "an option of another part" "$FACET" bench masks --isa avx2
refuses 2 'means nothing to "facet bench"' "an option of another part" "$FACET" bench --type q4_0
refuses 2 '--prefill' "a word in a list" "$FACET" bench --prefill 5,x
refuses 2 '--batch' "an empty batch" "$FACET" bench --batch 0
refuses 2 '--depth' "a negative depth" "$FACET" bench --depth -1
refuses 2 'too many numbers' "a long list" "$FACET" bench --batch 1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1
refuses 2 'nothing to measure' "no test" "$FACET" bench --prefill 0 --decode 0
refuses 2 'unknown type "q99"' "an unknown type" "$FACET" bench kernels --type q99
refuses 2 'unknown instruction set' "an unknown instruction set" "$FACET" bench machine --isa mmx
refuses 2 'both name a disk' "two disks" "$FACET" bench machine -m "$BUNDLED" --dir "$TMPDIR"
refuses 1 'cannot measure at depth' "a depth that the model cannot hold" "$FACET" bench -q -m "$BUNDLED" --skip-machine --depth 1000000
refuses 1 'no-such' "no such file" "$FACET" bench -q -m "$TMPDIR/no-such.gguf" --skip-machine
refuses 1 'no-such' "no such folder" "$FACET" bench machine --dir "$TMPDIR/no-such"
refuses 1 'plot.svg' "a picture in no folder" "$FACET" bench -q -m "$BUNDLED" $fast --skip-machine --prefill 4 --decode 0 --svg "$TMPDIR/none/plot.svg"

# ---- a server under load ---------------------------------------------------------------------------
"$FACET" serve -q -p 0 --ctx 1024 -m "$BUNDLED" >"$TMPDIR/address" 2>/dev/null &
server=$!
trap 'kill $server 2>/dev/null' EXIT
for _ in $(seq 300); do [ -s "$TMPDIR/address" ] && break; sleep 0.1; done
url=$(cat "$TMPDIR/address")
run "$FACET" bench serve -q --url "$url" --clients 1,3 --rounds 2 --words 40 --answer 5 --json
expect 0 "a server"
same "$(sed -n 's/^ *"done": \([0-9]*\),/\1/p' "$out" | tr '\n' ' ')" "4 12 " "requests that were answered"
same "$(sed -n 's/^ *"answer_tokens": \([0-9]*\),*/\1/p' "$out" | tr '\n' ' ')" "20 60 " "tokens of the answers"
same "$(grep -c '"failed": 0' "$out")" 2 "levels without a failure"
for k in p50_s p99_s tok_s requests_s goodput_s cached_tokens prompt_tokens; do positive $k "a server"; done
run "$FACET" bench serve -q --url "$url" --clients 2 --rounds 1000 --seconds 0.3 --words 4 --answer 4 --json
expect 0 "a load with an end"
positive done "a load with an end"
[ "$(field done)" -lt 4000 ] && fine || wrong "a load goes on behind its end"
run "$FACET" bench serve -q --url "$url" --clients 2 --rounds 3 --turns 1 --words 4 --answer 4 --json
same "$(field done)" 6 "requests of conversations with one turn"
run "$FACET" bench serve -q --url "$url" --clients 2 --rounds 2 --leave 1 --words 4 --answer 40 --json
expect 0 "clients that leave"
same "$(field left)" 4 "clients that left"
kill $server
refuses 2 'must begin with http' "an address of another kind" "$FACET" bench serve --url ftp://x
refuses 1 'could not reach' "no server" "$FACET" bench serve -q --url http://127.0.0.1:1 --clients 1
refuses 2 'means nothing to "facet bench serve"' "an option of another part" "$FACET" bench serve --depth 3

# ---- two programs side by side; a script stands for each -------------------------------------------
cat >"$TMPDIR/peer" <<'END'
#!/bin/sh
echo '{"test":"prefill","tokens":8,"depth":0,"seqs":1,"s":1.0,"tok_s":50.0,"other_cpu":0.01}'
echo '{"test":"decode","tokens":8,"depth":0,"seqs":1,"s":1.0,"tok_s":10.0,"other_cpu":0.02}'
echo '{"test":"decode","tokens":8,"depth":0,"seqs":1,"s":1.0,"tok_s":1.0,"other_cpu":0.90}'
END
sed 's/50.0/25.0/; s/10.0/40.0/' "$TMPDIR/peer" >"$TMPDIR/other"
chmod +x "$TMPDIR/peer" "$TMPDIR/other"
OUT=$TMPDIR/kept.json ROUNDS=3 THREADS=2 run sh tools/bench-compare "llama:$TMPDIR/peer" "llama:$TMPDIR/other" model
expect 0 compare
same "$(awk '$1 == "prefill" { print $2, $5, $6, $10 }' "$out")" "50.00 3 25.00 2.00" "ratio of prefill"
same "$(awk '$1 == "decode" { print $2, $5, $6, $10 }' "$out")" "10.00 3 40.00 0.25" "ratio of decode without disturbed samples"
for k in date commit machine model tok_s; do says "$TMPDIR/kept.json" "\"$k\":" "the kept result"; done
refuses 2 'no program' "a program that is not there" sh tools/bench-compare "$TMPDIR/none" "$TMPDIR/peer" model
report
