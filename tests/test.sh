#!/usr/bin/env bash
# Every test that needs no root: the crates' own, the stories on one machine, and the definition on a real API server.
set -euo pipefail
cd "$(dirname "$0")/.."
# Idle libtorch threads sleep instead of spinning: tests of several workers share the cores.
export OMP_WAIT_POLICY=passive
# Where `make promtool` has nothing to fetch it with.
command -v apt-get >/dev/null || export DARWINLM_WITHOUT_PROMTOOL=1
command -v tmux apt-get >/dev/null || export DARWINLM_WITHOUT_TMUX=1
cargo build --release --workspace
cargo test --release --workspace
cargo test --release --workspace --test buckets
# What is outside of the module is not part of the cache of `go test`.
(cd charts/dashboards && export GOFLAGS=-mod=readonly GOWORK=off && test -z "$(gofmt -l .)" && go vet . && go test -count=1 .)
tests/api_server.sh
