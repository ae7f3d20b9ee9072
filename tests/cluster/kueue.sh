#!/usr/bin/env bash
# Installs Kueue on the cluster that is up: its own chart, its own program, an image made here. Root.
set -euo pipefail

. "$(dirname "${BASH_SOURCE[0]}")/settings.sh"
. "$HERE/fetch.sh"
export KUBECONFIG=$ADMIN_KUBECONFIG

version=$(module_version kueue sigs.k8s.io/kueue)
bin=$CACHE/kueue-$version
"$HERE/tools/build.sh" "$bin" kueue
chart=$(cd "$HERE/tools/kueue" && GOWORK=off go list -m -f '{{.Dir}}' sigs.k8s.io/kueue)/charts/kueue

"$HERE/mkimage.py" "$CLUSTER_DIR/kueue.tar" "localhost/kueue:$version" --user 65532:65532 \
  --layer "$bin/kueue:/manager" dir=/tmp:1777
"$HERE/cluster.sh" load "$CLUSTER_DIR/kueue.tar"

# Of all kinds of work that Kueue knows this cluster has Jobs.
cat >"$CLUSTER_DIR/kueue.yaml" <<'YAML'
controllerManager:
  manager: {resources: {requests: {cpu: 10m, memory: 64Mi}}}
managerConfig:
  controllerManagerConfigYaml: |
    apiVersion: config.kueue.x-k8s.io/v1beta2
    kind: Configuration
    health: {healthProbeBindAddress: ":8081"}
    metrics: {bindAddress: ":8443"}
    webhook: {port: 9443}
    leaderElection: {leaderElect: false}
    integrations: {frameworks: ["batch/job"]}
YAML
helm install kueue "$chart" --namespace kueue-system --create-namespace -f "$CLUSTER_DIR/kueue.yaml" \
  --set controllerManager.manager.image.repository=localhost/kueue \
  --set "controllerManager.manager.image.tag=$version,controllerManager.manager.image.pullPolicy=Never"

# Kueue fills the Secret of its certificate, which the kubelet brings to a running pod only minutes
# later; a new pod has it at once.
kueue() { kubectl -n kueue-system "$@"; }
filled() { [ -n "$(kueue get secret kueue-webhook-server-cert -o 'jsonpath={.data.tls\.crt}')" ]; }
for _ in $(seq 120); do
  ! filled || break
  sleep 0.5
done
filled || {
  kueue logs deploy/kueue-controller-manager --tail=20 >&2
  fail "Kueue made no certificate"
}
kueue delete pod -l control-plane=controller-manager --wait=true
kueue wait --for=condition=Available --timeout=120s deploy/kueue-controller-manager
