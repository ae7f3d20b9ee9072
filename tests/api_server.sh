#!/usr/bin/env bash
# What needs a control plane and no node, on loopback. DARWINLM_KUBERNETES chooses its release; no root.
# usage: api_server.sh [SUITE…]   without any, the quick ones, and then a look at the rights that were used; why_not_moving takes minutes
set -euo pipefail
cd "$(dirname "$0")/.."
cluster=tests/cluster/cluster.sh
"$cluster" down >/dev/null 2>&1 || true
trap '"$cluster" down' EXIT
"$cluster" control-plane up
eval "$("$cluster" env)"
kubectl version
# Of the whole workspace, as the other tests are built: of one package alone, dependencies would be built anew.
suites=("$@")
# The chart first: those behind it install a release that stays.
[ $# -gt 0 ] || suites=(on_an_api_server helm_chart plugin two_operators older_definition)
for suite in "${suites[@]}"; do
  cargo test --release --workspace --test "$suite" -- --test-threads=1 --nocapture
done
if [ $# = 0 ]; then
  DARWINLM_WITHOUT_NODE=1 cargo test --release --workspace --test rights -- --nocapture
fi
