# Copyright (c) The vault-plugin-secrets-cognito authors
# SPDX-License-Identifier: MPL-2.0
#
# A service: calls APIs with a machine token, and signs in with the account whose password Vault rotates.

path "cognito/creds/machine" {
  capabilities = ["read"]
}

path "cognito/static-creds/batch" {
  capabilities = ["read"]
}

# A service runs for long: it keeps its token, and the leases of what it read.
path "auth/token/renew-self" {
  capabilities = ["update"]
}

path "auth/token/lookup-self" {
  capabilities = ["read"]
}

path "sys/leases/renew" {
  capabilities = ["update"]
}

# It gives back what it took when it stops.
path "sys/leases/revoke" {
  capabilities = ["update"]
}

path "auth/token/revoke-self" {
  capabilities = ["update"]
}
