#!/bin/sh
# Copyright (c) The vault-plugin-secrets-cognito authors
# SPDX-License-Identifier: MPL-2.0
#
# Fails when a file is not as the tools would leave it: gofmt, go mod tidy, go generate; or a script that sh cannot read.
set -eu

cd "$(dirname "$0")/.."
failed=

fail() {
    echo "check: $*" >&2
    failed=yes
}

# state prints what differs from the last commit, new files included.
state() {
    git status --porcelain
    git diff HEAD
}

unformatted=$(gofmt -s -l .)
[ -z "$unformatted" ] || fail "not formatted, run make fmt:" $unformatted

go mod tidy -diff >&2 || fail "go.mod or go.sum is not tidy, run go mod tidy"

if git rev-parse --git-dir >/dev/null 2>&1; then
    before=$(state)
    go generate ./...
    [ "$before" = "$(state)" ] || fail "go generate changed files, commit what it makes"
else
    echo "check: no Git here, so generated files were not compared"
fi

for script in scripts/*.sh; do
    sh -n "$script" || fail "$script is no shell script"
done

[ -z "$failed" ]
echo "check: formatted, tidy, generated files as they should be"
