#!/bin/sh
# facet tune on the bundled miniature and on a tiny random model: it learns, goes on after a stop as if there had been none, and says what it did.
. tests/e2e/common

M=$BUNDLED
D=$TMPDIR/rows.jsonl
row() { printf '{"messages": [{"role": "user", "content": "What is the word for %s?"}, {"role": "assistant", "content": "%s"}]}\n' "$1" "$2"; }
{ row one lamp; row two river; row three green; row four table; } >"$D"

# ---- it learns what it could not do ----------------------------------------------------------------------
ask() { "$FACET" run -q -m "$M" --temp 0 -n 12 "$@"; }
[ "$(ask "What is the word for two?")" != river ] && fine || wrong "the miniature knew it already"
run "$FACET" tune -q -m "$M" -d "$D" -o "$TMPDIR/words" --rank 8 --steps 40 --lr 0.01 --warmup 2 --batch 4
expect 0 "a run"
for pair in one:lamp two:river three:green four:table; do
    same "$(ask --adapter "$TMPDIR/words" "What is the word for ${pair%:*}?")" "${pair#*:}" "the learned word for ${pair%:*}"
done
R=$TMPDIR/words/report.json
says "$R" '"failure": null' "the report"
says "$R" '"same_bits": true' "the adapter read again"
says "$R" '"same": true' "the frozen weights"
says "$R" '"control_changed_bit_seen": true' "the control of the hashes"
lacks "$R" '"bytes_hashed": 0' "the frozen weights"
same "$(wc -l <"$TMPDIR/words/log.jsonl" | tr -d ' ')" 40 "lines of the log"
says "$TMPDIR/words/recipe.json" '"rank": 8' "the recipe that was used"
mkdir "$TMPDIR/again"
echo old >"$TMPDIR/again/log.jsonl"
run "$FACET" tune -q --recipe "$TMPDIR/words/recipe.json" -o "$TMPDIR/again"
expect 0 "the same run from its recipe"
same "$(wc -l <"$TMPDIR/again/log.jsonl" | tr -d ' ')" 40 "lines of the log in a folder that had one"
cmp -s "$TMPDIR/words/adapter_model.safetensors" "$TMPDIR/again/adapter_model.safetensors" && fine || wrong "another adapter from the same recipe"

# ---- experts, 8-bit states; any number of threads ------------------------------------------------------------
tiny 26B
T=$TMPDIR/26B.gguf
few() { run "$FACET" tune -q -m "$T" -d "$D" --preset experts-all --rank 4 --batch 3 --steps 8 --lr 0.002 --optimizer adamw-8bit "$@"; }
few -o "$TMPDIR/t1" --threads 1
expect 0 "experts"
few -o "$TMPDIR/t3" --threads 3
cmp -s "$TMPDIR/t1/adapter_model.safetensors" "$TMPDIR/t3/adapter_model.safetensors" && fine || wrong "threads change the adapter"
says "$TMPDIR/t1/report.json" '"linear": "experts.gate_up_proj"' "experts in the report"
says "$TMPDIR/t1/report.json" '"expert_tokens"' "tokens of experts in the report"
run "$FACET" run -q -m "$T" --temp 0 -n 4 --adapter "$TMPDIR/t1" "Hello"
expect 0 "the adapter of experts runs"

# ---- stopped and gone on with, the same bits -----------------------------------------------------------------
few -o "$TMPDIR/half" --stop-after 3
expect 0 "a run that stops"
[ -e "$TMPDIR/half/report.json" ] && wrong "a report of half a run" || fine
run "$FACET" tune -q -o "$TMPDIR/half" --resume --stop-after 0
expect 0 "the second half"
cmp -s "$TMPDIR/t1/adapter_model.safetensors" "$TMPDIR/half/adapter_model.safetensors" && fine || wrong "the run that was stopped ends elsewhere"
same "$(wc -l <"$TMPDIR/half/log.jsonl" | tr -d ' ')" 8 "lines of both halves"
"$FACET" tune -q -m "$T" -d "$D" -o "$TMPDIR/long" --steps 100000 --save-every 100000 >/dev/null 2>"$err" &
pid=$!
while [ ! -s "$TMPDIR/long/log.jsonl" ] && kill -0 $pid 2>/dev/null; do sleep 0.1; done
kill -INT $pid
wait $pid
code=$?
expect 0 "Ctrl-C"
[ -s "$TMPDIR/long/checkpoint" ] && fine || wrong "Ctrl-C saved nothing"

# killed: what was logged behind the last save is logged once
few -o "$TMPDIR/killed" --stop-after 3
sed -n 3p "$TMPDIR/killed/log.jsonl" | sed 's/"step":3/"step":4/' >>"$TMPDIR/killed/log.jsonl"
printf '{"step":5,"lo' >>"$TMPDIR/killed/log.jsonl"
run "$FACET" tune -q -o "$TMPDIR/killed" --resume --stop-after 0
expect 0 "going on after a kill"
same "$(sed 's/.*"step":\([0-9]*\).*/\1/' "$TMPDIR/killed/log.jsonl" | tr '\n' ' ')" "1 2 3 4 5 6 7 8 " "steps of the log"

refuses 1 'another "rank"' "another rank" "$FACET" tune -q -o "$TMPDIR/half" --resume --rank 5
row five stone >>"$D"
refuses 1 'another data' "other data" "$FACET" tune -q -o "$TMPDIR/half" --resume --steps 8
cp "$TMPDIR/half/checkpoint" "$TMPDIR/whole"
head -c 5000 "$TMPDIR/whole" >"$TMPDIR/half/checkpoint"
refuses 1 'damaged or cut short' "half a checkpoint" "$FACET" tune -q -o "$TMPDIR/half" --resume

