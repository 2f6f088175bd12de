#!/bin/sh
# make prove-llamacpp: files made by llama.cpp run in Facet, files made by Facet run in llama.cpp, with the same answers.
# Prints a table and keeps it in LLAMACPP.md.  Needs cmake, and the oracle's environment (run.sh makes it).
#   LLAMA_CPP          llama.cpp's tree, as llamacpp_tree.sh takes it
#   FACET_ORACLE_VENV  as for run.sh
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/facet
venv=${FACET_ORACLE_VENV:-$cache/oracle}
python=$venv/bin/python
sh "$here/venv.sh" "$venv"
"$python" -c 'import google.protobuf, sentencepiece' 2>/dev/null ||
    "$python" -m pip install --quiet --disable-pip-version-check protobuf sentencepiece

version=$(sed -n "s/^version=//p" "$here/llamacpp_tree.sh")
LLAMA_CPP=$(sh "$here/llamacpp_tree.sh" "$python" llama llama-quantize)

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
${CC:-cc} -O2 -I"$LLAMA_CPP/include" -I"$LLAMA_CPP/ggml/include" "$here/llama_logits.c" -o "$tmp/llama_logits" \
    -L"$LLAMA_CPP/build/bin" -lllama -lggml -lggml-base -Wl,-rpath,"$LLAMA_CPP/build/bin"

export OMP_NUM_THREADS=1 TRANSFORMERS_VERBOSITY=error PYTHONDONTWRITEBYTECODE=1 PYTHONWARNINGS=ignore
cd "$root"
status=0
"$python" "$here/llamacpp.py" --llama "$LLAMA_CPP" --logits "$tmp/llama_logits" --tiny "${MK_TINY:-build/release/tests/gen/mk_tiny}" \
    > "$tmp/table" || status=1
cat "$tmp/table"
{
    echo "# Last comparison with llama.cpp"
    echo
    echo "$(date -u +%F), commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown), llama.cpp of llama-cpp-python $version. Written by \`make prove-llamacpp\`."
    echo "Logits of each file against the reference implementation with the file's dequantized weights."
    echo
    cat "$tmp/table"
} > "$tmp/all"
cp "$tmp/all" "$here/LLAMACPP.md"
[ $status = 0 ] && echo "prove-llamacpp: everything agrees" || echo "prove-llamacpp: FAILED, see above" >&2
exit $status
