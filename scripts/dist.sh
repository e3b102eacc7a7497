#!/bin/sh
# Copyright (c) The vault-plugin-secrets-cognito authors
# SPDX-License-Identifier: MPL-2.0
#
# Builds a release of version $1 in dist/ without publishing it, with the file names of a download. It fails unless there
# is a binary of every platform with its bill of materials, an OCI image of each one for Linux, and correct checksums; and
# unless the binary reports the version and has the same bytes as make build, and OpenBao installs the image.
set -eu

cd "$(dirname "$0")/.."
plugin=vault-plugin-secrets-cognito
version=$1

# sum prints the SHA-256 of files, as lines of sha256sum.
sum() {
    if command -v sha256sum >/dev/null; then sha256sum "$@"; else shasum -a 256 "$@"; fi
}

fail() {
    echo "dist: $*" >&2
    exit 1
}

VERSION=$version GITHUB_REPOSITORY=local/snapshot PATH="$(pwd)/bin:$PATH" bin/goreleaser release --snapshot --clean --skip=sign

# GoReleaser renames the binaries only when it uploads them.
for os in linux darwin windows; do
    for arch in amd64 arm64; do
        suffix=
        [ $os != windows ] || suffix=.exe
        name=${plugin}_${version}_${os}_$arch
        mv dist/${plugin}_${os}_${arch}_*/$plugin$suffix "dist/$name$suffix"
        rmdir dist/${plugin}_${os}_${arch}_*/
        hash=$(sum "dist/$name$suffix" | cut -d' ' -f1)
        grep -q "\"$hash\"" "dist/$name.cdx.json" || fail "$name.cdx.json is not the bill of materials of its binary"
    done
done
[ "$(wc -l <dist/SHA256SUMS)" -eq 14 ] || fail 'SHA256SUMS does not hold six binaries, six bills of materials and two images'
(cd dist && sum --check --status SHA256SUMS) || fail 'SHA256SUMS is wrong'

binary=dist/${plugin}_${version}_$(go env GOHOSTOS)_$(go env GOHOSTARCH)
[ "$("$binary" -version)" = "$version" ] || fail "$binary says that it is $("$binary" -version)"
again=$(mktemp -d)
trap 'rm -rf "$again"' EXIT
make --no-print-directory build VERSION="$version" WAL_MIN_AGE= OUT="$again/$plugin" >/dev/null
cmp "$binary" "$again/$plugin" || fail 'make build gives other bytes'

for arch in amd64 arm64; do
    image=dist/${plugin}_${version}_linux_$arch.oci.tar
    bin/oci "dist/${plugin}_${version}_linux_$arch" "$again/image.tar" "$version" $arch "$COMMIT_TIME"
    cmp "$image" "$again/image.tar" || fail "building $image again gives other bytes"
done
bao=$(pwd)/bin/bao
[ "$(go env GOHOSTOS)" = linux ] && [ -x "$bao" ] || bao=
(cd scripts/oci && BAO_BIN=$bao PLUGIN_BIN=$again/$plugin go test -count=1 .) || fail 'the tests of the OCI image fail'
rm -f dist/config.yaml dist/metadata.json dist/artifacts.json
echo "dist: $version for six platforms, reproducible, with checksums, bills of materials and OCI images"
