#!/bin/sh
# facet quantize as a user runs it: the report, what is refused, what is left when it is stopped.
. tests/e2e/common

D=$TMPDIR/files
mkdir "$D"
tiny 26B f32
tiny 12B bf16
M=$TMPDIR/26B.gguf

run "$FACET" quantize "$M" "$D/q4.gguf" --type q4_0
expect 0 "4 bits"
says "$out" "attn_q " "4 bits"
says "$out" "q4_0 " "4 bits"
says "$out" "error (rms, relative)" "4 bits"
lacks "$out" "quantized before" "a source of floats"
same "$(ls -A "$D")" "q4.gguf" "what is there afterwards"
[ "$(wc -c <"$D/q4.gguf")" -lt "$(($(wc -c <"$M") / 4))" ] && fine || wrong "4 bits are no fourth of 32"
run "$FACET" run -q -m "$D/q4.gguf" --temp 0 -n 8 --ignore-end --json "Tell me something."
expect 0 "an answer in 4 bits"
says "$out" '"finish":"length"' "an answer in 4 bits"

# from 4 bits to 4 others; rows that do not fit; JSON
run "$FACET" quantize "$D/q4.gguf" "$D/k.gguf" --type q4_k --embedding q8_0
expect 0 "from 4 bits to others"
says "$out" "are no multiple of 256" "from 4 bits to others"
says "$out" "The source was quantized before (q4_0" "from 4 bits to others"
run "$FACET" quantize "$M" "$D/k.gguf" --type q4_k --json
expect 1 "a file that is there"
says "$err" "is there already" "a file that is there"
says "$err" "--force" "a file that is there"
run "$FACET" quantize "$M" "$D/k.gguf" --type q4_k --json --force
expect 0 "a file that is replaced"
for key in '"bytes_before": ' '"bytes_after": ' '"parts": ' '"experts": ' '"ffn_gate_up_exps": ' '"did_not_fit": ' '"wanted": "q4_K"' '"error": 0.0'; do
    says "$out" "$key" "the report as JSON"
done
same "$(grep -o '"bytes_after": [0-9]*' "$out" | head -n 1 | tr -dc 0-9)" "$(wc -c <"$D/k.gguf" | tr -d ' ')" "size in the report"
run "$FACET" inspect "$D/k.gguf"
says "$out" "q4_K" "types of the file"

# the bundled miniature still knows what it knew
run "$FACET" quantize "$BUNDLED" "$D/mini.gguf" --type q4_0 -q
expect 0 "the bundled miniature"
same "$(cat "$out")" "" "quiet"
run "$FACET" run -q -m "$D/mini.gguf" --temp 0 "What is 12 + 30?"
says "$out" "42" "a sum in 4 bits"
run "$FACET" tokenize -m "$BUNDLED" "What is 12 + 30? <bos>"
cp "$out" "$TMPDIR/ids"
run "$FACET" tokenize -m "$D/mini.gguf" "What is 12 + 30? <bos>"
same "$(cat "$out")" "$(cat "$TMPDIR/ids")" "tokens"
run "$FACET" quantize "$D/mini.gguf" "$D/again.gguf" --type q4_0 -q -t 3
cmp -s "$D/mini.gguf" "$D/again.gguf" && fine || wrong "a second time the file is another one"

# ---- refused ------------------------------------------------------------------------------------------
rm -f "$D"/*
refuses 2 'no type was named' "no type" "$FACET" quantize "$M" "$D/x.gguf"
refuses 2 'q8_0' "an unknown type" "$FACET" quantize "$M" "$D/x.gguf" --type q3_k
refuses 1 'the model that is read' "itself" "$FACET" quantize "$M" "$M" --type q4_0 --force
ln -s "$M" "$D/link.gguf"
refuses 1 'the model that is read' "itself by a link" "$FACET" quantize "$M" "$D/link.gguf" --type q4_0 --force
rm "$D/link.gguf"
refuses 1 'it is a folder' "a folder" "$FACET" quantize "$M" "$D" --type q4_0
refuses 1 'No such file' "a folder that is not there" "$FACET" quantize "$M" "$D/no/x.gguf" --type q4_0
refuses 1 'No space left' "a full disk" "$FACET" quantize "$M" /dev/full --type q4_0
head -c 100000 "$M" >"$TMPDIR/cut.gguf"
refuses 1 'cut.gguf' "half a file" "$FACET" quantize "$TMPDIR/cut.gguf" "$D/x.gguf" --type q4_0
echo "no model" >"$TMPDIR/text.gguf"
refuses 1 'text.gguf' "no model" "$FACET" quantize "$TMPDIR/text.gguf" "$D/x.gguf" --type q4_0
same "$(ls -A "$D")" "" "what refused runs leave"
if mkdir -p "$TMPDIR/disk" && mount -t tmpfs -o size=64k none "$TMPDIR/disk" 2>/dev/null; then
    refuses 1 'No space left' "a disk that fills up" "$FACET" quantize "$M" "$TMPDIR/disk/x.gguf" --type q4_0
    says "$err" 'Free some space' "a disk that fills up"
    same "$(ls -A "$TMPDIR/disk")" "" "what is left on a disk that filled up"
    umount "$TMPDIR/disk"
fi

# ---- stopped: when the temporary file is there, it is at work ------------------------------------------
big=$TMPDIR/12B.gguf
for signal in INT TERM; do
    "$FACET" quantize "$big" "$D/x.gguf" --type q5_1 -t 1 >"$out" 2>"$err" </dev/null &
    pid=$!
    while [ -z "$(ls -A "$D")" ] && kill -0 $pid 2>/dev/null; do sleep 0.01; done
    kill -s $signal $pid 2>/dev/null
    wait $pid
    code=$?
    if [ "$code" -eq 0 ]; then wrong "SIG$signal came too late"; else expect 130 "SIG$signal"; fi
    same "$(ls -A "$D")" "" "what SIG$signal leaves"
    same "$(cat "$out")" "" "what SIG$signal prints"
    rm -f "$D"/*
done
report
