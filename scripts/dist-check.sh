#!/bin/sh
# Copyright (c) The vault-plugin-secrets-cognito authors
# SPDX-License-Identifier: MPL-2.0
#
# Fails unless dist/ holds a release: a binary of every platform with its bill of materials, checksums that are right,
# the version in the binary, and the same bytes that make build gives for this machine.
set -eu

cd "$(dirname "$0")/.."
plugin=vault-plugin-secrets-cognito
sum=$(command -v sha256sum || echo 'shasum -a 256')

fail() {
    echo "dist: $*" >&2
    exit 1
}

for platform in linux_amd64 linux_arm64 darwin_amd64 darwin_arm64 windows_amd64.exe windows_arm64.exe; do
    binary=$(ls dist/${plugin}_v*_"$platform" 2>/dev/null) || fail "there is no binary for $platform"
    bill=${binary%.exe}.cdx.json
    hash=$($sum "$binary" | cut -d' ' -f1)
    grep -q "$hash" "$bill" || fail "$bill is not the bill of materials of $binary"
    grep -q "^$hash  $(basename "$binary")\$" dist/SHA256SUMS || fail "SHA256SUMS does not hold $binary"
done
(cd dist && $sum --check --quiet SHA256SUMS) || fail 'SHA256SUMS is wrong'

binary=$(ls dist/${plugin}_v*_"$(go env GOHOSTOS)_$(go env GOHOSTARCH)")
version=$("$binary" -version)
case $(basename "$binary") in
*"_${version}_"*) ;;
*) fail "$binary says that it is $version" ;;
esac
again=$(mktemp -d)
trap 'rm -rf "$again"' EXIT
make --no-print-directory build VERSION="$version" WAL_MIN_AGE= OUT="$again/$plugin" >/dev/null
cmp "$binary" "$again/$plugin" || fail 'make build gives other bytes'
echo "dist: $version for six platforms, reproducible, with checksums and bills of materials"
