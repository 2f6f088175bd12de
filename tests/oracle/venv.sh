#!/bin/sh
# venv.sh DIR: a Python environment with exactly the versions of requirements.txt, made when it is not there.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
same_versions() { "$1/bin/python" "$here/versions.py" "$here/requirements.txt" > /dev/null 2>&1; }
same_versions "$1" && exit 0
echo "oracle: installing the reference implementation into $1"
python3 -m venv "$1"
"$1/bin/python" -m pip install --quiet --disable-pip-version-check -r "$here/requirements.txt"
same_versions "$1" && exit 0
echo "oracle: $1 does not have the versions of requirements.txt" >&2
exit 1
