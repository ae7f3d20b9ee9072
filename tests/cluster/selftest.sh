#!/usr/bin/env bash
# Proves that the cluster does what the whole-system tests rely on, and leaves nothing behind.
#
# Needs root. Prints the seconds of each step; the first that fails ends the test and the cluster.
set -euo pipefail

HERE=$(cd "$(dirname "$0")" && pwd)
cluster() { "$HERE/cluster.sh" "$@"; }
folder=$(mktemp -d /tmp/darwinlm-selftest.XXXXXX)
trap 'cluster down; rm -rf "$folder"' EXIT

# step NAME FUNCTION
step() {
  local began=${EPOCHREALTIME/./}
  echo "--- $1"
  "$2"
  awk -v us="$((${EPOCHREALTIME/./} - began))" -v name="$1" \
    'BEGIN { printf "%6.1f s  %s\n", us / 1e6, name }'
}

# same WHAT FOUND EXPECTED
same() {
  [ "$2" = "$3" ] || { echo "$1: found '$2', expected '$3'" >&2; exit 1; }
}

# eventually COMMAND... : succeeds within 60 s.
eventually() {
  local _
  for _ in $(seq 300); do
    "$@" && return
    sleep 0.2
  done
  echo "not within 60 s: $*" >&2
  exit 1
}

get() { kubectl -n selftest get "$@"; }

exit_code_reaches_the_job() {
  kubectl apply -f "$HERE/selftest/exit-code.yaml"
  kubectl -n selftest wait --for=condition=Failed --timeout=60s job/exit-code
  local status='{.items[0].status.containerStatuses[0].state.terminated'
  same "reason" "$(get job exit-code -o jsonpath='{.status.conditions[?(@.type=="Failed")].reason}')" \
    PodFailurePolicy
  same "pods tried" "$(get pods -l job-name=exit-code -o name | wc -l)" 1
  same "exit code" "$(get pods -l job-name=exit-code -o jsonpath="$status.exitCode}")" 3
  same "message" "$(get pods -l job-name=exit-code -o jsonpath="$status.message}")" \
    "uid 65532 gives up"
}

running_gpu_pods() { get pods -l test=gpu --field-selector=status.phase=Running -o name | wc -l; }
two_gpu_pods_run() { [ "$(running_gpu_pods)" = 2 ]; }

gpus_are_shared_out() {
  local gpus='{"status": {"capacity": {"nvidia.com/gpu": "2"}, "allocatable": {"nvidia.com/gpu": "2"}}}'
  kubectl patch node "${NODE_NAME:-node-a}" --subresource=status --type=merge -p "$gpus"
  kubectl apply -f "$HERE/selftest/gpu.yaml"
  eventually two_gpu_pods_run
  # One kubelet status update (5 s) later it must still be so: the kubelet could have reset the node.
  sleep 6
  same "running" "$(running_gpu_pods)" 2
  same "waiting" "$(get pods -l test=gpu --field-selector=status.phase=Pending -o name | wc -l)" 1
}

a_volume_is_written_and_served() {
  rm -rf "$folder/store"
  mkdir "$folder/store"
  chown 65532:65532 "$folder/store"
  chmod 755 "$folder"
  sed "s#FOLDER#$folder/store#" "$HERE/selftest/volume.yaml" | kubectl apply -f -
  kubectl -n selftest wait --for=condition=Ready --timeout=60s pod/web
  same "the file on the machine" "$(cat "$folder/store/index.html")" 65532
  same "its owner" "$(stat -c %u "$folder/store/index.html")" 65532
  # From the machine through kube-proxy: what an admission webhook needs.
  eventually curl -fs -o /dev/null "http://$(get service web -o jsonpath='{.spec.clusterIP}')/"
  same "exec" "$(kubectl -n selftest exec web -- cat /store/index.html)" 65532
}

delete_everything() {
  kubectl delete namespace selftest --timeout=60s
  kubectl delete persistentvolume selftest --timeout=60s
}

up() {
  cluster up
  eval "$(cluster env)"
  kubectl apply -f "$HERE/selftest/namespace.yaml"
}

down() { cluster down; }

kill_everything() {
  local pids
  pids=$(cluster pids)
  # When the first process of the node ends, the kernel ends the others: some are gone before their turn.
  # shellcheck disable=SC2086  # one word per process
  kill -KILL $pids 2>/dev/null || true
}

# The node's own processes only: no kernel-made end of the namespaces, so containers are left.
kill_the_node_parts() {
  # shellcheck disable=SC2046  # one word per process
  kill -KILL $(cluster pids containerd) $(cluster pids kubelet) $(cluster pids kube-proxy)
}

# A check that cannot fail proves nothing: with the cluster up, it must find one of every kind.
the_check_sees_a_running_cluster() {
  local found kind
  found=$(cluster check-clean 2>&1) && { echo "check-clean calls a running cluster clean" >&2; exit 1; }
  for kind in process link route cgroup folder; do
    grep -q "^$kind " <<<"$found" || { echo "check-clean does not see a $kind" >&2; exit 1; }
  done
}

# What no name of ours gives away is found by comparison with the state before the start.
the_check_sees_a_changed_machine() {
  local found found_line before
  before=$(cat /proc/sys/vm/panic_on_oom)
  echo 1 >/proc/sys/vm/panic_on_oom
  ip netns add darwinlm-selftest
  mkdir -p "$(cluster directory)/mounted"
  mount -t tmpfs tmpfs "$(cluster directory)/mounted"
  found=$(cluster check-clean 2>&1) || true
  ip netns del darwinlm-selftest
  echo "$before" >/proc/sys/vm/panic_on_oom
  for found_line in "^changed: was sysctl vm.panic_on_oom = $before" \
    "^added: netns darwinlm-selftest" "^mount .*/mounted"; do
    grep -q "$found_line" <<<"$found" || { echo "check-clean misses: $found_line" >&2; exit 1; }
  done
}

down_twice() {
  cluster down
  rm -rf "$(cluster directory)/mounted" # a folder of this test; down has unmounted it
  cluster down
  cluster check-clean
}

step "up" up
step "restricted pod, exit code, termination message" exit_code_reaches_the_job
step "two GPUs, three pods" gpus_are_shared_out
step "volume, service, exec" a_volume_is_written_and_served
step "delete" delete_everything
step "down, clean" down

step "up again" up
step "volume, service, exec" a_volume_is_written_and_served
step "check-clean sees what runs" the_check_sees_a_running_cluster
step "check-clean sees what was changed" the_check_sees_a_changed_machine
step "kill -9 of everything" kill_everything
step "down after that, clean" down_twice

step "up a third time" up
step "two GPUs, three pods" gpus_are_shared_out
step "kill -9 of containerd, kubelet and kube-proxy" kill_the_node_parts
step "down with running containers, clean" down_twice
echo "selftest passed"
