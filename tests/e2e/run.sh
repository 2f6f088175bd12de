#!/bin/sh
# facet run and facet chat on tiny random models: what is the same, what is cut, what is stopped.
. tests/e2e/common

tiny E2B
tiny 26B
M=$TMPDIR/E2B.gguf
answer() { run "$FACET" run -q --invariant --ignore-end "$@"; cat "$out"; }     # the answer, for comparing: in any chunks

hot='--temp 8 --top-k 0 --top-p 1'      # random weights have strong opinions
# ---- one seed, one text ---------------------------------------------------------------------------------
for m in E2B 26B; do
    m=$TMPDIR/$m.gguf
    first=$(answer -m "$m" $hot --seed 7 -n 40 --threads 1 "Tell me something.")
    [ -n "$first" ] && fine || wrong "an empty answer"
    for t in 1 2 3; do
        for chunk in 3 512; do
            same "$(answer -m "$m" $hot --seed 7 -n 40 --threads $t --chunk $chunk "Tell me something.")" "$first" "$t threads, chunk $chunk"
        done
    done
    [ "$(answer -m "$m" $hot --seed 8 -n 40 "Tell me something.")" != "$first" ] && fine || wrong "another seed gave the same text"
done
greedy=$(answer -m "$M" --temp 0 -n 30 "Tell me something.")
same "$(answer -m "$M" --top-k 1 --seed 3 -n 30 "Tell me something.")" "$greedy" "top-k 1 is greedy"
same "$(answer -m "$M" --top-p 0 --seed 4 -n 30 "Tell me something.")" "$greedy" "top-p 0 is greedy"
same "$(answer -m "$M" --min-p 1 --seed 5 -n 30 "Tell me something.")" "$greedy" "min-p 1 is greedy"
[ "$(answer -m "$M" --temp 0 -n 30 --presence-penalty 100 "Tell me something.")" != "$greedy" ] && fine || wrong "a penalty changed nothing"

# ---- where the prompt comes from ------------------------------------------------------------------------
echo "Tell me something." >"$TMPDIR/prompt"
same "$("$FACET" run -q --ignore-end -m "$M" --temp 0 -n 30 <"$TMPDIR/prompt")" "$greedy" "standard input"
same "$("$FACET" run -q --ignore-end -m "$M" --temp 0 -n 30 - <"$TMPDIR/prompt")" "$greedy" "standard input as -"
# nothing was asked: no answer, before any model is opened
refuses 2 'the prompt is empty: standard input has nothing in it' "empty standard input" "$FACET" run -m "$M"
says "$err" 'Give a text' "empty standard input"
refuses 2 'the prompt is empty' "empty standard input as -" "$FACET" run -m no-such-model -
refuses 2 'the prompt is empty' "nothing to go on with from standard input" "$FACET" run -m "$M" --raw
refuses 2 'the prompt is empty: PROMPT has no words in it' "an empty prompt" "$FACET" run -m "$M" ''
refuses 2 'the prompt is empty' "a prompt of blanks" "$FACET" run -m "$M" "$(printf ' \t\n ')"
printf ' \n\n' >"$TMPDIR/blank"
timeout 60 "$FACET" run -m "$M" <"$TMPDIR/blank" >"$out" 2>"$err"
code=$?
expect 2 "a file of blanks"
run "$FACET" run -q -m "$M" --raw -n 4 --ignore-end ''
expect 0 "raw text from nothing"
[ -s "$out" ] && fine || wrong "raw text from nothing has no answer"
echo '{"messages": [{"role": "user", "content": "Tell me something."}]}' >"$TMPDIR/chat.json"
same "$(answer -m "$M" --temp 0 -n 30 --chat "$TMPDIR/chat.json")" "$greedy" "a conversation from a file"
[ "$(answer -m "$M" --temp 0 -n 30 --system "Be brief." "Tell me something.")" != "$greedy" ] && fine || wrong "system instructions changed nothing"
[ "$(answer -m "$M" --temp 0 -n 30 --raw "Tell me something.")" != "$greedy" ] && fine || wrong "--raw changed nothing"
FACET_MODELS=$TMPDIR run "$FACET" run -q --ignore-end -m e2b --temp 0 -n 30 "Tell me something."
same "$(cat "$out")" "$greedy" "a model by its name"

