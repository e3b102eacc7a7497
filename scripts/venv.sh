#!/bin/sh
# Copyright (c) The vault-plugin-secrets-cognito authors
# SPDX-License-Identifier: MPL-2.0
#
# scripts/venv.sh NAME REQUIREMENTS VENV MINOR installs the requirements of a tool into a directory of its own, once, with
# the python3 on PATH or $PYTHON, which must be 3.MINOR or newer.
# Status 3: there is no Python that could install them, so that the caller can go without. Any other failure is 1.
set -eu

name=$1 requirements=$2 venv=$3 minor=$4
python=${PYTHON:-python3}

say() { echo "$*" >&2; }

give_up() {
    say "$*"
    exit 1
}

no_python() {
    say "$name needs Python 3.$minor or newer with venv: $*"
    exit 3
}

# installed: the requirements are copied into the venv when all of them are in it.
installed() { cmp -s "$requirements" "$venv/installed.txt"; }

find_python() {
    command -v "$python" >/dev/null || no_python "there is no $python."
    "$python" -c "import sys; sys.exit(sys.version_info < (3, $minor))" || no_python "$python is $("$python" --version 2>&1)."
    "$python" -c 'import ensurepip, venv' 2>/dev/null || no_python "$python lacks it (Debian and Ubuntu: install python3-venv)."
}

install() {
    say "Installing $name into $venv, once."
    rm -rf "$venv"
    "$python" -m venv "$venv" >&2 || give_up "$python could not make $venv."
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input \
        --only-binary :all: --require-hashes --requirement "$requirements" >&2 ||
        give_up "$name could not be installed."
    cp "$requirements" "$venv/installed.txt"
}

if ! installed; then
    find_python
    install
fi
