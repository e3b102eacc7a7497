# Copyright (c) The vault-plugin-secrets-cognito authors
# SPDX-License-Identifier: MPL-2.0
#
# For each person on call: adds groups to their own user only, because the role takes the username from
# their entity. Give this policy to all of them; none of them may write to identity/, or they could choose the user.

path "cognito/creds/elevate-me" {
  capabilities = ["read"]
}

# They stay raised while they need it, up to the max_ttl of the role.
path "sys/leases/renew" {
  capabilities = ["update"]
}

# They give it back when they are done.
path "sys/leases/revoke" {
  capabilities = ["update"]
}
