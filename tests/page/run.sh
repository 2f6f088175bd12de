#!/bin/sh
# The page in a real browser: Chromium without a window against facet serve with the bundled miniature.
#   run.sh [SHOTS]     SHOTS: a folder for screenshots
set -eu
here=$(cd "$(dirname "$0")" && pwd)
exec timeout -k 5 230 python3 "$here/page.py" "$@"
