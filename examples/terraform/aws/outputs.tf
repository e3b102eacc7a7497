# Copyright (c) The vault-plugin-secrets-cognito authors
# SPDX-License-Identifier: MPL-2.0

output "region" {
  value = var.region
}

output "user_pool_id" {
  value = aws_cognito_user_pool.this.id
}

output "users_client_id" {
  value = aws_cognito_user_pool_client.users.id
}

output "machine_client_id" {
  value = aws_cognito_user_pool_client.machine.id
}

output "cognito_pool_domain" {
  value = "${aws_cognito_user_pool_domain.this.domain}.auth.${var.region}.amazoncognito.com"
}

output "scopes" {
  value = sort(aws_cognito_resource_server.api.scope_identifiers)
}

output "aws_assume_role_arn" {
  value = aws_iam_role.vault.arn
}
