#!/bin/sh
# The example of the library, built against the public header and archive alone.
. tests/e2e/common

tiny E2B
run ${RUN:-} "$BUILD/examples/embed"
expect 2 "without a model"
refuses 1 "no such" "a missing model" ${RUN:-} "$BUILD/examples/embed" "$TMPDIR/no such model.gguf"
# a random model may talk until its context is full: a short context cannot be asked for here, so a bundled one is better
for m in models/*.gguf; do
    [ -e "$m" ] || m=$TMPDIR/E2B.gguf
    run ${RUN:-} "$BUILD/examples/embed" "$m" "What is 2 + 3?"
    expect 0 "an answer of $m"
    says "$out" "tokens]" "an answer of $m"
done
report
