# Copyright (c) The vault-plugin-secrets-cognito authors
# SPDX-License-Identifier: MPL-2.0
#
# Who runs the engine: says what may be issued, finds out what does not work, and takes everything back in an emergency.
# Sees no password, token or secret: cognito/creds, cognito/static-creds and cognito/tokens are not here.
# Whoever may write roles decides whom Vault makes users for, so give it to few.

path "cognito/config" {
  capabilities = ["create", "read", "update", "patch", "delete"]
}

path "cognito/config/rotate-root" {
  capabilities = ["update"]
}

path "cognito/roles" {
  capabilities = ["list"]
}

path "cognito/roles/*" {
  capabilities = ["create", "read", "update", "patch", "delete", "list"]
}

path "cognito/static-roles" {
  capabilities = ["list"]
}

path "cognito/static-roles/*" {
  capabilities = ["create", "read", "update", "patch", "delete", "list"]
}

path "cognito/rotate-role/*" {
  capabilities = ["update"]
}

path "cognito/check/*" {
  capabilities = ["read"]
}

path "cognito/metrics" {
  capabilities = ["read"]
}

path "cognito/tidy" {
  capabilities = ["update"]
}

# How many leases there are, and an end to all of them: vault lease revoke -prefix cognito/creds/ci-user
path "sys/leases/lookup/cognito/*" {
  capabilities = ["list", "sudo"]
}

path "sys/leases/revoke-prefix/cognito/*" {
  capabilities = ["update", "sudo"]
}
