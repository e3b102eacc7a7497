#!/bin/sh
# Copyright (c) The vault-plugin-secrets-cognito authors
# SPDX-License-Identifier: MPL-2.0
#
# Prints the path of a vault binary that works; says on standard error what it does about it. In this order:
# $VAULT_BIN, the vault on PATH if it is new enough, bin/vault, and a bin/vault built from scripts/vault-server.
set -eu

caller=$(pwd)
cd "$(dirname "$0")/.."
root=$(pwd)
module=$root/scripts/vault-server
target=$root/bin/vault
lock=$root/bin/.vault-build.lock
oldest_minor=16 # of Vault 1: plugin version pins and all else that the tests lean on

say() { echo "$*" >&2; }

give_up() {
    say "$*"
    exit 1
}

# version BINARY prints the version that a vault answers, like 1.21.1, or nothing.
version() {
    "$1" version 2>/dev/null | sed -n 's/^Vault v\([0-9][0-9.]*\).*/\1/p' || true
}

# recent VERSION: is it new enough?
recent() {
    major=${1%%.*}
    rest=${1#*.}
    minor=${rest%%.*}
    [ -n "$1" ] && { [ "$major" -gt 1 ] || [ "$minor" -ge "$oldest_minor" ]; }
}

# built: is bin/vault there, and the version that its module asks for?
built() {
    [ -x "$target" ] && [ "$(version "$target")" = "$wanted" ]
}

# build makes bin/vault in one step, so that a build that is broken off leaves none behind.
build() {
    temporary=$target.$$
    say "Building Vault $wanted into bin/vault. This takes some minutes, once."
    started=$(date +%s)
    (
        cd "$module"
        GOWORK=off CGO_ENABLED=0 exec go build -trimpath -buildvcs=false -ldflags '-s -w' -o "$temporary" . >&2
    ) &
    compiler=$!
    turns=0
    while kill -0 "$compiler" 2>/dev/null; do
        sleep 1
        turns=$((turns + 1))
        [ $((turns % 20)) -ne 0 ] || say "  still building Vault, $(($(date +%s) - started)) s"
    done
    wait "$compiler" || give_up "Vault could not be built."
    compiler=
    mv "$temporary" "$target"
    built || give_up "bin/vault was built, but does not answer \"vault version\" with $wanted."
    say "Built Vault $wanted in $(($(date +%s) - started)) s."
}

clean_up() {
    if [ -n "${compiler:-}" ]; then
        kill "$compiler" 2>/dev/null || true
        wait "$compiler" 2>/dev/null || true
    fi
    rm -rf "$target.$$" "$lock"
}

# take_lock waits until nobody else builds. A lock whose owner is gone is nobody's. Should two take it after all, both
# build, and the later one wins.
take_lock() {
    mkdir -p "$root/bin"
    told=
    until mkdir "$lock" 2>/dev/null; do
        [ -n "$told" ] || say "Another process builds Vault; waiting for it."
        told=yes
        sleep 1
        owner=$(cat "$lock/pid" 2>/dev/null || true)
        if [ -d "$lock" ] && ! kill -0 "${owner:-none}" 2>/dev/null; then
            say "The other process is gone."
            rm -rf "$lock"
        fi
    done
    echo $$ >"$lock/pid"
    trap clean_up EXIT
    trap 'exit 1' HUP INT TERM
}

if [ -n "${VAULT_BIN:-}" ]; then
    case $VAULT_BIN in
    /*) found=$VAULT_BIN ;;
    */*) found=$caller/$VAULT_BIN ;;
    *) found=$(command -v "$VAULT_BIN") || give_up "VAULT_BIN is \"$VAULT_BIN\", which is not on PATH." ;;
    esac
    { [ -f "$found" ] && [ -x "$found" ]; } || give_up "VAULT_BIN is \"$VAULT_BIN\", which is no executable file."
    [ -n "$(version "$found")" ] || give_up "VAULT_BIN is \"$VAULT_BIN\", which does not answer \"vault version\"."
    echo "$found"
    exit
fi

if found=$(command -v vault); then
    has=$(version "$found")
    if recent "$has"; then
        echo "$found"
        exit
    elif [ -n "$has" ]; then
        say "Passing over $found: version $has is older than 1.$oldest_minor."
    else
        say "Passing over $found: it does not answer \"vault version\"."
    fi
fi

wanted=$(sed -n 's/^require github.com\/hashicorp\/vault v//p' "$module/go.mod")
if ! built; then
    take_lock
    built || build # somebody else may have built it while we waited
fi
echo "$target"
