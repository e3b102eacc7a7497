# Copyright (c) The vault-plugin-secrets-cognito authors
# SPDX-License-Identifier: MPL-2.0
#
# A user pool that suits the engine, and the IAM role that lets Vault use it. Its outputs are variables of
# examples/terraform/vault.

terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.0"
    }
  }
}

provider "aws" {
  region = var.region
}

resource "aws_cognito_user_pool" "this" {
  name = "example"

  admin_create_user_config {
    allow_admin_create_user_only = true
  }

  password_policy {
    minimum_length    = 16
    require_lowercase = true
    require_uppercase = true
    require_numbers   = true
    require_symbols   = true
  }
}

resource "aws_cognito_user_group" "testers" {
  user_pool_id = aws_cognito_user_pool.this.id
  name         = "testers"
}

resource "aws_cognito_user_group" "admins" {
  user_pool_id = aws_cognito_user_pool.this.id
  name         = "admins"
}

# Signs users in. JWTs outlive their user, so they live no longer than a lease. There is no secret: the flow needs AWS
# credentials.
resource "aws_cognito_user_pool_client" "users" {
  user_pool_id           = aws_cognito_user_pool.this.id
  name                   = "vault-users"
  generate_secret        = false
  explicit_auth_flows    = ["ALLOW_ADMIN_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"]
  access_token_validity  = 15
  id_token_validity      = 15
  refresh_token_validity = 60

  token_validity_units {
    access_token  = "minutes"
    id_token      = "minutes"
    refresh_token = "minutes"
  }
}

resource "aws_cognito_resource_server" "api" {
  user_pool_id = aws_cognito_user_pool.this.id
  identifier   = "api"
  name         = "api"

  scope {
    scope_name        = "read"
    scope_description = "Read"
  }
  scope {
    scope_name        = "write"
    scope_description = "Write"
  }
}

# Gives services their tokens. Terraform's state holds its secret, whoever may read that can act as the client; a static
# role of type app_client_secret replaces it by one that only Vault knows.
resource "aws_cognito_user_pool_client" "machine" {
  user_pool_id                         = aws_cognito_user_pool.this.id
  name                                 = "vault-machine"
  generate_secret                      = true
  allowed_oauth_flows_user_pool_client = true
  allowed_oauth_flows                  = ["client_credentials"]
  allowed_oauth_scopes                 = aws_cognito_resource_server.api.scope_identifiers
}

resource "aws_cognito_user_pool_domain" "this" {
  user_pool_id = aws_cognito_user_pool.this.id
  domain       = var.domain_prefix
}

# The account of the static role.
resource "aws_cognito_user" "batch" {
  user_pool_id   = aws_cognito_user_pool.this.id
  username       = "batch"
  message_action = "SUPPRESS"
}
