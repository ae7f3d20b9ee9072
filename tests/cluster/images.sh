# shellcheck shell=bash
# Bringing an image made by mkimage.py onto the node.

# load_image IMAGE.tar : nothing if the node has the same digest; otherwise only the missing layers.
load_image() {
  local file=$1 name digest began=$SECONDS
  [ -f "$file" ] || fail "there is no image archive $file"
  node_process >/dev/null || fail "$NODE_NAME is not up; an image has nowhere to go"
  read -r name digest < <(archive_index "$file") || fail "$file was not made by mkimage.py"
  if [ "$(ctr images ls "name==$name" | awk 'NR == 2 { print $3 }')" = "$digest" ]; then
    say "$name is there already, with the same digest"
    return
  fi
  python3 "$HERE/missing_blobs.py" "$file" < <(ctr content ls -q) | ctr images import - >/dev/null
  say "$name loaded in $((SECONDS - began)) s"
}

# archive_index IMAGE.tar : the image's name and digest.
archive_index() {
  tar -xO --occurrence=1 -f "$1" index.json | python3 -c '
import json, sys
entry = json.load(sys.stdin)["manifests"][0]
print(entry["annotations"]["io.containerd.image.name"], entry["digest"])'
}
