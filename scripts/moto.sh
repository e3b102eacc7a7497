#!/bin/sh
# Copyright (c) The vault-plugin-secrets-cognito authors
# SPDX-License-Identifier: MPL-2.0
#
# Prints the path of a moto_server: moto is the other Cognito, STS and IAM that the tests can run against. It is
# installed once into bin/moto-venv, in the versions of scripts/moto-requirements.txt. Status 3: see scripts/venv.sh.
set -eu

cd "$(dirname "$0")/.."
scripts/venv.sh moto scripts/moto-requirements.txt bin/moto-venv 10
echo "$(pwd)/bin/moto-venv/bin/moto_server"
