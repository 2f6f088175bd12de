#!/bin/sh
# Help of every command, mistakes in a command line, and docs/cli.
. tests/e2e/common

run "$FACET" help
expect 0 help
cp "$out" "$TMPDIR/help"
run "$FACET"
same "$(cat "$out")" "$(cat "$TMPDIR/help")" "facet alone"
run "$FACET" --help
same "$(cat "$out")" "$(cat "$TMPDIR/help")" "facet --help"

commands=$(sed -n '/^Commands/,/^$/s/^  \([a-z][a-z]*\) .*/\1/p' "$TMPDIR/help")
for c in run chat logits plan version help; do
    case " $(echo $commands) " in *" $c "*) fine ;; *) wrong "$c is not listed" ;; esac
done
for c in $commands; do
    run "$FACET" "$c" --help
    expect 0 "$c --help"
    says "$out" "Usage: facet $c" "$c --help"
    [ -s "$err" ] && wrong "$c --help wrote to standard error"
    cp "$out" "$TMPDIR/one"
    run "$FACET" "$c" -h
    same "$(cat "$out")" "$(cat "$TMPDIR/one")" "$c -h"
    run "$FACET" help "$c"
    same "$(cat "$out")" "$(cat "$TMPDIR/one")" "help $c"
    # examples in the help are real: every option in them is one of the command's
    sed -n '/^Examples/,$p' "$TMPDIR/one" | grep -o "facet $c .*" | grep -oE -- '--[a-z-]+' | sort -u | while read -r o; do
        grep -qE -- "(^|[ ,])$o( |$)" "$TMPDIR/one" || echo "$c: $o"
    done >"$TMPDIR/unknown"
    same "$(cat "$TMPDIR/unknown")" "" "options in the examples of $c"
    run "$FACET" help --markdown "$c"
    if cmp -s "$out" "docs/cli/$c.md"; then fine; else wrong "docs/cli/$c.md is out of date: run tools/gen-cli-docs.sh"; fi
    refuses 2 "unknown option \"--nonsense-option\"" "$c --nonsense-option" "$FACET" "$c" --nonsense-option
    says "$err" "see facet $c --help" "$c --nonsense-option"
done
run "$FACET" help --markdown
if cmp -s "$out" docs/cli/README.md; then fine; else wrong "docs/cli/README.md is out of date: run tools/gen-cli-docs.sh"; fi
for f in docs/cli/*.md; do
    c=$(basename "$f" .md)
    [ "$c" = README ] || case " $(echo $commands) " in *" $c "*) fine ;; *) wrong "$f belongs to no command" ;; esac
done

# ---- mistakes: exit code 2, one sentence, where to look ------------------------------------------
refuses 2 'did you mean "facet version"' "a mistyped command" "$FACET" verison
refuses 2 'unknown command "xyzzy"' "an unknown command" "$FACET" xyzzy
refuses 2 'unknown command "xyzzy"' "help of it" "$FACET" help xyzzy
refuses 2 'did you mean "--threads"' "a mistyped option" "$FACET" run --thraeds 2 hi
refuses 2 'did you mean "--threads"' "a shortened option" "$FACET" run --thread 2 hi
refuses 2 'unknown option "-Z"' "an unknown letter" "$FACET" run -Z hi
refuses 2 '--seed' "a word for a number" "$FACET" run --seed abc hi
refuses 2 '--threads' "a number out of range" "$FACET" run --threads 0 hi
refuses 2 '--temp' "a negative temperature" "$FACET" run --temp -1 hi
refuses 2 '--temp' "not a number" "$FACET" run --temp nan hi
refuses 2 'f32|f16|bf16|q8_0' "not one of the choices" "$FACET" run --kv f64 hi
refuses 2 'needs an argument' "a missing argument" "$FACET" run --seed
refuses 2 'needs an argument' "a missing argument of a letter" "$FACET" run -m
refuses 2 'takes no argument' "an argument too many" "$FACET" run --raw=yes hi
refuses 2 'unexpected word "there"' "two prompts" "$FACET" run hi there
refuses 2 'unexpected word' "an operand" "$FACET" chat hi
refuses 2 '--logprobs needs --json' "options that need another" "$FACET" run --logprobs 3 hi
refuses 2 '--raw' "options that exclude each other" "$FACET" run --raw --system x hi
refuses 2 'unknown instruction set "mmx"' "an unknown instruction set" "$FACET" run --isa mmx hi
refuses 2 'only one' "two inputs" "$FACET" logits --tokens 1 --text x -o "$TMPDIR/x"
refuses 2 'nothing to do' "no output" "$FACET" logits --tokens 1

# ---- version ---------------------------------------------------------------------------------------
run "$FACET" version
expect 0 version
version=$(sed -n 's/^facet \([0-9.]*\)$/\1/p' "$out")
same "$version" "$(sed -n 's/^#define FACET_VERSION "\(.*\)"/\1/p' include/facet.h)" "version"
run "$FACET" version --json
says "$out" "\"version\": \"$version\"" "version --json"
for k in build compiler cpu isa_built isa_found isa_used cores; do says "$out" "\"$k\"" "version --json"; done
FACET_ISA=ref run "$FACET" version --json
says "$out" '"isa_used": "ref"' "FACET_ISA"
report
