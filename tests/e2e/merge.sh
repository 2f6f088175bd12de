#!/bin/sh
# facet merge as a user runs it: folders and files, the report, the warning, what is refused.
. tests/e2e/common

D=$TMPDIR/files
mkdir "$D"
M=tests/golden/26b/model
A=tests/golden/lora/26b/adapter
ids=2,5,9,40,41,42,100,17

run "$FACET" merge -m "$M" --adapter "$A" "$D/merged"
expect 0 "a folder"
says "$out" "ffn_gate_up_exps" "a folder"
says "$out" "without the adapter" "a folder"
lacks "$out" "WARNING" "a folder in 16 bits"
cmp -s "$M/config.json" "$D/merged/config.json" && fine || wrong "the folder's configuration is another one"
same "$(ls "$D/merged" | tr '\n' ' ')" "config.json generation_config.json model.safetensors " "files of the folder"
run "$FACET" merge -m "$M" --adapter "$A=0.5" --adapter "$A=0.5" "$D/f32" --type f32 --json
expect 0 "two halves, as JSON"
for key in '"terms": ' '"destroyed": false' '"divergence": ' '"merged": ' '"without_adapter": ' '"kept": 1.0' '"attn_q": '; do says "$out" "$key" "two halves, as JSON"; done
run "$FACET" merge -m "$M" --adapter "$A" "$D/f32.gguf" --type f32 -q
expect 0 "a file, quietly"
same "$(cat "$out")" "" "a file, quietly"
# the same tokens as beside the model
for where in "-m $M --adapter $A" "-m $D/f32" "-m $D/f32.gguf"; do
    run "$FACET" logits -q --exact --tokens $ids --greedy 12 $where
    expect 0 "tokens of $where"
    [ -e "$TMPDIR/tokens" ] || cp "$out" "$TMPDIR/tokens"
    same "$(cat "$out")" "$(cat "$TMPDIR/tokens")" "tokens of $where"
done
run "$FACET" logits -q --exact --tokens $ids --greedy 12 -m "$M"
[ "$(cat "$out")" != "$(cat "$TMPDIR/tokens")" ] && fine || wrong "the adapter changes no token: nothing was compared"

# few bits
tiny 26B q4_0
${RUN:-} "$BUILD/tests/gen/mk_adapter" "$M" "$A" gguf "$TMPDIR/adapter.gguf" || wrong "mk_adapter"
run "$FACET" merge -m "$M" --adapter "$TMPDIR/adapter.gguf=0.01" "$D/small.gguf" --type mxfp4 --text ""
says "$err" "no tokenizer" "a text for a model without a tokenizer"
run "$FACET" merge -m "$M" --adapter "$TMPDIR/adapter.gguf=0.0001" "$D/small.gguf" --force
expect 0 "a change smaller than the steps of 16 bits"
says "$out" "WARNING: rounding to bf16" "a change smaller than the steps of 16 bits"
says "$out" "Keep the adapter beside the model" "a change smaller than the steps of 16 bits"

# ---- refused ------------------------------------------------------------------------------------------
rm -rf "$D"/*
refuses 2 'no adapter was named' "no adapter" "$FACET" merge -m "$M" "$D/x"
refuses 2 'OUT' "no place" "$FACET" merge -m "$M" --adapter "$A"
refuses 1 'ends in .gguf' "a folder in 4 bits" "$FACET" merge -m "$M" --adapter "$A" "$D/x" --type q4_0
refuses 1 'no-such' "no such adapter" "$FACET" merge -m "$M" --adapter no-such "$D/x"
refuses 1 'not empty' "the folder itself" "$FACET" merge -m "$M" --adapter "$A" "$M"
refuses 1 'No such file' "a place that is not there" "$FACET" merge -m "$M" --adapter "$A" "$D/no/x.gguf"
refuses 1 'could not' "a folder in a place that is not there" "$FACET" merge -m "$M" --adapter "$A" "$D/no/x"
cp "$M/config.json" "$D/file"
refuses 1 'a file of that name' "a file for a folder" "$FACET" merge -m "$M" --adapter "$A" "$D/file"
rm "$D/file"
same "$(ls -A "$D")" "" "what refused runs leave"
report
