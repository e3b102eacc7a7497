# Copyright (c) The vault-plugin-secrets-cognito authors
# SPDX-License-Identifier: MPL-2.0
#
# The policies of docs/iam.md for the features that examples/terraform/vault uses.

resource "aws_iam_role" "vault" {
  name               = "vault-cognito"
  assume_role_policy = data.aws_iam_policy_document.trust.json
}

resource "aws_iam_role_policy" "vault" {
  name   = "cognito"
  role   = aws_iam_role.vault.id
  policy = data.aws_iam_policy_document.cognito.json
}

data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "AWS"
      identifiers = [var.vault_principal_arn]
    }
  }
}

data "aws_iam_policy_document" "cognito" {
  statement {
    sid = "Users"
    actions = [
      "cognito-idp:AdminCreateUser",
      "cognito-idp:AdminSetUserPassword",
      "cognito-idp:AdminAddUserToGroup",
      "cognito-idp:AdminInitiateAuth",
      "cognito-idp:AdminDeleteUser",
      "cognito-idp:AdminGetUser",
    ]
    resources = [aws_cognito_user_pool.this.arn]
  }

  statement {
    sid       = "MachineTokens"
    actions   = ["cognito-idp:DescribeUserPoolClient"]
    resources = [aws_cognito_user_pool.this.arn]
  }

  # For roles of type app_client.
  statement {
    sid = "AppClients"
    actions = [
      "cognito-idp:CreateUserPoolClient",
      "cognito-idp:DeleteUserPoolClient",
      "cognito-idp:ListUserPoolClients",
    ]
    resources = [aws_cognito_user_pool.this.arn]
  }

  # For roles of type group_membership, besides what users and static passwords need.
  statement {
    sid = "GroupMemberships"
    actions = [
      "cognito-idp:AdminListGroupsForUser",
      "cognito-idp:AdminRemoveUserFromGroup",
    ]
    resources = [aws_cognito_user_pool.this.arn]
  }

  # For library sets, besides what users, group memberships, static passwords and check/ need.
  statement {
    sid = "Library"
    actions = [
      "cognito-idp:AdminDeleteUserAttributes",
      "cognito-idp:AdminEnableUser",
      "cognito-idp:AdminForgetDevice",
      "cognito-idp:AdminListDevices",
      "cognito-idp:AdminSetUserMFAPreference",
      "cognito-idp:AdminUpdateUserAttributes",
    ]
    resources = [aws_cognito_user_pool.this.arn]
  }

  # Besides what users need.
  statement {
    sid       = "StaticPasswords"
    actions   = ["cognito-idp:AdminUserGlobalSignOut"]
    resources = [aws_cognito_user_pool.this.arn]
  }

  # For tidy; optional.
  statement {
    sid       = "Tidy"
    actions   = ["cognito-idp:ListUsers"]
    resources = [aws_cognito_user_pool.this.arn]
  }

  # For limits that follow the account's quotas; optional.
  statement {
    sid       = "Quotas"
    actions   = ["cognito-idp:GetProvisionedLimit"]
    resources = ["*"] # it names no pool
  }

  # For check/; optional.
  statement {
    sid = "Check"
    actions = [
      "cognito-idp:DescribeUserPool",
      "cognito-idp:ListUserPoolClientSecrets",
      "cognito-idp:DescribeResourceServer",
      "cognito-idp:GetGroup",
      "cognito-idp:GetUserPoolMfaConfig",
    ]
    resources = [aws_cognito_user_pool.this.arn]
  }

  statement {
    sid       = "CheckDomain"
    actions   = ["cognito-idp:DescribeUserPoolDomain"]
    resources = ["*"] # AWS takes no ARN for it
  }
}