# ---- raw text is what logits --greedy goes on with -------------------------------------------------------
run "$FACET" logits -q -m "$M" --text "Hello there" --greedy 12 -o "$TMPDIR/logits.npy"
expect 0 "logits"
ids=$(tail -n 1 "$out")
run "$FACET" run -q --ignore-end -m "$M" --raw --temp 0 -n 12 --json --logprobs 0 "Hello there"
expect 0 "raw text as JSON"
same "{\"tokens\":[$(grep -o '"token":[0-9]*' "$out" | cut -d: -f2 | tr '\n' ',' | sed 's/,$//')]}" "$ids" "greedy tokens of run and logits"
says "$out" '"finish":"length"' "raw text as JSON"
same "$(head -c 6 "$TMPDIR/logits.npy" | tail -c 5)" NUMPY "logits file"
rows=$(head -c 128 "$TMPDIR/logits.npy" | tr -dc ' -~' | sed 's/.*(\([0-9]*\), \([0-9]*\)).*/\1 \2/')
same "$(wc -c <"$TMPDIR/logits.npy")" "$((128 + 4 * ${rows% *} * ${rows#* }))" "size of the logits file"
run "$FACET" logits -q -m "$M" --text "Hello there" --greedy 12 --chunk 1 --threads 2 -o "$TMPDIR/again.npy"
cmp -s "$TMPDIR/logits.npy" "$TMPDIR/again.npy" && fine || wrong "logits depend on the chunk"
run "$FACET" logits -q -m "$M" --text "Hello there" --dump-layers "$TMPDIR/layers"
expect 0 "dumped layers"
for t in -1.embed 0.attn_out 3.out -1.final_norm; do [ -s "$TMPDIR/layers/$t.npy" ] && fine || wrong "$t is not dumped"; done
cp "$TMPDIR/layers/3.out.npy" "$TMPDIR/3.npy"
run "$FACET" logits -q -m "$M" --text "Hello there" --chunk 2 --dump-layers "$TMPDIR/layers"
cmp -s "$TMPDIR/3.npy" "$TMPDIR/layers/3.out.npy" && fine || wrong "dumped layers depend on the chunk"

