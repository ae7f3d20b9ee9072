#!/usr/bin/env bash
# Makes the Python environment that the scripts here and the export tests need, and links it at .cache/venv.
# usage: venv.sh    (about 5 GB, one minute; kept under ~/.cache/darwinlm, keyed by what it holds)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/darwinlm
python=${PYTHON:-python3}
key=$( { cat "$here/requirements.txt"; "$python" --version; uname -m; } | sha256sum | cut -c1-12)
venv=$cache/venv-$key
if [ ! -e "$venv/complete" ]; then
  rm -rf "$venv"
  "$python" -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check --no-cache-dir -r "$here/requirements.txt"
  touch "$venv/complete"
fi
mkdir -p "$root/.cache"
ln -sfn "$venv" "$root/.cache/venv"
echo "$venv"
