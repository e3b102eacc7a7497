# Copyright (c) The vault-plugin-secrets-cognito authors
# SPDX-License-Identifier: MPL-2.0
#
# A CI job: takes a test user and gives it back, and sees nothing else. Everything that its token read ends with the token.

path "cognito/creds/ci-user" {
  capabilities = ["read"]
}

# For jobs that take longer than the user's tokens live.
path "cognito/tokens/ci-user" {
  capabilities = ["update"]
}

# Or borrows one of a library set.
path "cognito/library/e2e/check-out" {
  capabilities = ["update"]
}

path "cognito/library/e2e/check-in" {
  capabilities = ["update"]
}

# How a job gives its users back: vault token revoke -self.
path "auth/token/revoke-self" {
  capabilities = ["update"]
}
