#!/bin/sh
# Bad files, impossible wishes, full disks: what is said, with which exit code.
. tests/e2e/common

tiny E2B
M=$TMPDIR/E2B.gguf
bytes() { printf "$1"; }   # octal escapes
# gguf ARCHITECTURE: the smallest GGUF file that names it
gguf() {
    bytes 'GGUF\003\000\000\000\000\000\000\000\000\000\000\000\001\000\000\000\000\000\000\000'
    bytes '\024\000\000\000\000\000\000\000general.architecture\010\000\000\000'
    bytes "\\$(printf %03o ${#1})\\000\\000\\000\\000\\000\\000\\000$1"
}

# ---- files ---------------------------------------------------------------------------------------------
refuses 1 'nowhere.gguf' "a missing file" "$FACET" run -m "$TMPDIR/nowhere.gguf" hi
refuses 1 'no-such-model' "a name that nobody knows" "$FACET" run -m no-such-model hi
: >"$TMPDIR/empty.gguf"
refuses 1 'empty.gguf' "an empty file" "$FACET" run -m "$TMPDIR/empty.gguf" hi
echo 'hello, this is no model' >"$TMPDIR/text.gguf"
refuses 1 'text.gguf' "a text file" "$FACET" run -m "$TMPDIR/text.gguf" hi
gguf llama >"$TMPDIR/llama.gguf"
refuses 1 'llama' "another architecture" "$FACET" run -m "$TMPDIR/llama.gguf" hi
gguf clip >"$TMPDIR/mmproj.gguf"
refuses 1 'mmproj' "an mmproj file" "$FACET" run -m "$TMPDIR/mmproj.gguf" hi
gguf gemma4 >"$TMPDIR/hollow.gguf"
refuses 1 'gemma4.' "a file without sizes" "$FACET" run -m "$TMPDIR/hollow.gguf" hi
size=$(wc -c <"$M")
for part in 3 50 90 99; do
    head -c $((size * part / 100)) "$M" >"$TMPDIR/cut.gguf"
    refuses 1 'cut.gguf' "$part % of a file" "$FACET" run -m "$TMPDIR/cut.gguf" hi
    says "$err" 'facet: ' "$part % of a file"
done
mkdir -p "$TMPDIR/folder"
refuses 1 'folder' "a folder without a model" "$FACET" run -m "$TMPDIR/folder" hi
cp tests/golden/31b-f32/model/config.json "$TMPDIR/folder/"
refuses 1 'safetensors' "a folder without weights" "$FACET" run -m "$TMPDIR/folder" hi
echo '{"model_type": "llama"}' >"$TMPDIR/folder/config.json"
refuses 1 'llama' "a folder of another architecture" "$FACET" run -m "$TMPDIR/folder" hi
echo '{"model_type": ' >"$TMPDIR/folder/config.json"
refuses 1 'config.json' "a broken config.json" "$FACET" run -m "$TMPDIR/folder" hi
cp -r tests/golden/e4b/model "$TMPDIR/e4b" && rm "$TMPDIR/e4b/model-00002-of-00003.safetensors"
refuses 1 'e4b/model-00002-of-00003.safetensors": it is part 2 of 3 of the model' "a folder without one of its files" "$FACET" run -m "$TMPDIR/e4b" hi
says "$err" 'No such file' "a folder without one of its files"
if [ "$(id -u)" -ne 0 ]; then
    cp "$M" "$TMPDIR/secret.gguf" && chmod 0 "$TMPDIR/secret.gguf"
    refuses 1 'ermission denied' "a file that may not be read" "$FACET" run -m "$TMPDIR/secret.gguf" hi
fi
refuses 1 'is a folder' "a folder as output" "$FACET" logits -m "$M" --tokens 2,5 -o "$TMPDIR/folder"
refuses 1 'could not write' "an output where no file can be" "$FACET" logits -m "$M" --tokens 2,5 -o /proc/facet-no-such/out.npy
refuses 1 'could not make the folder' "a folder where none can be" "$FACET" logits -m "$M" --tokens 2,5 --dump-layers /proc/facet-no-such
refuses 1 'tokenizer.json' "text for a model without a vocabulary" "$FACET" run -m tests/golden/31b-f32/model hi