# ---- hot experts ---------------------------------------------------------------------------------------------------
run "$FACET" tune -m "$M" -d "$D" --profile -o "$TMPDIR/hot"
expect 0 "a profile"
says "$out" 'most   share' "a profile"
same "$(grep -c '"layer"' "$TMPDIR/hot/profile.json")" 6 "layers of a profile"
hot() { run "$FACET" tune -q -m "$M" -d "$D" --preset experts-hot --only --hot-count 3 --batch 2 --steps 4 --lr 0.002 "$@"; }
hot -o "$TMPDIR/hot"
expect 0 "hot experts"
same "$(grep -A4 '"experts.down_proj"' "$TMPDIR/hot/report.json" | grep -c '"pairs": 3')" 6 "three experts in each layer"
hot -o "$TMPDIR/hot2" --stop-after 2
expect 0 "hot experts of a profile made on the way"
cmp -s "$TMPDIR/hot/profile.json" "$TMPDIR/hot2/profile.json" && fine || wrong "another profile of the same data"
run "$FACET" tune -q -o "$TMPDIR/hot2" --resume --stop-after 0
expect 0 "the second half with hot experts"
cmp -s "$TMPDIR/hot/adapter_model.safetensors" "$TMPDIR/hot2/adapter_model.safetensors" && fine || wrong "the run with hot experts that was stopped ends elsewhere"

# ---- pairs ------------------------------------------------------------------------------------------------------
P=$TMPDIR/pairs.jsonl
pair() { printf '{"prompt": [{"role": "user", "content": "What is the word for %s?"}], "chosen": "%s", "rejected": "%s"}\n' "$1" "$2" "$3"; }
{ pair one lamp cloud; pair two river stone; pair three green house; } >"$P"
prefer() { run "$FACET" tune -q -m "$T" -d "$P" --method dpo --preset experts-all --rank 4 --batch 2 --epochs 3 --lr 0.002 "$@"; }
prefer -o "$TMPDIR/p1"
expect 0 "pairs"
says "$TMPDIR/p1/log.jsonl" '"margin":' "the log of pairs"
prefer -o "$TMPDIR/p2" --stop-after 3
run "$FACET" tune -q -o "$TMPDIR/p2" --resume --stop-after 0
expect 0 "the second half with pairs"
cmp -s "$TMPDIR/p1/adapter_model.safetensors" "$TMPDIR/p2/adapter_model.safetensors" && fine || wrong "the run with pairs that was stopped ends elsewhere"

# ---- a plan, gradients, refusals ------------------------------------------------------------------------------
run "$FACET" tune -m "$M" -d "$D" --dry-run
expect 0 "a plan"
says "$out" 'trained: ' "a plan"
says "$out" '5 rows' "a plan"
says "$out" 'optimizer' "a plan"
says "$out" "$(printf '\302\273lamp')" "what is trained of an example"
run "$FACET" tune -q -m "$T" -d "$D" -o "$TMPDIR/g" --steps 1 --exact --dump-grads "$TMPDIR/grads"
expect 0 "gradients"
[ "$(wc -c <"$TMPDIR/grads/loss.npy")" -eq 132 ] && fine || wrong "the loss is no single number"
[ -s "$TMPDIR/grads/base_model.model.model.language_model.layers.0.self_attn.q_proj.lora_B.weight.npy" ] && fine || wrong "no gradient of the first q_proj"
run "$FACET" tune -q -m "$T" -d "$D" -o "$TMPDIR/g2" --steps 2 --init-from "$TMPDIR/t1" --adapter-class text
expect 0 "from an adapter"
says "$TMPDIR/g2/adapter_config.json" 'model\\.(?:layers' "the text class"
refuses 2 'exclude each other' "targets and a preset" "$FACET" tune -m "$M" -d "$D" -o "$TMPDIR/x" --targets dense --preset dense
refuses 2 'where the adapter is to go' "no folder" "$FACET" tune -m "$M" -d "$D"
refuses 2 '--init-from has' "a rank beside an adapter" "$FACET" tune -m "$M" -d "$D" -o "$TMPDIR/x" --init-from "$TMPDIR/t1" --rank 3
refuses 1 'no chosen and rejected' "DPO without pairs" "$FACET" tune -q -m "$M" -d "$D" -o "$TMPDIR/x" --method dpo
refuses 1 'does not stream' "a limit of memory" "$FACET" tune -m "$M" -d "$D" -o "$TMPDIR/x" --memory 4G
refuses 1 'no such target' "a target that is none" "$FACET" tune -q -m "$M" -d "$D" -o "$TMPDIR/x" --targets dense,nose
refuses 1 'no profile' "hot experts without a profile" "$FACET" tune -q -m "$M" -d "$D" --dry-run --preset experts-hot
refuses 1 'no stages' "layers of training" "$FACET" tune -q -m "$M" -d "$D" -o "$TMPDIR/x" --preset layered
refuses 1 'no file was named' "no data" "$FACET" tune -q -m "$M" -o "$TMPDIR/x"
echo '{"rank": 4, "rnak": 5}' >"$TMPDIR/bad.json"
refuses 1 '"rnak"' "a misspelt setting" "$FACET" tune -q -m "$M" -d "$D" -o "$TMPDIR/x" --recipe "$TMPDIR/bad.json"
tiny E2B
refuses 1 'has none' "a profile of a model without experts" "$FACET" tune -q -m "$TMPDIR/E2B.gguf" -d "$D" --profile
refuses 1 'no experts' "experts of a model without" "$FACET" tune -q -m "$TMPDIR/E2B.gguf" -d "$D" -o "$TMPDIR/x" --preset experts-all

report