# ---- limits and stop texts ------------------------------------------------------------------------------
run "$FACET" run --ignore-end -m "$M" --temp 0 -n 5 "Tell me something."
expect 0 "five tokens"
says "$err" "answer 5 tokens" "five tokens"
says "$err" "cut by the limit" "five tokens"
lacks "$out" "tokens" "figures on standard output"
run "$FACET" run --ignore-end -m "$M" --temp 0 --ctx 40 "Tell me something."
expect 0 "a full context"
says "$err" "cut by the limit" "a full context"
run "$FACET" run -q --ignore-end -m "$M" --raw --temp 0 -n 60 "abc"
whole=$(cat "$out")
# a stop text out of the middle of the answer, each of its lengths; the answer ends right before its first place
middle=$(printf '%s' "$whole" | tr -d '\n' | tr -c ' -~' '\n' | awk 'length > n { n = length; s = $0 } END { print substr(s, 2, 6) }')
for n in 1 2 3 4 5 6; do
    stop=$(printf '%.'$n's' "$middle")
    [ ${#stop} -eq $n ] || continue
    run "$FACET" run -q --ignore-end -m "$M" --raw --temp 0 -n 60 --json --stop "$stop" --stop "never this" "abc"
    says "$out" '"finish":"stop"' "stop text \"$stop\""
    run "$FACET" run -q --ignore-end -m "$M" --raw --temp 0 -n 60 --stop "$stop" "abc"
    got=$(cat "$out")
    same "$got" "${whole%%"$stop"*}" "stop text \"$stop\""
done
[ ${#middle} -ge 2 ] && fine || wrong "the random answer has no two letters in a row: the stop texts were not tested"

run "$FACET" run --think --think-budget 3 -m "$BUNDLED" --temp 0 --json "What is 12 + 30?"
expect 0 "a thought with a limit"
says "$out" '"thought_tokens":3' "a thought with a limit"
lacks "$out" '"content":""' "an answer behind a thought with a limit"
run "$FACET" run --raw --think-budget 3 -m "$M" "abc"
says "$err" "belong to conversations" "a limit of thought with --raw"

# ---- a chat from a pipe ----------------------------------------------------------------------------------
printf 'One.\nTwo.\n\nThree.' | timeout 60 "$FACET" chat -m "$M" --seed 2 -n 6 >"$out" 2>"$err"
code=$?
expect 0 "a chat from a pipe"
same "$(grep -c 'answer [0-9]* tokens' "$err")" 3 "answers of a chat"
printf '/think on\n/system Be brief.\n/help\n/save %s\n/clear\n/quit\nnever\n' "$TMPDIR/saved.json" | timeout 60 "$FACET" chat -m "$M" >"$out" 2>"$err"
code=$?
expect 0 "commands of the chat"
same "$(cat "$out")" "" "answers to commands"
says "$TMPDIR/saved.json" '"Be brief."' "/save"
says "$TMPDIR/saved.json" '"enable_thinking": true' "/save"
lacks "$err" "tokens," "what follows /quit"
printf 'One.\n/save %s\n' "$TMPDIR/saved.json" | timeout 60 "$FACET" chat -q -m "$M" --temp 0 -n 6 >"$out" 2>"$err"
says "$TMPDIR/saved.json" '"role": "assistant"' "a saved answer"
run "$FACET" run -q -m "$M" -n 3 --chat "$TMPDIR/saved.json"
expect 0 "a saved conversation goes on"
for line in /claer '/sav x' /etc; do
    printf '%s\n' "$line" | timeout 60 "$FACET" chat -q -m "$M" -n 3 >"$out" 2>"$err"
    code=$?
    expect 1 "$line"
    says "$err" "unknown command \"${line%% *}\"" "$line"
done
for line in /etc/passwd ' /claer' /2; do
    printf '%s\n' "$line" | timeout 60 "$FACET" chat -m "$M" -n 3 --ignore-end >"$out" 2>"$err"
    code=$?
    expect 0 "$line"
    says "$err" "answer 3 tokens" "$line"
done
# the third turn does not fit any more; what helps is the chat's own command
printf 'One two three four five.\nOne two three four five.\nOne two three four five.\n' |
    timeout 60 "$FACET" chat -q -m "$M" --ctx 120 --temp 0 -n 12 --ignore-end >"$out" 2>"$err"
code=$?
expect 1 "a chat that fills its context"
says "$err" 'cannot fit the prompt into the context' "a chat that fills its context"
says "$err" 'with /clear' "a chat that fills its context"
printf 'One two three four five.\nOne two three four five.\n/clear\nOne two three four five.\n' |
    timeout 60 "$FACET" chat -m "$M" --ctx 120 --temp 0 -n 12 --ignore-end >"$out" 2>"$err"
code=$?
expect 0 "a chat that is cleared in time"
same "$(grep -c 'answer 12 tokens' "$err")" 3 "answers of a chat that is cleared in time"
long=$(seq -s ' ' 40)
echo "$long" | timeout 60 "$FACET" chat -q -m "$M" --ctx 80 >"$out" 2>"$err"
code=$?
expect 1 "a first message longer than the context"
says "$err" 'a shorter prompt' "a first message longer than the context"
lacks "$err" '/clear' "a first message longer than the context"
: | timeout 60 "$FACET" chat -m "$M" >"$out" 2>"$err"
code=$?
expect 0 "an empty chat"
same "$(cat "$out")" "" "the answers of an empty chat"
lacks "$err" "answer" "an empty chat"
printf '/save /proc/facet-no-such/x\nhi\n' | timeout 60 "$FACET" chat -q -m "$M" >"$out" 2>"$err"
code=$?
expect 1 "a chat that cannot save"

# ---- Ctrl-C -----------------------------------------------------------------------------------------------
# A long answer is stopped within a layer; what was said stays; the exit code is that of an interrupt.
interrupt() {   # interrupt SIGNAL
    rm -f "$out" "$err"
    # sh gives background jobs an ignored SIGINT; env --default-signal undoes it
    env --default-signal=INT,TERM "$FACET" run -m "$M" --ignore-end "Tell me everything." >"$out" 2>"$err" </dev/null &
    pid=$!
    for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        [ -s "$out" ] && break
        sleep 0.1
    done
    kill -"$1" $pid
    wait $pid
    code=$?
}
interrupt INT
expect 130 "Ctrl-C"
says "$err" "interrupted" "Ctrl-C"
[ -s "$out" ] && fine || wrong "nothing was said before Ctrl-C"
interrupt TERM
expect 130 "SIGTERM"
# In a chat at a terminal it ends the answer, and the chat goes on: script(1) is the terminal, ^C a key.  Its shell must not be there to hear it, hence exec.
wait_for() { for i in $(seq 150); do grep -qF -- "$1" "$out" && return; sleep 0.1; done; wrong "no \"$1\" from a chat at a terminal"; }
rm -f "$out" "$TMPDIR/keys"
mkfifo "$TMPDIR/keys"
env --default-signal=INT,TERM timeout 60 script -qefc "exec $FACET chat -m $M --ignore-end --seed 2" /dev/null <"$TMPDIR/keys" >"$out" 2>"$err" &
pid=$!
exec 5>"$TMPDIR/keys"
wait_for 'Ctrl-D ends'
printf 'Tell me everything.\n' >&5
for i in $(seq 150); do [ "$(sed '1,/Tell me everything/d' "$out" | wc -c)" -gt 8 ] && break; sleep 0.1; done    # it has begun
printf '\003' >&5
wait_for 'interrupted]'
printf '/clear\n' >&5
wait_for 'The conversation is empty.'
printf '/quit\n' >&5
exec 5>&-
wait $pid
code=$?
expect 0 "a chat at a terminal after Ctrl-C"
same "$(grep -c 'interrupted\]' "$out")" 1 "answers that Ctrl-C ended"
report
