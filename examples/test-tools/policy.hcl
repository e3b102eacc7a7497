# Copyright (c) The vault-plugin-secrets-cognito authors
# SPDX-License-Identifier: MPL-2.0
#
# What a test run may do: take users, renew their leases and give them back. A lease is renewed and revoked by its id, which
# only its taker knows.
path "cognito/creds/ci-user" {
  capabilities = ["read"]
}

path "sys/leases/renew" {
  capabilities = ["update"]
}

path "sys/leases/revoke" {
  capabilities = ["update"]
}

# The last step of a CI job: it deletes all users that are left, after a crash too.
path "auth/token/revoke-self" {
  capabilities = ["update"]
}
