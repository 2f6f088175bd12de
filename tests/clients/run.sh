#!/bin/sh
# Real clients drive facet serve with the bundled miniature.  run.sh [DIR]: where the Python environments are made, outside the tree.
# A client is a script with_NAME.py, and common.py what they share; those that need other versions of the same packages have a
# requirements-NAME.txt and an environment of their own.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
envs=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/facet/clients}
tmp=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$tmp"' EXIT

make_env() {   # make_env NAME REQUIREMENTS
    [ -x "$envs/$1/bin/python" ] || python3 -m venv "$envs/$1"
    "$envs/$1/bin/python" -m pip install --quiet --disable-pip-version-check -r "$2"
}

make_env common "$here/requirements.txt"
for r in "$here"/requirements-*.txt; do
    name=${r##*requirements-}
    make_env "${name%.txt}" "$r"
done
./facet serve -q -p 0 --ctx 4096 >"$tmp/address" 2>"$tmp/log" &
server=$!
for _ in $(seq 300); do
    [ -s "$tmp/address" ] && break
    kill -0 "$server" 2>/dev/null || { cat "$tmp/log"; exit 1; }
    sleep 0.1
done
export SCRIPTED=build/release/tests/script/facet      # for agents: answers by a script
if grep -q FACET_TEST_SCRIPT ./facet; then
    echo "the program that is installed has the scripts of the tests in it" >&2
    exit 1
fi
export ANONYMIZED_TELEMETRY=False LITELLM_LOCAL_MODEL_COST_MAP=True NO_PROXY=127.0.0.1 PYTHONDONTWRITEBYTECODE=1
for script in "$here"/with_*.py; do
    name=${script##*with_}
    name=${name%.py}
    env=common
    [ ! -e "$here/requirements-$name.txt" ] || env=$name
    timeout 580 "$envs/$env/bin/python" "$script" "$(cat "$tmp/address")" >"$tmp/said" 2>&1 || {
        cat "$tmp/said"
        grep -q '^[0-9]* passed, [1-9][0-9]* failed$' "$tmp/said" || echo "0 passed, 1 failed" >>"$tmp/said"
    }
    grep '^  ok ' "$tmp/said" || true
    cat "$tmp/said" >>"$tmp/all"
done
sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p' "$tmp/all" | awk '
    { p += $1; f += $2 }
    END { printf "%d passed, %d failed\n", p, f; exit f > 0 || p == 0 }'
