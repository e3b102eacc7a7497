# Copyright (c) The vault-plugin-secrets-cognito authors
# SPDX-License-Identifier: MPL-2.0
#
# What Prometheus may do: read the metrics of the engine and of Vault. They hold names of roles and no secret.

path "cognito/metrics" {
  capabilities = ["read"]
}

path "sys/metrics" {
  capabilities = ["read"]
}

# What renews its token needs this.
path "auth/token/renew-self" {
  capabilities = ["update"]
}

path "auth/token/lookup-self" {
  capabilities = ["read"]
}
