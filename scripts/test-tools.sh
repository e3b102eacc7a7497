#!/bin/sh
# Copyright (c) The vault-plugin-secrets-cognito authors
# SPDX-License-Identifier: MPL-2.0
#
# Prints the path of a directory with the tools that examples/test-tools uses, and installs them there once: in node_modules
# the npm packages of its package-lock.json, in venv the Python packages of scripts/test-tools-requirements.txt. Install
# scripts do not run, so there is no Cypress binary, and no browser besides a chromium on PATH.
# Status 3: Node.js 20 or Python 3.10 is missing. Any other failure is 1.
set -eu

cd "$(dirname "$0")/.."
example=examples/test-tools
requirements=scripts/test-tools-requirements.txt
tools=bin/test-tools
python=${PYTHON:-python3}
# limit bounds each download.
limit=300

say() { echo "$*" >&2; }

missing() {
    say "The test tools need $*"
    exit 3
}

check_programs() {
    command -v npm >/dev/null || missing "npm."
    node -e 'process.exit(process.versions.node.split(".")[0] < 20 ? 1 : 0)' || missing "Node.js 20 or newer."
    "$python" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 10))' 2>/dev/null ||
        missing "Python 3.10 or newer with venv."
}

# installed: what was installed from is copied beside it when all of it is there.
installed() {
    cmp -s "$1" "$tools/$(basename "$1").installed"
}

install_node() {
    say "Installing the npm packages of $example into $tools, once."
    cp "$example/package.json" "$example/package-lock.json" "$tools/"
    timeout "$limit" npm ci --prefix "$tools" --ignore-scripts --no-audit --no-fund --loglevel=error >&2
    cp "$example/package-lock.json" "$tools/package-lock.json.installed"
}

install_python() {
    say "Installing Python packages into $tools/venv, once."
    rm -rf "$tools/venv"
    "$python" -m venv "$tools/venv" >&2
    timeout "$limit" "$tools/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input \
        --only-binary :all: --require-hashes --requirement "$requirements" >&2
    cp "$requirements" "$tools/$(basename "$requirements").installed"
}

check_programs
mkdir -p "$tools"
installed "$example/package-lock.json" || install_node
installed "$requirements" || install_python
echo "$PWD/$tools"
