#!/bin/sh
# Real clients drive facet serve with the bundled miniature.  run.sh [DIR]: where the Python environment is made, outside the tree.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
venv=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/facet/clients-venv}
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$here/requirements.txt"
tmp=$(mktemp -d)
trap 'kill "$server" 2>/dev/null || true; rm -rf "$tmp"' EXIT
./facet serve -q -p 0 >"$tmp/address" 2>"$tmp/log" &
server=$!
for _ in $(seq 300); do
    [ -s "$tmp/address" ] && break
    kill -0 "$server" 2>/dev/null || { cat "$tmp/log"; exit 1; }
    sleep 0.1
done
timeout 240 "$venv/bin/python" "$here/clients.py" "$(cat "$tmp/address")"
