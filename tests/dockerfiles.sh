#!/usr/bin/env bash
# Builds both images by their Dockerfiles, on bases made of this machine's libraries, and starts what is in them. Needs root and Debian
# (buildah and its libraries are unpacked, never installed). There is no way out to a registry: pulling a real base is what this cannot show.
set -euo pipefail
cd "$(dirname "$0")/.."
[ "$(id -u)" = 0 ] || { echo "dockerfiles.sh needs root: an image's files belong to other users, and chroot starts them" >&2; exit 1; }
release="${CARGO_TARGET_DIR:-$PWD/target}/release"
packages="buildah golang-github-containers-common libdevmapper1.02.1 libgpgme11 libassuan0 libseccomp2 libsubid4"
cache="${XDG_CACHE_HOME:-$HOME/.cache}/darwinlm"
tools=$cache/buildah-$(sha256sum <<<"$packages" | cut -c1-12)
if [ ! -d "$tools" ]; then
  part=$(mktemp -d "$tools.XXXXXX")
  # shellcheck disable=SC2086 # one word per package; apt checks each against its signed index
  (cd "$part" && apt-get download $packages && for package in *.deb; do dpkg-deb -x "$package" . && rm "$package"; done)
  mv -T "$part" "$tools"
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export LD_LIBRARY_PATH=$tools/lib/x86_64-linux-gnu:$tools/usr/lib/x86_64-linux-gnu
cat >"$work/buildah" <<SH
#!/bin/sh
command=\$1; shift
case \$command in
  build) set -- --isolation chroot --signature-policy $tools/etc/containers/policy.json "\$@" ;;
  pull) set -- --policy never --signature-policy $tools/etc/containers/policy.json "\$@" ;;
  from) set -- --pull-never --signature-policy $tools/etc/containers/policy.json "\$@" ;;
esac
exec $tools/usr/bin/buildah --root $work/root --runroot $work/run --storage-driver vfs \\
  --registries-conf /dev/null \$command "\$@"
SH
chmod +x "$work/buildah"

# Bases: the libraries that the programs ask this system for, and CA certificates. libtorch's own come with the Dockerfile.
base() { # NAME PROGRAM
  tests/cluster/mkimage.py "$work/$1.tar" "localhost/$1:1" \
    --layer dir=/tmp:1777 $(ldd "$2" | awk '{ for (i = 1; i <= NF; i++) if ($i ~ "^/(lib|usr/lib|lib64)/") print $i ":" $i }') --ca-certificates
  "$work/buildah" pull "docker-archive:$work/$1.tar" >/dev/null
}
base operator-base "$release/darwinlm-operator"
base runner-base "$release/darwinlm-runner"
make --no-print-directory -o build images ENGINE="$work/buildah" OPERATOR_BASE=localhost/operator-base:1 RUNNER_BASE=localhost/runner-base:1

version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
for name in operator runner; do
  image=localhost/darwinlm-$name:$version
  user=$("$work/buildah" inspect --type image --format '{{.OCIv1.Config.User}}' "$image")
  [ "$user" = 65532:65532 ] || { echo "$image runs as '$user'" >&2; exit 1; }
  container=$("$work/buildah" from "$image")
  root=$("$work/buildah" mount "$container")
  said=$(env -i LD_LIBRARY_PATH=/opt/lib PATH=/usr/sbin:/usr/bin chroot --userspec 65532:65532 "$root" "/usr/bin/darwinlm-$name" --version)
  echo "$image says: $said"
  [ "$said" = "darwinlm-$name $version" ] || exit 1
done
# A new program must move its own layer alone: the last is not the one with libtorch in it.
layers() { "$work/buildah" inspect --type image --format '{{range .OCIv1.RootFS.DiffIDs}}{{println .}}{{end}}' "$1" | grep .; }
before=$(layers "localhost/darwinlm-runner:$version")
[ "$(wc -l <<<"$before")" = 3 ] || { echo "the runner has not three layers (base, libtorch, program): $before" >&2; exit 1; }
printf '\0' >>.cache/context/runner/darwinlm-runner
"$work/buildah" build --layers --build-arg BASE=localhost/runner-base:1 --build-arg VERSION="$version" -t localhost/changed:1 \
  -f runner/Dockerfile .cache/context/runner >/dev/null 2>&1
after=$(layers localhost/changed:1)
[ "$(head -n 2 <<<"$before")" = "$(head -n 2 <<<"$after")" ] && [ "$before" != "$after" ] ||
  { echo "a changed program moved more than its own layer: $before, then $after" >&2; exit 1; }
echo "a changed program moved one layer of three"
rm -rf .cache/context
