# Copyright (c) The vault-plugin-secrets-cognito authors
# SPDX-License-Identifier: MPL-2.0
#
# What docs/tutorial.md needs in an AWS account. `terraform destroy` removes all of it.

terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.0"
    }
  }
}

variable "region" {
  description = "Region of the user pool."
  type        = string
  default     = "eu-west-1"
}

provider "aws" {
  region = var.region
}

resource "aws_cognito_user_pool" "this" {
  name = "vault-tutorial"

  admin_create_user_config {
    allow_admin_create_user_only = true
  }
}

resource "aws_cognito_user_group" "testers" {
  user_pool_id = aws_cognito_user_pool.this.id
  name         = "testers"
}

# Signs users in. JWTs outlive their user, so they are valid for 15 minutes only.
resource "aws_cognito_user_pool_client" "users" {
  user_pool_id          = aws_cognito_user_pool.this.id
  name                  = "vault-tutorial"
  generate_secret       = false
  explicit_auth_flows   = ["ALLOW_ADMIN_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"]
  access_token_validity = 15
  id_token_validity     = 15

  token_validity_units {
    access_token = "minutes"
    id_token     = "minutes"
  }
}

output "region" {
  value = var.region
}

output "user_pool_id" {
  value = aws_cognito_user_pool.this.id
}

output "app_client_id" {
  value = aws_cognito_user_pool_client.users.id
}

output "iam_user" {
  value = aws_iam_user.vault.name
}
