# Copyright (c) The vault-plugin-secrets-cognito authors
# SPDX-License-Identifier: MPL-2.0
#
# Vault Agent keeps two files up to date for a service. Start it in a directory that holds the two files of its AppRole:
#
#   VAULT_ADDR=https://vault.example.com vault agent -config=agent.hcl
#
# The AppRole has the policy examples/policies/service.hcl.

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
  # What can be read again says so itself, by its ttl; this is for what does not.
  static_secret_render_interval = "5m"
  exit_on_retry_failure         = true
}

# A bearer token. There is always one in the file that is good for a while: the next one replaces it in time.
template {
  source      = "token.ctmpl"
  destination = "token"
  perms       = "0600"
}

# The account that the service signs in with. Read the file again after each rotation of the password.
template {
  source      = "account.json.ctmpl"
  destination = "account.json"
  perms       = "0600"
}
