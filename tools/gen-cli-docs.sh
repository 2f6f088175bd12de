#!/bin/sh
# Renews docs/cli from the program's own help.
cd "$(dirname "$0")/.." || exit 2
rm -f docs/cli/*.md
mkdir -p docs/cli
./facet help --markdown >docs/cli/README.md
sed -n 's/^| \[\([a-z]*\)\].*/\1/p' docs/cli/README.md | while read -r c; do ./facet help --markdown "$c" >"docs/cli/$c.md"; done
