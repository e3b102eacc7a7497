// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

// Takes a test user from Vault, renews its lease and gives it back, with nothing but fetch.

export interface TestUser {
  leaseId: string
  username: string
  password: string
  /** The user's access token, if the role names an app client. */
  accessToken?: string
  /** When half of the lease is over, in milliseconds since 1970. */
  renewAt: number
}

interface Lease {
  lease_id: string
  lease_duration: number
}

/** takeUser makes a user. Each call makes another one. */
export async function takeUser(): Promise<TestUser> {
  const path = process.env.COGNITO_CREDS_PATH ?? 'cognito/creds/ci-user'
  const lease = await call<Lease & { data: Record<string, string> }>('GET', path)
  const { username, password, access_token: accessToken } = lease.data
  return { leaseId: lease.lease_id, username, password, accessToken, renewAt: halfOf(lease) }
}

/** renewUser renews the lease if half of it is over. Call it before each test. */
export async function renewUser(user: TestUser): Promise<void> {
  if (Date.now() < user.renewAt) return
  user.renewAt = halfOf(await call<Lease>('PUT', 'sys/leases/renew', { lease_id: user.leaseId }))
}

/** giveBack deletes the user, and returns when it is deleted. */
export async function giveBack(user: TestUser): Promise<void> {
  await call('PUT', 'sys/leases/revoke', { lease_id: user.leaseId, sync: true })
}

function halfOf(lease: Lease): number {
  return Date.now() + lease.lease_duration * 500
}

async function call<T>(method: string, path: string, body?: object): Promise<T> {
  const response = await fetch(`${variable('VAULT_ADDR')}/v1/${path}`, {
    method,
    headers: { 'X-Vault-Token': variable('VAULT_TOKEN'), 'X-Vault-Request': 'true' },
    body: body && JSON.stringify(body),
  })
  const text = await response.text()
  if (!response.ok) throw new Error(`${method} ${path}: Vault answered ${response.status}: ${text}`)
  return (text === '' ? {} : JSON.parse(text)) as T
}

function variable(name: string): string {
  const value = process.env[name]
  if (!value) throw new Error(`the environment variable ${name} is not set`)
  return value
}
