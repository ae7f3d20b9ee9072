#!/usr/bin/env bash
# Whole-system stories on a real node of this machine: Helm installs the operator, kubectl applies runs, real pods do the work.
# usage: e2e.sh [NAME…]   runs the stories whose names contain one of these; without any, all of them. Needs root.
# SUITES (on_a_cluster) names the files of stories; the core, run whole, is followed by a look at the rights that were used. `upgrades`
# stands alone: it installs the chart itself.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ "$(id -u)" != 0 ]; then
  echo "e2e needs root: a node mounts, makes network namespaces and cgroups. Run it as root, or \`make test\` for everything else." >&2
  exit 1
fi
SUITES=${SUITES:-on_a_cluster}
release="${CARGO_TARGET_DIR:-$PWD/target}/release"
cluster=tests/cluster/cluster.sh
images=.cache/images

mkdir -p "$images"
tests/cluster/mkimage.py "$images/operator.tar" localhost/darwinlm-operator:dev --user 65532:65532 --entrypoint /usr/bin/darwinlm-operator \
  --layer --ldd "$release/darwinlm-operator" --ca-certificates \
  --layer "$release/darwinlm-operator:/usr/bin/darwinlm-operator" dir=/tmp:1777
tests/cluster/mkimage.py "$images/runner.tar" localhost/darwinlm-runner:dev --user 65532:65532 --entrypoint /usr/bin/darwinlm-runner \
  --layer --ldd "$release/darwinlm-runner" --ca-certificates \
  --layer "$release/darwinlm-runner:/usr/bin/darwinlm-runner" dir=/tmp:1777

"$cluster" down >/dev/null 2>&1 || true
trap '"$cluster" down' EXIT
"$cluster" up
eval "$("$cluster" env)"
"$cluster" load "$images/operator.tar"
"$cluster" load "$images/runner.tar"
node=$(kubectl get nodes -o jsonpath='{.items[0].metadata.name}')
kubectl patch node "$node" --subresource=status --type=json \
  -p '[{"op":"add","path":"/status/capacity/nvidia.com~1gpu","value":"4"},{"op":"add","path":"/status/allocatable/nvidia.com~1gpu","value":"4"}]'

kubectl create namespace darwinlm-system
kubectl label namespace darwinlm-system pod-security.kubernetes.io/enforce=restricted
if [ "$SUITES" != upgrades ]; then
  helm install darwinlm charts/darwinlm --namespace darwinlm-system --wait --timeout 2m \
    --set image.repository=localhost/darwinlm-operator,image.tag=dev,image.pullPolicy=Never \
    --set worker.image.repository=localhost/darwinlm-runner,worker.image.tag=dev,worker.image.pullPolicy=Never \
    --set pollSeconds=2,statusSeconds=2
fi

# Of the whole workspace, as the other tests are built: of one package alone, dependencies would be built anew.
for suite in $SUITES; do
  cargo test --release --workspace --test "$suite" -- --test-threads=1 --nocapture "$@"
  if [ "$suite" = on_a_cluster ] && [ $# = 0 ]; then
    cargo test --release --workspace --test rights -- --nocapture
  fi
done
