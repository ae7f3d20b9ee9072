#!/usr/bin/env bash
# fetch_chromium.sh DEST-VERSION : headless Chromium with the libraries and the font it needs (x86_64 Linux), once: 70 MB downloaded, 220 MB kept.
# The npm package carries it compressed, for machines without a display; nothing is installed. DEST-VERSION/chromium is the program.
set -euo pipefail
dest=$1
version=${dest##*-}
sha256=20e5656fcdcf4118ede85edfb9d6bb9cc1bbb7ffb8b75622fffbcf36a835c3c0
[ -f "$dest/complete" ] && exit 0
[ "$(uname -m)" = x86_64 ] || { echo "this machine is $(uname -m), the package is for x86_64: set DARWINLM_WITHOUT_CHROMIUM=1" >&2; exit 1; }
mkdir -p "$(dirname "$dest")"
part=$(mktemp -d "$dest.XXXXXX")
trap 'rm -rf "$part"' EXIT
cd "$part"
npm pack --silent "@sparticuz/chromium@$version" >/dev/null
echo "$sha256  sparticuz-chromium-$version.tgz" | sha256sum --check --quiet
tar -xzf "sparticuz-chromium-$version.tgz"
# npm comes with node, and node reads brotli.
unpacked() {
  node -e 'require("fs").createReadStream(process.argv[1]).pipe(require("zlib").createBrotliDecompress()).pipe(process.stdout)' "package/bin/$1.br"
}
unpacked chromium > chromium
for archive in al2023 swiftshader fonts; do unpacked "$archive.tar" | tar -x --no-same-owner; done
chmod 755 chromium .
rm -r package "sparticuz-chromium-$version.tgz"
# The package's own is for the place where it lies in a cloud function.
cat > fonts.conf <<X
<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>$dest/fonts</dir><cachedir>$dest/fonts-cache</cachedir></fontconfig>
X
touch complete
mv -T "$part" "$dest" 2>/dev/null || true # somebody else was faster
[ -f "$dest/complete" ]
