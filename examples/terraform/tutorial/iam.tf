# Copyright (c) The vault-plugin-secrets-cognito authors
# SPDX-License-Identifier: MPL-2.0
#
# The IAM user of the engine, with one policy for all that the tutorial does. docs/iam.md says what each action is for.

resource "aws_iam_user" "vault" {
  name          = "vault-tutorial"
  force_destroy = true # its access key is Vault's, not Terraform's
}

resource "aws_iam_user_policy" "vault" {
  name   = "cognito"
  user   = aws_iam_user.vault.name
  policy = data.aws_iam_policy_document.vault.json
}

data "aws_iam_policy_document" "vault" {
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

  # For check/.
  statement {
    sid = "Check"
    actions = [
      "cognito-idp:DescribeUserPool",
      "cognito-idp:DescribeUserPoolClient",
      "cognito-idp:GetGroup",
    ]
    resources = [aws_cognito_user_pool.this.arn]
  }

  # For config/rotate-root.
  statement {
    sid = "AccessKey"
    actions = [
      "iam:ListAccessKeys",
      "iam:CreateAccessKey",
      "iam:DeleteAccessKey",
    ]
    resources = [aws_iam_user.vault.arn]
  }
}
