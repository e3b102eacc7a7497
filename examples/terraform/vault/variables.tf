# Copyright (c) The vault-plugin-secrets-cognito authors
# SPDX-License-Identifier: MPL-2.0

# The outputs of examples/terraform/aws have the names of the first seven.

variable "region" {
  description = "Region of the user pool."
  type        = string
}

variable "user_pool_id" {
  description = "Id of the user pool, such as eu-west-1_AbCdEfGhI."
  type        = string
}

variable "users_client_id" {
  description = "App client without a secret that test users are signed in through. Only who has AWS credentials can use it so."
  type        = string
}

variable "machine_client_id" {
  description = "App client whose tokens services get. The engine looks up its secret, so that it is stored nowhere else."
  type        = string
}

variable "cognito_pool_domain" {
  description = "Domain of the user pool."
  type        = string
}

variable "scopes" {
  description = "What services may do, in alphabetical order."
  type        = list(string)
}

variable "aws_assume_role_arn" {
  description = "IAM role that the engine acts as. Empty: the identity that Vault runs with."
  type        = string
  default     = ""
}

variable "endpoints" {
  description = "cognito_endpoint and sts_endpoint, where the engine reaches AWS through VPC endpoints."
  type        = map(string)
  default     = {}
}

variable "vault_addr" {
  description = "Address of Vault as CI jobs know it, which is the audience of the tokens that they ask GitHub for."
  type        = string
}

variable "github_issuer" {
  description = "Who issues the tokens of GitHub Actions. A GitHub Enterprise Server has another."
  type        = string
  default     = "https://token.actions.githubusercontent.com"
}

variable "github_repository" {
  description = "Repository whose jobs may take test users, such as example/api."
  type        = string
}

variable "circleci_url" {
  description = "Who issues the tokens of CircleCI, less the organisation."
  type        = string
  default     = "https://oidc.circleci.com"
}

variable "circleci_org_id" {
  description = "Id of the organisation at CircleCI."
  type        = string
}

variable "circleci_project_id" {
  description = "Id of the project at CircleCI whose jobs may take test users."
  type        = string
}
