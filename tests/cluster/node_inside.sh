#!/usr/bin/env bash
# The first process inside the node's namespaces: makes the place, starts the parts, buries orphans.
#
# node.sh starts it and plugs the network in. It never ends by itself, even if a part does: a test
# may kill the kubelet to see what follows.
set -euo pipefail

. "$(dirname "$0")/settings.sh"
. "$HERE/fetch.sh"

# What the kubelet would change for the whole machine.
MACHINE_SYSCTLS="vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops
  kernel/keys/root_maxkeys kernel/keys/root_maxbytes"

make_place() {
  local folder sysctl copy
  # Slave: what the machine mounts later is seen here, but nothing goes back. Shared on top, so that
  # the same holds between the node and its pods.
  mount --make-rshared /

  # Sockets, runc's state, network namespaces: all in /run, so the node has its own.
  local hidden
  hidden=$(mktemp -d)
  mount --bind "$NODE_DIR" "$hidden"
  mount -t tmpfs -o mode=755 tmpfs /run
  mkdir "$INNER"
  mount --bind "$hidden" "$INNER"
  umount "$hidden"
  rmdir "$hidden"
  for folder in /var/lib/kubelet /var/lib/cni /var/log/containers; do
    mount -t tmpfs -o mode=755 tmpfs "$folder"
  done

  mount -t proc proc /proc
  # The kubelet writes into copies, not into the kernel. Network sysctls are the namespace's own.
  for sysctl in $MACHINE_SYSCTLS; do
    copy=/run/sysctl-${sysctl//\//.}
    cat "/proc/sys/$sysctl" >"$copy"
    mount --bind "$copy" "/proc/sys/$sysctl"
  done
}

make_network() {
  ip link set lo up
  until ip link show eth0 >/dev/null 2>&1; do sleep 0.05; done
  ip addr add "$NODE_IP/24" dev eth0
  ip link set eth0 up
  ip route add default via "$BRIDGE_IP"
  echo 1 >/proc/sys/net/ipv4/ip_forward
}

# part NAME COMMAND... : in the background, with its own log and mark.
part() {
  local name=$1
  shift
  (
    export DARWINLM_PART=$name
    "$@" >"$LOG/$name-$NODE_NAME.log" 2>&1 || true
    echo "$name ended" >&2
  ) &
}

ctr() { "$NODE_ROOT/usr/bin/ctr" --address "$INNER/containerd.sock" --namespace k8s.io "$@"; }

make_place
make_network
export PATH=$NODE_PATH:$PATH
cd /

part containerd containerd --config "$INNER/containerd.toml"
until ctr version >/dev/null 2>&1; do sleep 0.05; done
for image in "$NODE_IMAGES"/*.tar; do ctr images import "$image"; done

# shellcheck disable=SC2086  # one word per flag
part kubelet "$KUBERNETES_BIN/kubelet" \
  --config="$INNER/kubelet.yaml" \
  --kubeconfig="$INNER/kubelet.kubeconfig" \
  --root-dir="$INNER/kubelet" \
  --cert-dir="$INNER/kubelet/pki" \
  --hostname-override="$NODE_NAME" \
  --node-ip="$NODE_IP" \
  ${NODE_LABELS:+--node-labels=$NODE_LABELS}
part kube-proxy "$KUBERNETES_BIN/kube-proxy" \
  --config="$INNER/kube-proxy.yaml" \
  --hostname-override="$NODE_NAME"

# bash takes over and buries the processes whose parent has ended, as the first process must.
while :; do
  sleep 3600 &
  wait $! || true
done