# names in files are shown, not obeyed
bytes 'GGUF\003\000\000\000\001\000\000\000\000\000\000\000\001\000\000\000\000\000\000\000\024\000\000\000\000\000\000\000general.architecture\010\000\000\000\010\000\000\000\000\000\000\000a\033[31m\nb\004\000\000\000\000\000\000\000t\033\302\233\001\000\000\000\001\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000' >"$TMPDIR/escape.gguf"
head -c 64 /dev/zero >>"$TMPDIR/escape.gguf"
run "$FACET" inspect --tensors "$TMPDIR/escape.gguf"
same "$(LC_ALL=C tr -d '\n -~' <"$out" | od -An -c)" "" "control characters of a file"
says "$out" 'a?[31m?b' "the name of an architecture"
says "$out" 't??' "the name of a tensor"

# ---- the bundled model is looked for beside the program --------------------------------------------------
cp "$BUILD/facet" "$TMPDIR/facet-alone"
refuses 1 'bundled miniature' "a program alone" ${RUN:-} "$TMPDIR/facet-alone" run hi

# ---- impossible wishes -------------------------------------------------------------------------------
refuses 1 'the model was made for' "a context beyond the model's" "$FACET" run -m "$M" --ctx 1000000 hi
refuses 1 'context' "a prompt longer than the context" "$FACET" run -m "$M" --ctx 8 "one two three four five six seven"
refuses 1 '--ctx' "logits beyond the context" "$FACET" logits -m "$M" --ctx 3 --tokens 2,3,4,5 -o "$TMPDIR/x.npy"
refuses 1 'token 999999999' "a token that is not there" "$FACET" logits -m "$M" --tokens 2,999999999 -o "$TMPDIR/x.npy"
refuses 2 '--tokens' "tokens that are no numbers" "$FACET" logits -m "$M" --tokens 2,,3 -o "$TMPDIR/x.npy"
case $("$FACET" version --json | sed -n 's/.*"build": "\([^ ]*\) .*/\1/p') in
x86_64)  absent=neon ;;
aarch64) absent=avx2 ;;
*)       absent=avx2,neon ;;
esac
refuses 1 "cannot use the instruction set $(echo $absent | tr , ' ')" "a set that this machine lacks" "$FACET" run -m "$M" --isa $absent hi
says "$err" 'this build of facet has ref' "a set that this machine lacks"
refuses 1 'cannot use the instruction set' "the same for logits" "$FACET" logits -m "$M" --isa $absent --tokens 2,3 -o "$TMPDIR/x.npy"
FACET_ISA=$absent refuses 1 'FACET_ISA: cannot use the instruction set' "the same from the environment" "$FACET" run -m "$M" hi
# a set that is known but that no kernel is written for is not there either
built=$("$FACET" version --json | sed -n 's/.*"isa_built": "\(.*\)",/\1/p')
for set in avx2 avxvnni avx512 bf16 amx neon; do
    case " $built " in *" $set "*) ;; *) refuses 1 "$set" "--isa $set without kernels" "$FACET" run -m "$M" --isa $set hi ;; esac
