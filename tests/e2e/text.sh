#!/bin/sh
# facet tokenize, render and parse, as a user calls them: output, messages, exit codes.
set -u
passed=0
failed=0
v=$TMPDIR/vocab.gguf
xz -dc tests/data/tokenizer/gemma-4-vocab.gguf.xz >"$v" || exit 1

check() {   # check NAME EXPECTED ACTUAL
    if [ "$2" = "$3" ]; then passed=$((passed + 1))
    else printf '%s\n  expected: %s\n  got:      %s\n' "$1" "$2" "$3"; failed=$((failed + 1)); fi
}
refused() {   # refused NAME STATUS TEXT COMMAND...: exits with STATUS, says TEXT on standard error, prints nothing
    name=$1 want=$2 says=$3
    shift 3
    out=$("$@" 2>"$TMPDIR/err")
    rc=$?
    if [ $rc -eq "$want" ] && [ -z "$out" ] && grep -qF -- "$says" "$TMPDIR/err"; then passed=$((passed + 1))
    else printf '%s: exit %s, printed "%s", said: %s\n' "$name" $rc "$out" "$(cat "$TMPDIR/err")"; failed=$((failed + 1)); fi
}

# ---- tokenize ----------------------------------------------------------------------------------
check "ids" "9259 1902" "$(printf 'Hello world' | "$FACET" tokenize -m "$v" --ids)"
check "ids of nothing" "" "$("$FACET" tokenize -m "$v" --ids </dev/null)"
check "special tokens in text are text" "236820 46757 236813" "$(printf '<bos>' | "$FACET" tokenize -m "$v" --ids)"
check "unless asked for" "2 105" "$(printf '<bos><|turn>' | "$FACET" tokenize -m "$v" --ids --special)"
check "pieces" "$(printf '10979\t"Hi"\n107\t"\\n"\n')" "$(printf 'Hi\n' | "$FACET" tokenize -m "$v")"

# ---- render ------------------------------------------------------------------------------------
cat >"$TMPDIR/talk.json" <<'X'
{"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": " Hello <turn|> "}], "add_generation_prompt": true}
X
want='<bos><|turn>system
Be brief.<turn|>
<|turn>user
Hello <turn|><turn|>
<|turn>model
<|channel>thought
<channel|>'
check "prompt" "$want" "$("$FACET" render -m "$v" "$TMPDIR/talk.json")"
check "from standard input" "$want" "$("$FACET" render -m "$v" - <"$TMPDIR/talk.json")"
check "no newline at the end" "0" "$("$FACET" render -m "$v" "$TMPDIR/talk.json" | tail -c 1 | wc -l)"
ids=$("$FACET" render -m "$v" --ids "$TMPDIR/talk.json")
check "ids of the prompt" "1" "$(case "$ids" in "2 105 9731 107 "*" 100 45518 107 101") echo 1 ;; *) echo "$ids" ;; esac)"
check "the user's <turn|> is no token" "2" "$(printf '%s\n' "$ids" | tr ' ' '\n' | grep -c '^106$')"
printf '%s' "$want" | sed 's/Hello <turn|>/Hello/' | "$FACET" tokenize -m "$v" --special --ids >"$TMPDIR/a"
sed 's/ <turn|> //' "$TMPDIR/talk.json" | "$FACET" render -m "$v" --ids - >"$TMPDIR/b"
check "ids are those of the text" "$(cat "$TMPDIR/a")" "$(cat "$TMPDIR/b")"

# ---- parse -------------------------------------------------------------------------------------
check "all parts" '{"reasoning":"hm","content":"Look.","tool_calls":[{"name":"f","arguments":{"a":1.50,"b":"x\"y"}},{"name":"g","arguments":{}}],"finish":"tool_calls"}' \
    "$(printf '<|channel>thought\nhm\n<channel|>Look.<|tool_call>call:f{a:1.50,b:<|"|>x"y<|"|>}<tool_call|><|tool_call>call:g{}<tool_call|><turn|>' | "$FACET" parse -m "$v")"
