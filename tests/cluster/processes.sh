# shellcheck shell=bash
# Starting, finding and ending the cluster's processes.
#
# Every process is started with CLUSTER_ID in its environment, and its children inherit it. So a
# process is found by what it is, not by a file with a number in it: such a file is lost in a crash,
# and its number can belong to somebody else afterwards.

# start NAME COMMAND... : detached, in a session of its own, with a log.
start() {
  local name=$1
  shift
  mkdir -p "$LOG"
  DARWINLM_CLUSTER=$CLUSTER_ID DARWINLM_PART=$name nohup setsid "$@" \
    >"$LOG/$name.log" 2>&1 </dev/null &
}

# restart PART : SIGKILL, and the same command again.
restart() {
  local part=$1 pid command
  pid=$(marked_processes "$part" | head -n 1)
  [ -n "$pid" ] || fail "there is no $part that could be restarted"
  mapfile -d '' command <"/proc/$pid/cmdline"
  kill -KILL "$pid"
  while [ -e "/proc/$pid" ]; do sleep 0.05; done
  mv "$LOG/$part.log" "$LOG/$part-before.log"
  start "$part" "${command[@]}"
}

# marked_processes [PART] : ids of the live processes that carry the mark.
marked_processes() {
  local part=${1:-} file
  # Processes end while they are looked at, and those of other users cannot be read: neither is an
  # error here.
  { grep -lsxz "DARWINLM_CLUSTER=$CLUSTER_ID" /proc/[0-9]*/environ || true; } | while read -r file; do
    [ -z "$part" ] || grep -qsxz "DARWINLM_PART=$part" "$file" || continue
    file=${file#/proc/}
    echo "${file%/environ}"
  done
}

# cgroup_processes : ids of what runs in the node's cgroups: the containers, which get an
# environment of their own and so do not carry the mark.
cgroup_processes() {
  node_cgroups | while read -r folder; do
    find "$folder" -name cgroup.procs -exec cat {} + 2>/dev/null || true
  done | sort -un
}

# node_cgroups : the top folder of the nodes' cgroups, in every hierarchy (one in cgroup v2).
node_cgroups() { find /sys/fs/cgroup -maxdepth 2 -type d -name "$CLUSTER_ID" 2>/dev/null || true; }

# end_processes : SIGKILL for all of them. The data is thrown away, so nothing needs a graceful end
# (the API server alone would take 8 s for one).
end_processes() {
  local pids _
  for _ in $(seq 100); do
    pids=$(marked_processes; cgroup_processes)
    [ -n "$pids" ] || return 0
    # shellcheck disable=SC2086  # one word per process
    kill -KILL $pids 2>/dev/null || true
    sleep 0.05
  done
  say "these processes do not end: $(tr '\n' ' ' <<<"$pids")"
  return 1
}

# wait_for PART COMMAND... : until COMMAND succeeds, at most 60 s; at once when PART has died.
wait_for() {
  local part=$1 _
  shift
  for _ in $(seq 600); do
    "$@" >/dev/null 2>&1 && return 0
    if [ -z "$(marked_processes "$part")" ]; then
      tail -n 20 "$LOG/$part.log" >&2
      fail "$part ended while starting; its log is $LOG/$part.log"
    fi
    sleep 0.1
  done
  tail -n 20 "$LOG/$part.log" >&2
  fail "$part was not ready within 60 s; its log is $LOG/$part.log"
}

# port_free NAME PORT
port_free() {
  ! (exec 3<>"/dev/tcp/127.0.0.1/$2") 2>/dev/null ||
    fail "port $2 of 127.0.0.1, needed for $1, is taken; set CLUSTER_INDEX to another digit"
}
