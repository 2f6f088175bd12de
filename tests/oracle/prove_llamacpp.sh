#!/bin/sh
# make prove-llamacpp: files made by llama.cpp run in Facet, files made by Facet run in llama.cpp, with the same answers.
# Prints a table and keeps it in LLAMACPP.md.  Needs cmake, and the oracle's environment (run.sh makes it).
#   LLAMA_CPP          llama.cpp's tree, built in build/; else the source package of llama-cpp-python is fetched and built
#   FACET_ORACLE_VENV  as for run.sh
set -eu
version=0.3.36
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/facet
venv=${FACET_ORACLE_VENV:-$cache/oracle}
python=$venv/bin/python
sh "$here/venv.sh" "$venv"
"$python" -c 'import google.protobuf, sentencepiece' 2>/dev/null ||
    "$python" -m pip install --quiet --disable-pip-version-check protobuf sentencepiece

if [ -z "${LLAMA_CPP:-}" ]; then
    LLAMA_CPP=$cache/llama_cpp_python-$version/vendor/llama.cpp
    if [ ! -d "$LLAMA_CPP" ]; then
        # pip asks the package for its metadata before it keeps the file: in isolation it fetches what that takes
        mkdir -p "$cache"
        "$python" -m pip download --quiet --disable-pip-version-check --no-deps --no-binary llama-cpp-python -d "$cache" \
            "llama-cpp-python==$version"
        tar -xzf "$cache/llama_cpp_python-$version.tar.gz" -C "$cache"
    fi
fi
if [ ! -x "$LLAMA_CPP/build/bin/llama-quantize" ]; then
    echo "building llama.cpp in $LLAMA_CPP/build (about fifteen minutes)"
    cmake -S "$LLAMA_CPP" -B "$LLAMA_CPP/build" -DCMAKE_BUILD_TYPE=Release -DLLAMA_CURL=OFF -DLLAMA_BUILD_TESTS=OFF \
        -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_SERVER=OFF > "$cache/llama-cmake.log"
    cmake --build "$LLAMA_CPP/build" -j "$(nproc)" --target llama llama-quantize > "$cache/llama-build.log"
fi

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
