# Copyright (c) The vault-plugin-secrets-cognito authors
# SPDX-License-Identifier: MPL-2.0
#
# How CI jobs log in: with the token that their CI system gives each job. The Vault token that they get lives 30 minutes at
# most, and with it the users that it reads.

resource "vault_jwt_auth_backend" "github" {
  path               = "github"
  oidc_discovery_url = var.github_issuer
  bound_issuer       = var.github_issuer
}

resource "vault_jwt_auth_backend_role" "github" {
  backend         = vault_jwt_auth_backend.github.path
  role_name       = "ci"
  role_type       = "jwt"
  user_claim      = "repository"
  bound_audiences = [var.vault_addr]
  bound_claims = {
    repository = var.github_repository # and "ref" or "environment", to let in less
  }
  token_policies          = [vault_policy.ci.name]
  token_no_default_policy = true
  token_ttl               = 1800
  token_max_ttl           = 1800
}

resource "vault_jwt_auth_backend" "circleci" {
  path               = "circleci"
  oidc_discovery_url = "${var.circleci_url}/org/${var.circleci_org_id}"
  bound_issuer       = "${var.circleci_url}/org/${var.circleci_org_id}"
}

resource "vault_jwt_auth_backend_role" "circleci" {
  backend         = vault_jwt_auth_backend.circleci.path
  role_name       = "ci"
  role_type       = "jwt"
  user_claim      = "oidc.circleci.com/project-id"
  bound_audiences = [var.circleci_org_id]
  bound_claims = {
    "oidc.circleci.com/project-id" = var.circleci_project_id
  }
  token_policies          = [vault_policy.ci.name]
  token_no_default_policy = true
  token_ttl               = 1800
  token_max_ttl           = 1800
}
