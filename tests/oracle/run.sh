#!/bin/sh
# make oracle: the reference implementation in an environment outside the tree, every golden made again and compared,
# then ./facet against the reference on models that nobody chose.  The tables stay in build/oracle.md.
#   FACET_ORACLE_VENV  the environment, default ~/.cache/facet/oracle; made when it is not there
#   FACET_ORACLE_SEEDS random shapes of each architecture, default 6
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
venv=${FACET_ORACLE_VENV:-${XDG_CACHE_HOME:-$HOME/.cache}/facet/oracle}
python=$venv/bin/python

sh "$here/venv.sh" "$venv"

# Small matrices: threads of the reference would only wait for each other.
export OMP_NUM_THREADS=1 TRANSFORMERS_VERBOSITY=error PYTHONDONTWRITEBYTECODE=1 PYTHONWARNINGS=ignore
export HF_HUB_DISABLE_PROGRESS_BARS=1
cd "$root"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0
part() {
    title=$1; shift
    { echo; echo "## $title"; echo; } >> "$tmp/result"
    if "$python" "$@" > "$tmp/part" 2> "$tmp/stderr"; then verdict=passed; else verdict=FAILED; failed=1; fi
    cat "$tmp/part" >> "$tmp/result"
    { echo; echo "$verdict"; } >> "$tmp/result"
    echo "== $title: $verdict"
    cat "$tmp/part"
    [ "$verdict" = passed ] || cat "$tmp/stderr" >&2
}

part "AdamW, ten steps made again" "$here/optim.py" --check tests/golden/optim.json
part "Goldens, made again" "$here/goldens.py" --check tests/golden
part "Quantized goldens, recomputed" "$here/quant_goldens.py" --check tests/golden
part "Image blocks, made again" "$here/blocks.py" --check tests/golden/blocks
part "Adapters, made again; ./facet with either class; written by Facet for either class" "$here/adapters.py" --check tests/golden/lora
part "Gradients, made again; the backward pass beside autograd" "$here/gradients.py" --check tests/golden/tune build/release/tests/gen/mk_grads
part "Decoders, random blocks" "$here/decode.py"
part "Exact path, random shapes" "$here/exact.py" --seeds "${FACET_ORACLE_SEEDS:-6}"
part "Fast path, per weight type" "$here/fast_kl.py"
part "Two layers of each size at full width" "$here/full_width.py"
part "Masks over the whole vocabulary, beside llguidance" "$here/masks.py" build/release/tests/gen/mk_masks

{
    echo "# Last run of the oracle"
    echo
    echo "$(date -u +%F), commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown), $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(nproc --all) cores; $("$python" "$here/versions.py" "$here/requirements.txt")."
    echo "Written by \`make oracle\`; what the parts mean: \`README.md\`."
    cat "$tmp/result"
} > "$tmp/all"
mkdir -p build
cp "$tmp/all" build/oracle.md
[ $failed = 0 ] && echo "oracle: everything agrees" || echo "oracle: FAILED, see above" >&2
exit $failed
