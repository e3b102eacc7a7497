#!/bin/sh
# Copyright (c) The vault-plugin-secrets-cognito authors
# SPDX-License-Identifier: MPL-2.0
#
# Prints the path of a moto_server: moto is the other Cognito, STS and IAM that the tests can run against. It is
# installed once into bin/moto-venv, in the versions of scripts/moto-requirements.txt, by the python3 on PATH or $PYTHON.
# Status 3: there is no Python that could install it, so that the caller can go without. Any other failure is 1.
set -eu

cd "$(dirname "$0")/.."
requirements=scripts/moto-requirements.txt
venv=bin/moto-venv
server=$(pwd)/$venv/bin/moto_server
python=${PYTHON:-python3}

say() { echo "$*" >&2; }

give_up() {
    say "$*"
    exit 1
}

no_python() {
    say "moto needs Python 3.10 or newer with venv: $*"
    exit 3
}

# installed: the requirements are copied into the venv when all of them are in it.
installed() {
    cmp -s "$requirements" "$venv/installed.txt" && [ -x "$server" ]
}

find_python() {
    command -v "$python" >/dev/null || no_python "there is no $python."
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || no_python "$python is $("$python" --version 2>&1)."
    "$python" -c 'import ensurepip, venv' 2>/dev/null || no_python "$python lacks it (Debian and Ubuntu: install python3-venv)."
}

install() {
    say "Installing moto into $venv, once."
    rm -rf "$venv"
    "$python" -m venv "$venv" >&2 || give_up "$python could not make $venv."
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input \
        --only-binary :all: --require-hashes --requirement "$requirements" >&2 ||
        give_up "moto could not be installed."
    cp "$requirements" "$venv/installed.txt"
}

if ! installed; then
    find_python
    install
    installed || give_up "moto was installed, but $server is not there."
fi
echo "$server"
