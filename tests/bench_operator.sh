#!/usr/bin/env bash
# A thousand runs on a control plane on loopback, with hollow nodes: what they cost the operator. No root.
# usage: bench_operator.sh [ARGUMENT…]   arguments of the example bench_operator, as --runs 100 --minutes 3
set -euo pipefail
cd "$(dirname "$0")/.."
release="${CARGO_TARGET_DIR:-$PWD/target}/release"
cluster=tests/cluster/cluster.sh
listen=127.0.0.1:18080
log=.cache/bench-operator.log
cargo build --release --workspace --example bench_operator
# A worker's address is a listener of its own.
mkdir -p .cache
ulimit -n "$(ulimit -Hn)"

"$cluster" down >/dev/null 2>&1 || true
operator=
finish() {
  [ -z "$operator" ] || kill "$operator" 2>/dev/null || true
  "$cluster" down
}
trap finish EXIT

# Runs a command until it succeeds: for two minutes at most, and no longer than the operator lives, once it was started.
eventually() {
  local deadline=$((SECONDS + 120))
  until "$@"; do
    if [ -n "$operator" ] && ! kill -0 "$operator" 2>/dev/null; then
      echo "the operator has ended:" >&2
    elif [ $SECONDS -ge $deadline ]; then
      echo "not within two minutes: $*" >&2
    else
      sleep 0.5
      continue
    fi
    [ -z "$operator" ] || cat "$log" >&2
    return 1
  done
}

"$cluster" control-plane up
eval "$("$cluster" env)"
eventually kubectl apply --server-side -f crds/pruningruns.darwinlm.io.yaml
kubectl wait --for=condition=Established --timeout=30s crd/pruningruns.darwinlm.io
"$release/darwinlm-operator" --worker-image bench --listen "$listen" --lease-namespace default >"$log" 2>&1 &
operator=$!
eventually curl -fs --max-time 5 -o /dev/null "http://$listen/readyz"
echo "$(nproc) cores, $(awk '/MemTotal/ {printf "%.0f GiB", $2 / 1048576}' /proc/meminfo); shared with API server, etcd, controllers and the bench"
"$release/examples/bench_operator" --operator "$listen" --pid "$operator" "$@"
