#!/bin/sh
# Copyright (c) The vault-plugin-secrets-cognito authors
# SPDX-License-Identifier: MPL-2.0
#
# Usage: test-flags.sh on|off|auto. Prints -race when the tests are to run with the race detector, which needs a C
# compiler that works. With auto and none it says so; with on it fails. Otherwise prints -trimpath, as the Makefile builds:
# packages are then not compiled twice.
set -eu

compiler_works() {
    directory=$(mktemp -d)
    trap 'rm -rf "$directory"' EXIT
    echo 'int main(void) { return 0; }' >"$directory/test.c"
    # shellcheck disable=SC2046 # CC may hold arguments
    $(go env CC) -o "$directory/test" "$directory/test.c" >/dev/null 2>&1
}

case ${1:-auto} in
off) echo -trimpath ;;
on)
    compiler_works || { echo "RACE=on needs a C compiler; \"$(go env CC)\" does not work." >&2; exit 1; }
    echo -race
    ;;
auto)
    if compiler_works; then
        echo -race
    else
        echo "No C compiler works here (\"$(go env CC)\"): testing without the race detector." >&2
        echo -trimpath
    fi
    ;;
*)
    echo "RACE is \"$1\"; it may be on, off or auto." >&2
    exit 1
    ;;
esac
