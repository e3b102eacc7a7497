#!/bin/sh
# Copyright (c) The vault-plugin-secrets-cognito authors
# SPDX-License-Identifier: MPL-2.0
#
# Installs the programs that the tests of monitoring, runbooks, migration and test tools call, where Debian's package manager
# can do so: prometheus with promtool, the AWS CLI, jq, curl and chromium. A test that misses its program skips itself and says
# so.
set -eu

say() { echo "$*" >&2; }

# missing prints the packages of the programs that are not on PATH.
missing() {
    command -v prometheus >/dev/null && command -v promtool >/dev/null || echo prometheus
    command -v aws >/dev/null || echo awscli
    command -v jq >/dev/null || echo jq
    command -v curl >/dev/null || echo curl
    command -v chromium >/dev/null || echo chromium
}

packages=$(missing | tr '\n' ' ')
if [ -z "$packages" ]; then
    say "prometheus, promtool, aws, jq, curl and chromium are there."
    exit
fi
if ! command -v apt-get >/dev/null; then
    say "Without apt-get, the tests that need them are skipped: $packages"
    exit
fi

root=
if [ "$(id -u)" -ne 0 ]; then
    if ! sudo -n true 2>/dev/null; then
        say "Without root, the tests that need them are skipped: $packages"
        exit
    fi
    root='sudo -n'
fi
say "Installing $packages"
# RUNLEVEL keeps the package from starting a Prometheus of its own. A package that cannot be had in five minutes skips its
# tests.
$root apt-get update -q >/dev/null 2>&1 || true
for package in $packages; do
    timeout 300 $root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -q -y --no-install-recommends "$package" >/dev/null 2>&1 ||
        say "The package $package could not be installed."
done