done
refuses 2 '--bias' "a bias that is none" "$FACET" run -m "$M" --bias 12 hi
refuses 1 'cannot bias token' "a bias for a token that is not there" "$FACET" run -m "$M" --bias 99999999=1 hi
refuses 1 'stop text' "an empty stop text" "$FACET" run -m "$M" --stop '' hi
refuses 2 '--tokens' "nothing to go on with" "$FACET" logits -m "$M" --tokens '' -o "$TMPDIR/x.npy"
[ -e "$TMPDIR/x.npy" ] && wrong "a failed command left its output behind"
for f in "$TMPDIR"/*.tmp-*; do [ -e "$f" ] && wrong "a failed command left $f behind"; done

# ---- conversations -------------------------------------------------------------------------------------
echo '{"messages": [{"role": "user", "content": ' >"$TMPDIR/chat.json"
refuses 1 'JSON' "a broken conversation" "$FACET" run -m "$M" --chat "$TMPDIR/chat.json"
echo '{"messages": 3}' >"$TMPDIR/chat.json"
refuses 1 'messages' "a conversation without messages" "$FACET" run -m "$M" --chat "$TMPDIR/chat.json"
refuses 1 'absent.json' "a conversation that is not there" "$FACET" run -m "$M" --chat "$TMPDIR/absent.json"
refuses 1 'UTF-8' "a prompt that is no text" "$FACET" run -m "$M" "$(printf 'a\377b')"

# ---- full disks -------------------------------------------------------------------------------------------
refuses 1 'No space left' "logits on a full disk" "$FACET" logits -m "$M" --tokens 2,3 -o /dev/full
timeout 60 "$FACET" run -q -m "$M" -n 8 --temp 0 hi >/dev/full 2>"$err" </dev/null
code=$?
expect 1 "an answer on a full disk"
says "$err" 'No space left' "an answer on a full disk"
for c in help "run --help" "version --json" "plan -m $M" "inspect $M"; do
    timeout 60 "$FACET" $c >/dev/full 2>"$err" </dev/null
    code=$?
    expect 1 "$c on a full disk"
    says "$err" 'could not write' "$c on a full disk"
done
# ---- nobody reads the output any more ---------------------------------------------------------------------
# The end of other programs: by SIGPIPE, quietly, whoever ignored that signal before.
mkfifo "$TMPDIR/fifo"
exec 3<>"$TMPDIR/fifo" 4>"$TMPDIR/fifo" 3<&-      # 4: a pipe that nobody reads
echo '{"messages": [{"role": "user", "content": "Hi"}]}' >"$TMPDIR/chat.json"
printf 'Hi\nHi again\n' >"$TMPDIR/lines"
piped() {   # piped COMMAND...
    for how in default ignore; do
        timeout 60 env --$how-signal=PIPE "$@" >&4 2>"$err" <"$TMPDIR/lines"
        code=$?
        expect 141 "$2 into a closed pipe ($how)"
        lacks "$err" 'facet: ' "$2 into a closed pipe ($how)"
    done
}
piped "$FACET" help
piped "$FACET" run --help
piped "$FACET" version --json
piped "$FACET" plan -m "$M"
piped "$FACET" inspect --tensors "$M"
piped "$FACET" tokenize -m "$M"
piped "$FACET" parse -m "$M"
piped "$FACET" render -m "$M" "$TMPDIR/chat.json"
FACET_MODELS=$TMPDIR piped "$FACET" list
piped "$FACET" run -m "$M" --temp 0 -n 40 --ignore-end
piped "$FACET" run -m "$M" --temp 0 -n 4 --json
piped "$FACET" chat -m "$M" -n 8
piped "$FACET" logits -m "$M" --tokens 2,3 --greedy 2
# and much output, of which the first part was taken
head -c 300000 "$M" | base64 >"$TMPDIR/long"
{ timeout 60 "$FACET" tokenize -m "$M" <"$TMPDIR/long" 2>"$err"; echo $? >"$TMPDIR/code"; } | head -n 1 >/dev/null
code=$(cat "$TMPDIR/code")
expect 141 "tokenize | head"
same "$(cat "$err")" "" "tokenize | head"
exec 4>&-
# standard output closed altogether is an error like any other, and no file gets its number
timeout 60 "$FACET" logits -q -m "$M" --tokens 2,3 --greedy 2 -o "$TMPDIR/x.npy" >&- 2>"$err"
code=$?
expect 1 "no standard output"
says "$err" 'could not write to standard output' "no standard output"
run "$FACET" logits -q -m "$M" --tokens 2,3 -o "$TMPDIR/y.npy"
cmp -s "$TMPDIR/x.npy" "$TMPDIR/y.npy" && fine || wrong "without a standard output, texts land in the file"

# a small disk of our own, where this is allowed: nothing half-written stays
if mkdir -p "$TMPDIR/disk" && mount -t tmpfs -o size=16k none "$TMPDIR/disk" 2>/dev/null; then
    refuses 1 'No space left' "a disk that fills up" "$FACET" logits -m "$M" --tokens 2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17 -o "$TMPDIR/disk/out.npy"
    same "$(ls -A "$TMPDIR/disk")" "" "what is left on a disk that filled up"
    umount "$TMPDIR/disk"
fi
report