check "plain" '{"reasoning":"","content":"Hi\n","tool_calls":[],"finish":"stop"}' "$(echo Hi | "$FACET" parse -m "$v")"
check "cut" '{"reasoning":"","content":"<|tool_call>call:f{","tool_calls":[],"finish":"length"}' "$(printf '<|tool_call>call:f{' | "$FACET" parse -q -m "$v" --cut)"
check "in a thought" '{"reasoning":"so","content":"Hi","tool_calls":[],"finish":"stop"}' "$(printf 'so<channel|>Hi' | "$FACET" parse -m "$v" --in-thought)"
check "declared tool" '{"reasoning":"","content":"","tool_calls":[{"name":"ls","arguments":{}}],"finish":"tool_calls"}' \
    "$(printf '<|tool_call>call:mcp:ls{}<tool_call|>' | "$FACET" parse -m "$v" --tool ls)"

# ---- a Hugging Face folder ---------------------------------------------------------------------
d=$TMPDIR/folder
mkdir "$d"
cat >"$d/tokenizer.json" <<'X'
{"added_tokens": [{"id": 0, "content": "<bos>", "special": true}, {"id": 1, "content": "<|turn>", "special": true}, {"id": 2, "content": "<unk>", "special": true}],
 "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
 "model": {"type": "BPE", "vocab": {"a": 3, "b": 4, "ab": 5, "▁": 6}, "merges": [["a", "b"]]}}
X
echo '{"text_config": {"hidden_size_per_layer_input": 256}}' >"$d/config.json"
check "folder" "5 6 5" "$(printf 'ab ab' | "$FACET" tokenize -m "$d" --ids)"
check "folder of a small model" "0" "$("$FACET" render -m "$d" "$TMPDIR/talk.json" | grep -c channel)"
echo '{{ messages }}' >"$d/chat_template.jinja"
"$FACET" render -m "$d" "$TMPDIR/talk.json" >/dev/null 2>"$TMPDIR/err"
check "unknown template" "1" "$(grep -c 'chat template' "$TMPDIR/err")"

# ---- mistakes ----------------------------------------------------------------------------------
refused "no such model" 1 "nothere.gguf" "$FACET" tokenize -m "$TMPDIR/nothere.gguf"
refused "no such conversation" 1 "nothere.json" "$FACET" render -m "$v" "$TMPDIR/nothere.json"
refused "no operand" 2 "CONVERSATION.json" "$FACET" render -m "$v"
refused "unknown option" 2 "--idz" "$FACET" tokenize -m "$v" --idz
echo '{"messages": [{"role": "user"' >"$TMPDIR/bad.json"
refused "broken JSON" 1 "line 2" "$FACET" render -m "$v" "$TMPDIR/bad.json"
echo '[]' >"$TMPDIR/bad.json"
refused "no conversation" 1 '"messages"' "$FACET" render -m "$v" "$TMPDIR/bad.json"
echo '{"messages": [{"content": "x"}]}' >"$TMPDIR/bad.json"
refused "no role" 1 'role' "$FACET" render -m "$v" "$TMPDIR/bad.json"
echo '{"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}]}' >"$TMPDIR/bad.json"
refused "arguments as a string" 1 'must be a JSON object' "$FACET" render -m "$v" "$TMPDIR/bad.json"
head -c 1000000 "$v" >"$TMPDIR/cut.gguf"
refused "cut vocabulary" 1 "cut.gguf" "$FACET" tokenize -m "$TMPDIR/cut.gguf"
echo '{"model": {"type": "Unigram"}}' >"$d/tokenizer.json"
refused "another tokenizer" 1 "BPE" "$FACET" tokenize -m "$d"
rm "$d/tokenizer.json"
refused "folder without a tokenizer" 1 "tokenizer.json" "$FACET" tokenize -m "$d"
if [ -c /dev/full ]; then
    printf 'Hello' | "$FACET" tokenize -m "$v" 2>"$TMPDIR/err" >/dev/full
    check "full disk" 1 $?
fi

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
