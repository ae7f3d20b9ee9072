#!/usr/bin/env bash
# The demo: one run of tests/demo.yaml on this machine. The same command resumes a run that was stopped; `rm -r .cache/demo` starts anew.
# usage: demo.sh [FOLDER]   where model, text and store lie; .cache/demo
set -euo pipefail
cd "$(dirname "$0")/.."
release="${CARGO_TARGET_DIR:-target}/release"
volume="${1:-$PWD/.cache/demo}"
mkdir -p "$volume/models" "$volume/text"
ln -sfn "$PWD/.cache/models/smollm2-135m" "$volume/models/smollm2-135m"
ln -sfn "$PWD/.cache/text/sotu.jsonl" "$volume/text/sotu.jsonl"
exec "$release/darwinlm" run -f tests/demo.yaml --volume "darwinlm=$volume"
