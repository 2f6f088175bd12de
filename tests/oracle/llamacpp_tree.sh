#!/bin/sh
# llamacpp_tree.sh PYTHON TARGET...: llama.cpp with these targets built; prints where its tree is, the programs are in build/bin.
#   LLAMA_CPP   the tree; else the source package of llama-cpp-python is fetched (with PYTHON's pip) and built
set -eu
version=0.3.36
python=$1
shift
cache=${XDG_CACHE_HOME:-$HOME/.cache}/facet
if [ -z "${LLAMA_CPP:-}" ]; then
    LLAMA_CPP=$cache/llama_cpp_python-$version/vendor/llama.cpp
    if [ ! -d "$LLAMA_CPP" ]; then
        # pip asks the package for its metadata before it keeps the file: in isolation it fetches what that takes
        mkdir -p "$cache"
        "$python" -m pip download --quiet --disable-pip-version-check --no-deps --no-binary llama-cpp-python -d "$cache" \
            "llama-cpp-python==$version" >&2
        tar -xzf "$cache/llama_cpp_python-$version.tar.gz" -C "$cache"
    fi
fi
# Processors with AMX: gcc 12's build crashes in its first prompt, and clang 14 has AMX but not the macros that llama.cpp asks for.
compiler=
if grep -q amx_int8 /proc/cpuinfo && command -v clang++ > /dev/null; then
    flags="-march=sapphirerapids -D__AMX_INT8__=1 -D__AMX_TILE__=1 -D__AMX_BF16__=1"
    compiler="-DCMAKE_C_COMPILER=clang;-DCMAKE_CXX_COMPILER=clang++;-DCMAKE_C_FLAGS=$flags;-DCMAKE_CXX_FLAGS=$flags;-DGGML_NATIVE=OFF"
fi
for target in "$@"; do
    [ "$target" = llama ] && target=libllama.so
    [ -e "$LLAMA_CPP/build/bin/$target" ] && continue
    echo "building llama.cpp in $LLAMA_CPP/build (about fifteen minutes)" >&2
    # (its page would be fetched from elsewhere)
    (IFS=';'; cmake -S "$LLAMA_CPP" -B "$LLAMA_CPP/build" $compiler -DCMAKE_BUILD_TYPE=Release -DLLAMA_CURL=OFF -DLLAMA_BUILD_TESTS=OFF \
        -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_SERVER=ON -DLLAMA_BUILD_UI=OFF -DLLAMA_USE_PREBUILT_UI=OFF > "$cache/llama-cmake.log")
    cmake --build "$LLAMA_CPP/build" -j "$(nproc)" --target "$@" > "$cache/llama-build.log"
    break
done
echo "$LLAMA_CPP"
