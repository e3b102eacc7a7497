# Copyright (c) The vault-plugin-secrets-cognito authors
# SPDX-License-Identifier: MPL-2.0
#
# A service that gets an app client of its own.

path "cognito/creds/orders" {
  capabilities = ["read"]
}

# Vault Agent keeps its token, and the lease that the app client lives with.
path "auth/token/renew-self" {
  capabilities = ["update"]
}

path "auth/token/lookup-self" {
  capabilities = ["read"]
}

path "sys/leases/renew" {
  capabilities = ["update"]
}

# With its token it gives the app client back.
path "auth/token/revoke-self" {
  capabilities = ["update"]
}
