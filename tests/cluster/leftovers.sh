# shellcheck shell=bash
# Who holds this cluster index, what a cluster leaves on the machine, and how that is taken away.

# Everything that is found by name, one line each; also after a crash, without any file of ours.
remains() {
  local pid folder
  for pid in $(marked_processes; cgroup_processes); do
    echo "process $pid $(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | cut -c1-80)"
  done
  awk -v folder="$CLUSTER_DIR" 'index($5 "/", folder "/") == 1 { print "mount " $5 }' \
    /proc/self/mountinfo
  ip -o link 2>/dev/null | awk -F': ' -v bridge="$BRIDGE" \
    '{ sub(/@.*/, "", $2) } $2 == bridge || index($2, bridge "v") == 1 { print "link " $2 }'
  ip route show 2>/dev/null | awk -v service="$SERVICE_CIDR" -v bridge="$BRIDGE" \
    '$1 == service || $0 ~ ("dev " bridge "( |$)") { print "route " $0 }'
  for folder in $(node_cgroups); do echo "cgroup $folder"; done
}

# What is compared with how it was before the start.
machine_state() {
  sysctl -a 2>/dev/null |
    grep -E '^(vm\.|kernel\.(panic|keys)|net\.(ipv[46]|bridge|netfilter)\.)' |
    grep -vE "nf_conntrack_count|\.$BRIDGE(v[0-9]+)?\." | sed 's/^/sysctl /' || true
  { ip netns list 2>/dev/null || true; } | awk '{ print "netns " $1 }'
  if [ "$(id -u)" = 0 ] && [ -x "$NODE_ROOT/usr/sbin/nft" ]; then
    "$NODE_ROOT/usr/sbin/nft" list ruleset | grep -v '^$' | sed 's/^/nftables /' || true
  fi
}

# Settings that appear because a kernel module was loaded (bridge, conntrack) are no change; a value
# that was there and differs now is. Network namespaces and rules may not be added either.
differences() {
  [ -f "$BASELINE" ] || return 0
  local now
  now=$(mktemp)
  machine_state >"$now"
  comm -23 <(grep '^sysctl ' "$BASELINE" | sort) <(sort "$now") | sed 's/^/changed: was /'
  comm -13 <(sort "$BASELINE") <(grep -E '^(netns|nftables) ' "$now" | sort) | sed 's/^/added: /'
  rm -f "$now"
}

other_clusters() { grep -lsz '^DARWINLM_CLUSTER=' /proc/[0-9]*/environ | grep -q .; }

left_folders() {
  if [ -f "$MADE_FOLDERS" ] && ! other_clusters; then
    while read -r folder; do
      [ ! -d "$folder" ] || echo "folder $folder"
    done <"$MADE_FOLDERS"
  fi
}

check_clean() {
  local found
  if held_by_another; then
    say "index $CLUSTER_INDEX is in use by $(cat "$CLAIM"); nothing here to check"
    return
  fi
  found=$(remains; differences; left_folders)
  if [ -n "$found" ]; then
    say "$CLUSTER_ID left these behind:"
    say "$found"
    return 1
  fi
  [ -f "$BASELINE" ] || say "(nothing was started since the last clean end, so there are no sysctls and rules to compare)"
  say "clean: no process, mount, link, route, namespace, rule, cgroup or changed sysctl remains"
}

held_by_another() {
  [ -f "$CLAIM" ] && [ "$(cat "$CLAIM")" != "$CLUSTER_DIR" ] && [ -n "$(remains)" ]
}

# claim : this checkout holds the index from now on. A claim of which nothing runs is out of date.
claim() {
  if held_by_another; then
    fail "index $CLUSTER_INDEX is in use by $(cat "$CLAIM"); end that one with
  CLUSTER_INDEX=$CLUSTER_INDEX CLUSTER_DIR=$(cat "$CLAIM") $HERE/cluster.sh down
or choose another digit for CLUSTER_INDEX"
  fi
  mkdir -p "$CLUSTER_DIR"
  if [ "$(cat "$CLAIM" 2>/dev/null)" != "$CLUSTER_DIR" ]; then
    rm -f "$CLAIM" 2>/dev/null || fail "$CLAIM belongs to another user; choose another CLUSTER_INDEX"
    (set -C; echo "$CLUSTER_DIR" >"$CLAIM") || fail "another start took index $CLUSTER_INDEX just now"
  fi
  # Only from rest: a baseline taken while something runs would call its changes normal.
  [ -n "$(remains)" ] || machine_state >"$BASELINE"
}

# take_down : idempotent, from any state.
take_down() {
  if held_by_another; then
    say "index $CLUSTER_INDEX is in use by $(cat "$CLAIM"); nothing of this checkout is up"
    return
  fi
  end_processes
  awk -v folder="$CLUSTER_DIR" 'index($5 "/", folder "/") == 1 { print $5 }' \
    /proc/self/mountinfo | sort -r | while read -r mount; do umount -l "$mount" || true; done
  if [ "$(id -u)" = 0 ]; then
    remove_links
    remove_cgroups
    remove_folders
  fi
  rm -rf "$CLUSTER_DIR"/{etcd,pki,node,scheduler.yaml,audit-policy.yaml,admin.kubeconfig} # the logs stay
  check_clean
  rm -f "$BASELINE"
  [ "$(cat "$CLAIM" 2>/dev/null)" != "$CLUSTER_DIR" ] || rm -f "$CLAIM"
}

# Routes and the ends inside the node go with the links.
remove_links() {
  remains | awk '$1 == "link" { print $2 }' | while read -r link; do
    ip link del "$link" 2>/dev/null || true
  done
}

# The kernel needs a moment between the end of the last process and letting a cgroup go.
remove_cgroups() {
  local _
  for _ in $(seq 100); do
    [ -n "$(node_cgroups)" ] || return 0
    node_cgroups | while read -r folder; do
      find "$folder" -depth -type d -exec rmdir {} + 2>/dev/null || true
    done
    sleep 0.05
  done
}

remove_folders() {
  left_folders | while read -r _ folder; do rmdir "$folder" 2>/dev/null || true; done
  [ -n "$(left_folders)" ] || other_clusters || rm -f "$MADE_FOLDERS"
}
