# Copyright (c) The vault-plugin-secrets-cognito authors
# SPDX-License-Identifier: MPL-2.0

variable "region" {
  description = "Region of the user pool."
  type        = string
  default     = "eu-west-1"
}

variable "domain_prefix" {
  description = "What the pool's domain begins with. It must be free in the whole region."
  type        = string
}

variable "vault_principal_arn" {
  description = "ARN of the role or user that Vault runs as."
  type        = string
}
