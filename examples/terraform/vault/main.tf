# Copyright (c) The vault-plugin-secrets-cognito authors
# SPDX-License-Identifier: MPL-2.0
#
# The engine in Vault: mount, config, roles and policies. The plugin is registered before, as the README says, and Vault has
# AWS credentials: an instance role, a web or a pod identity. No secret goes through Terraform or into its state.

terraform {
  required_providers {
    vault = {
      source  = "hashicorp/vault"
      version = "~> 5.0"
    }
  }
}

resource "vault_mount" "cognito" {
  path        = "cognito"
  type        = "vault-plugin-secrets-cognito"
  description = "Short-lived access to Cognito user pools"
}

# What is written is spelled as the engine reads it back, times in seconds and lists in order: else every plan would have
# something to do.

resource "vault_generic_endpoint" "config" {
  path                 = "${vault_mount.cognito.path}/config"
  ignore_absent_fields = true
  disable_delete       = true # it goes with the mount, which still needs it to end its users

  data_json = jsonencode(merge(var.endpoints, {
    region              = var.region
    aws_assume_role_arn = var.aws_assume_role_arn
  }))
}

# Users for tests. They live as long as the token of a CI job (ci.tf), so a job needs no right to renew them. For jobs that
# take longer, raise both.
resource "vault_generic_endpoint" "ci_user" {
  depends_on           = [vault_generic_endpoint.config]
  path                 = "${vault_mount.cognito.path}/roles/ci-user"
  ignore_absent_fields = true

  data_json = jsonencode({
    credential_type = "user"
    user_pool_id    = var.user_pool_id
    app_client_id   = var.users_client_id
    groups          = ["admins", "testers"]
    ttl             = 1800
    max_ttl         = 3600
  })
}

# Users for tests that come back: a job borrows one, and the next job gets it with another password.
resource "vault_generic_endpoint" "e2e" {
  depends_on           = [vault_generic_endpoint.ci_user]
  path                 = "${vault_mount.cognito.path}/library/e2e"
  ignore_absent_fields = true

  data_json = jsonencode({
    role = "ci-user"
    size = 5
  })
}

# Tokens for services.
resource "vault_generic_endpoint" "machine" {
  depends_on           = [vault_generic_endpoint.config]
  path                 = "${vault_mount.cognito.path}/roles/machine"
  ignore_absent_fields = true

  data_json = jsonencode({
    credential_type     = "client_credentials_grant"
    user_pool_id        = var.user_pool_id
    app_client_id       = var.machine_client_id
    cognito_pool_domain = var.cognito_pool_domain
    scopes              = var.scopes
  })
}

# A permanent account, whose password Vault rotates.
resource "vault_generic_endpoint" "batch" {
  depends_on           = [vault_generic_endpoint.config]
  path                 = "${vault_mount.cognito.path}/static-roles/batch"
  ignore_absent_fields = true

  data_json = jsonencode({
    credential_type      = "user_password"
    user_pool_id         = var.user_pool_id
    username             = "batch"
    app_client_id        = var.users_client_id # proves each new password by a sign-in
    rotation_period      = 86400
    sign_out_on_rotation = true
  })
}

resource "vault_policy" "operator" {
  name   = "cognito-operator"
  policy = file("${path.module}/../../policies/operator.hcl")
}

resource "vault_policy" "ci" {
  name   = "cognito-ci"
  policy = file("${path.module}/../../policies/ci.hcl")
}

resource "vault_policy" "service" {
  name   = "cognito-service"
  policy = file("${path.module}/../../policies/service.hcl")
}
