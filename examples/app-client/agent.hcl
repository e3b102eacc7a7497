# Copyright (c) The vault-plugin-secrets-cognito authors
# SPDX-License-Identifier: MPL-2.0
#
# Vault Agent gets a service an app client of its own, and keeps it alive. Start it in a directory that holds the two files of its
# AppRole:
#
#   VAULT_ADDR=https://vault.example.com vault agent -config=agent.hcl
#
# The AppRole has the policy policy.hcl. Let its tokens live as long as the service may stay away, and set token_period, so
# that Agent can renew them for ever: the app client is deleted when the token that asked for it ends.

auto_auth {
  method {
    type = "approle"
    config = {
      role_id_file_path   = "role_id"
      secret_id_file_path = "secret_id"
    }
  }
}

template_config {
  exit_on_retry_failure = true
}

# Agent renews the lease. Before its max_ttl it reads again and writes another app client here, so the service reads the file
# whenever it needs a token.
template {
  source      = "client.json.ctmpl"
  destination = "client.json"
  perms       = "0600"
}
