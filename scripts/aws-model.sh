#!/bin/sh
# Copyright (c) The vault-plugin-secrets-cognito authors
# SPDX-License-Identifier: MPL-2.0
#
# Renews internal/awsmodel/model: what AWS publishes about Cognito's API, in botocore. The release is the one of
# scripts/aws-model-requirements.txt, checked by its hash. Needs Go and a python3 on PATH, or $PYTHON, with pip.
set -eu

cd "$(dirname "$0")/.."
wheels=$(mktemp -d)
trap 'rm -rf "$wheels"' EXIT

"${PYTHON:-python3}" -m pip --disable-pip-version-check --quiet download --no-deps --only-binary :all: --require-hashes \
    --dest "$wheels" --requirement scripts/aws-model-requirements.txt
go run ./scripts/awsmodel -operations internal/awsmodel/operations.txt -out internal/awsmodel/model "$wheels"/botocore-*.whl
