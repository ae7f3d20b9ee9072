# shellcheck shell=bash disable=SC2034  # every file that sources this one uses a part of it
# Names, addresses, ports and folders of one cluster, all derived from CLUSTER_INDEX and CLUSTER_DIR.

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

say() { printf '%s\n' "$*" >&2; }
fail() { say "cluster: $*"; exit 1; }

# One digit tells several clusters on one machine apart: ports, links, subnets and cgroups follow it.
CLUSTER_INDEX=${CLUSTER_INDEX:-0}
[[ $CLUSTER_INDEX =~ ^[0-9]$ ]] || fail "CLUSTER_INDEX is '$CLUSTER_INDEX'; it must be one digit"
CLUSTER_ID=darwinlm-$CLUSTER_INDEX

# What a running cluster writes: keys, etcd's data, containerd's root, logs.
suffix=$([ "$CLUSTER_INDEX" = 0 ] || echo "-$CLUSTER_INDEX")
CLUSTER_DIR=$(realpath -m "${CLUSTER_DIR:-$HERE/../../.cache/cluster$suffix}")
PKI=$CLUSTER_DIR/pki
LOG=$CLUSTER_DIR/log
ADMIN_KUBECONFIG=$CLUSTER_DIR/admin.kubeconfig
BASELINE=$CLUSTER_DIR/baseline

# What is costly to make, kept for every checkout on the machine.
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/darwinlm
module_version() { sed -n "s#^require $2 v##p" "$HERE/tools/$1/go.mod" | head -n 1; }
# The newest release that is supported, or another one whose module stands in tools/.
kubernetes_tool() {
  local tool versions=
  for tool in kubernetes "$HERE"/tools/kubernetes-*/; do
    tool=$(basename "$tool")
    versions+=" $(module_version "$tool" k8s.io/kubernetes)"
    [ "${DARWINLM_KUBERNETES:-${versions# }}" != "${versions##* }" ] || { echo "$tool"; return; }
  done
  fail "DARWINLM_KUBERNETES is '$DARWINLM_KUBERNETES'; there is$versions (tools/kubernetes/gen.sh adds one)"
}
KUBERNETES_TOOL=$(kubernetes_tool) || exit 1
KUBERNETES_VERSION=$(module_version "$KUBERNETES_TOOL" k8s.io/kubernetes)
KUBERNETES_BIN=$CACHE/kubernetes-$KUBERNETES_VERSION
ETCD_BIN=$CACHE/etcd-$(module_version etcd go.etcd.io/etcd/server/v3)

# The folder that says which checkout holds this index.
CLAIM=/tmp/$CLUSTER_ID.claim

# Addresses. Without a bridge the API server listens on loopback only, which needs no root.
BRIDGE=dlm$CLUSTER_INDEX
BRIDGE_IP=10.250.$CLUSTER_INDEX.1
SERVICE_CIDR=10.$((96 + CLUSTER_INDEX)).0.0/16
SERVICE_API_IP=10.$((96 + CLUSTER_INDEX)).0.1
DNS_IP=10.$((96 + CLUSTER_INDEX)).0.10
API_PORT=$((16443 + 100 * CLUSTER_INDEX))
ETCD_PORT=$((API_PORT + 1))
ETCD_PEER_PORT=$((API_PORT + 2))
CONTROLLER_MANAGER_PORT=$((API_PORT + 3))
SCHEDULER_PORT=$((API_PORT + 4))

# The node. A second one needs another name, address and pod range; everything else follows.
NODE_NAME=${NODE_NAME:-node-a}
NODE_IP=${NODE_IP:-10.250.$CLUSTER_INDEX.11}
POD_CIDR=${POD_CIDR:-10.244.$CLUSTER_INDEX.0/24}
NODE_DIR=$CLUSTER_DIR/node/$NODE_NAME
NODE_CGROUP=$CLUSTER_ID/$NODE_NAME
NODE_LINK=${BRIDGE}v${NODE_IP##*.}

# Where the node's folder appears inside the node. UNIX socket paths are limited to 108 bytes,
# and a checkout may lie deep.
INNER=/run/node

export PATH=$PATH:/usr/sbin:/sbin
