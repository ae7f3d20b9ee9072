#!/usr/bin/env bash
# fetch_libtorch.sh DEST : CPU libtorch 2.11.0 out of PyPI's wheels (x86_64 Linux), once: 544 MB downloaded and checked by sha256, 499 MB kept.
# DEST/torch is then what LIBTORCH names. The wheel is the CUDA build: its CPU half needs two small CUDA libraries, kept beside it.
set -euo pipefail
dest=$1
[ -f "$dest/complete" ] && exit 0
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
echo "libtorch 2.11.0: 544 MB …" >&2
cat > "$tmp/wheels.txt" <<'W'
torch==2.11.0 --hash=sha256:0f68f4ac6d95d12e896c3b7a912b5871619542ec54d3649cf48cc1edd4dd2756
nvidia-cuda-runtime==13.0.96 --hash=sha256:7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548
nvidia-cuda-cupti==13.0.85 --hash=sha256:4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8
W
python3 -m pip download -q --no-deps --only-binary=:all: --require-hashes --python-version 3.12 \
  --platform manylinux_2_28_x86_64 --platform manylinux_2_25_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 \
  -d "$tmp" -r "$tmp/wheels.txt"
mkdir -p "$dest"
python3 - "$tmp" "$dest" <<'P'
import glob, sys, zipfile

KEEP = {
    "torch/lib/libtorch.so", "torch/lib/libtorch_cpu.so", "torch/lib/libc10.so", "torch/lib/libgomp.so.1", "torch/version.py",
    "nvidia/cu13/lib/libcudart.so.13", "nvidia/cu13/lib/libcupti.so.13",
}
source, target = sys.argv[1:]
for wheel in glob.glob(source + "/*.whl"):
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name in KEEP or name.startswith("torch/include/")]
        archive.extractall(target, names)
P
echo 2.11.0 > "$dest/torch/build-version" # torch-sys checks this file
touch "$dest/complete"
