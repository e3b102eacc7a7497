// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

// Runs the collection with Newman. The Vault token comes from the environment, not from the command line, which other users
// of the machine can read.
import newman from 'newman'

const { VAULT_ADDR, VAULT_TOKEN, API_URL, COGNITO_CREDS_PATH = 'cognito/creds/ci-user' } = process.env
const variables = { vault_addr: VAULT_ADDR, vault_token: VAULT_TOKEN, api_url: API_URL, creds_path: COGNITO_CREDS_PATH }

newman.run(
  {
    collection: new URL('api.postman_collection.json', import.meta.url).pathname,
    envVar: Object.entries(variables).map(([key, value]) => ({ key, value })),
    reporters: 'cli',
    // The last request gives the user back, so a failure must not end the run.
    bail: false,
  },
  (error, summary) => {
    if (error) console.error(error.message)
    process.exitCode = error || summary.run.failures.length ? 1 : 0
  },
)
