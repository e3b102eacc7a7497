#!/bin/sh
# Copyright (c) The vault-plugin-secrets-cognito authors
# SPDX-License-Identifier: MPL-2.0
#
# Prints the directory of schemathesis and openapi-spec-validator, which try the OpenAPI document that a server serves.
# They are installed once into bin/openapi-venv, in the versions of scripts/openapi-requirements.txt.
set -eu

cd "$(dirname "$0")/.."
scripts/venv.sh "schemathesis" scripts/openapi-requirements.txt bin/openapi-venv 11
echo "$(pwd)/bin/openapi-venv/bin"
