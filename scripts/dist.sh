#!/bin/sh
# Copyright (c) The vault-plugin-secrets-cognito authors
# SPDX-License-Identifier: MPL-2.0
#
# Makes a release of version $1 in dist/ without publishing it, laid out as it is downloaded, and fails unless it holds
# a binary of every platform with its bill of materials, checksums that are right, the version in the binary, and the
# same bytes that make build gives for this machine.
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

VERSION=$version GITHUB_REPOSITORY=local/snapshot PATH="$(pwd)/bin:$PATH" bin/goreleaser release --snapshot --clean

# GoReleaser gives a binary its name only when it uploads it.
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
[ "$(wc -l <dist/SHA256SUMS)" -eq 12 ] || fail 'SHA256SUMS does not hold six binaries and six bills'
(cd dist && sum --check --status SHA256SUMS) || fail 'SHA256SUMS is wrong'

binary=dist/${plugin}_${version}_$(go env GOHOSTOS)_$(go env GOHOSTARCH)
[ "$("$binary" -version)" = "$version" ] || fail "$binary says that it is $("$binary" -version)"
again=$(mktemp -d)
trap 'rm -rf "$again"' EXIT
make --no-print-directory build VERSION="$version" WAL_MIN_AGE= OUT="$again/$plugin" >/dev/null
cmp "$binary" "$again/$plugin" || fail 'make build gives other bytes'
rm -f dist/config.yaml dist/metadata.json dist/artifacts.json
echo "dist: $version for six platforms, reproducible, with checksums and bills of materials"
