# Copyright (c) The vault-plugin-secrets-cognito authors
# SPDX-License-Identifier: MPL-2.0
#
# An operator of the engine: configures it, finds out what does not work, and revokes everything in an emergency. Reads no
# password, token or secret: cognito/creds, cognito/static-creds, cognito/tokens and check-out are not allowed. Whoever may write
# roles decides which users Vault creates, so give this policy to few.

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

# Not cognito/library/*, which would allow check-out.
path "cognito/library" {
  capabilities = ["list"]
}

path "cognito/library/+" {
  capabilities = ["create", "read", "update", "patch", "delete"]
}

path "cognito/library/+/status" {
  capabilities = ["read"]
}

# Takes a user from its holder.
path "cognito/library/manage/+/check-in" {
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

# What was issued and still exists: vault list -detailed cognito/issued/ci-user
path "cognito/issued" {
  capabilities = ["list"]
}

path "cognito/issued/*" {
  capabilities = ["read", "list"]
}

# Whether a password policy makes passwords that a pool accepts: vault read sys/policies/password/<name>/generate
path "sys/policies/password/+/generate" {
  capabilities = ["read"]
}

# One lease: vault lease lookup <lease_id>, vault lease revoke -sync <lease_id>. The lookup shows the times of any mount's lease.
path "sys/leases/lookup" {
  capabilities = ["update"]
}

path "sys/leases/revoke/cognito/*" {
  capabilities = ["update"]
}

# Leases that Vault cannot revoke: vault read sys/leases type=irrevocable
path "sys/leases" {
  capabilities = ["read", "sudo"]
}

path "sys/leases/count" {
  capabilities = ["read"]
}

# All leases of a role: vault lease revoke -prefix cognito/creds/ci-user
path "sys/leases/lookup/cognito/*" {
  capabilities = ["list", "sudo"]
}

path "sys/leases/revoke-prefix/cognito/*" {
  capabilities = ["update", "sudo"]
}

# Makes Vault forget leases without ending what they granted: only for a pool that is out of reach for good.
path "sys/leases/revoke-force/cognito/*" {
  capabilities = ["update", "sudo"]
}
