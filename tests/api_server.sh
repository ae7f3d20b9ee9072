#!/usr/bin/env bash
# The definition on a real API server on loopback. DARWINLM_KUBERNETES chooses its release; no root.
# usage: api_server.sh [NAME…]   runs the stories whose names contain one of these
set -euo pipefail
cd "$(dirname "$0")/.."
cluster=tests/cluster/cluster.sh
"$cluster" down >/dev/null 2>&1 || true
trap '"$cluster" down' EXIT
"$cluster" control-plane up
eval "$("$cluster" env)"
kubectl version
# Of the whole workspace, as the other tests are built: of one package alone, dependencies would be built anew.
cargo test --release --workspace --test on_an_api_server -- --test-threads=1 "$@"
