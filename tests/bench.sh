#!/usr/bin/env bash
# Memory of a worker against its formula, then speed of the pruned model against the dense one, on the level database of `make demo`.
# CPU times mean little by themselves: what counts is the ratio of medians over interleaved pairs, printed with its spread.
set -euo pipefail
cd "$(dirname "$0")/.."
release="${CARGO_TARGET_DIR:-$PWD/target}/release"
cargo build --release -p darwinlm-operator -p darwinlm-runner --example memory
"$release/examples/memory" .cache/models/smollm2-135m 512
store=.cache/demo/store
pairs=${PAIRS:-5}
level=${LEVEL:-5}
database=$(ls -d "$store"/databases/* 2>/dev/null | head -1)
[ -n "$database" ] || { echo "bench measures the level database of \`make demo\`: run that first" >&2; exit 66; }
tokens=$(ls "$store"/tokens/*/validation.*.safetensors | head -1)
common=(--model .cache/models/smollm2-135m --tokens "$tokens" --device Cpu --threads 2 --json)
results=$(mktemp)
trap 'rm -f "$results"' EXIT
for pair in $(seq "$pairs"); do
  echo "pair $pair of $pairs" >&2
  "$release/darwinlm-runner" evaluate "${common[@]}" 2>/dev/null | sed 's/^/dense /' >> "$results"
  "$release/darwinlm-runner" evaluate "${common[@]}" --database "$database" --level "$level" 2>/dev/null | sed 's/^/pruned /' >> "$results"
done
python3 - "$results" "$level" <<'P'
import json, statistics, sys

speeds = {"dense": [], "pruned": []}
for line in open(sys.argv[1]):
    name, figures = line.split(" ", 1)
    speeds[name].append(json.loads(figures)["tokens_per_second"])
ratios = [pruned / dense for dense, pruned in zip(speeds["dense"], speeds["pruned"])]
for name, values in speeds.items():
    print(f"{name:<8} {statistics.median(values):8.1f} tokens/s   {min(values):.1f} to {max(values):.1f}")
print(f"level {sys.argv[2]} against dense: {statistics.median(ratios):.2f} times as fast ({min(ratios):.2f} to {max(ratios):.2f} over {len(ratios)} pairs)")
P
