#!/bin/sh
# Copyright (c) The vault-plugin-secrets-cognito authors
# SPDX-License-Identifier: MPL-2.0
#
# Builds OpenTofu and Terraform's provider for Vault into bin/terraform, unless what is there was made of the same modules.
set -eu

cd "$(dirname "$0")/.."
out=$(pwd)/bin/terraform
wanted=$(cat scripts/tofu/go.* scripts/vault-provider/go.* | cksum)

if [ -x "$out/tofu" ] && [ -x "$out/terraform-provider-vault" ] && [ "$(cat "$out/made-of" 2>/dev/null)" = "$wanted" ]; then
    exit 0
fi

# build MODULE PROGRAM PACKAGE LDFLAGS
build() {
    (cd "scripts/$1" && GOWORK=off CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "$4" -o "$out/$2" "$3")
}

echo 'Building OpenTofu and the Vault provider into bin/terraform. This takes some minutes, once.'
rm -f "$out/made-of"
build tofu tofu github.com/opentofu/opentofu/cmd/tofu '-s -w -X github.com/opentofu/opentofu/version.dev=no'
build vault-provider terraform-provider-vault github.com/hashicorp/terraform-provider-vault '-s -w'
echo "$wanted" >"$out/made-of"
