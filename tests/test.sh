#!/usr/bin/env bash
# Every test that needs no root: the crates' own, the stories on one machine, and the definition on a real API server.
set -euo pipefail
cd "$(dirname "$0")/.."
# Idle libtorch threads sleep instead of spinning: tests of several workers share the cores.
export OMP_WAIT_POLICY=passive
cargo build --release --workspace
cargo test --release --workspace
cargo test --release --workspace --test buckets
cluster=tests/cluster/cluster.sh
"$cluster" down >/dev/null 2>&1 || true
trap '"$cluster" down' EXIT
"$cluster" control-plane up
eval "$("$cluster" env)"
# Of the whole workspace, as before: of one package alone, dependencies would be built anew.
cargo test --release --workspace --test on_an_api_server -- --test-threads=1
cargo test --release --workspace --test why_not_moving -- --nocapture
