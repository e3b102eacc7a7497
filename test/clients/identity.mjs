// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0
//
// Signs in with amazon-cognito-identity-js, by SRP and by password, and changes and deletes the user; aws-jwt-verify checks the
// tokens.
import assert from 'node:assert/strict'
import { promisify } from 'node:util'
import identity from 'amazon-cognito-identity-js'
import { CognitoJwtVerifier } from 'aws-jwt-verify'

const { ENDPOINT: endpoint, POOL: UserPoolId, CLIENT: ClientId, USERNAME: Username, PASSWORD: Password } = process.env
const Pool = new identity.CognitoUserPool({ UserPoolId, ClientId, endpoint })
const details = new identity.AuthenticationDetails({ Username, Password })

function signIn(flow) {
  const user = new identity.CognitoUser({ Username, Pool })
  user.setAuthenticationFlowType(flow)
  return new Promise((resolve, reject) => {
    user.authenticateUser(details, { onSuccess: (session) => resolve({ user, session }), onFailure: reject })
  })
}

async function verify(session) {
  const jwks = await (await fetch(`${endpoint}/${UserPoolId}/.well-known/jwks.json`)).json()
  for (const [tokenUse, token] of [['access', session.getAccessToken()], ['id', session.getIdToken()]]) {
    const verifier = CognitoJwtVerifier.create({ userPoolId: UserPoolId, clientId: ClientId, tokenUse })
    verifier.cacheJwks(jwks)
    const claims = await verifier.verify(token.getJwtToken())
    assert.equal(claims['cognito:username'] ?? claims.username, Username)
    await assert.rejects(verifier.verify(token.getJwtToken().slice(0, -8)))
  }
}

await verify((await signIn('USER_PASSWORD_AUTH')).session)
const { user, session } = await signIn('USER_SRP_AUTH')
await verify(session)

const refreshed = await promisify(user.refreshSession.bind(user))(session.getRefreshToken())
await verify(refreshed)

const call = (method, ...args) => promisify(user[method].bind(user))(...args)
await call('updateAttributes', [new identity.CognitoUserAttribute({ Name: 'given_name', Value: 'Ann' })])
const attributes = await call('getUserAttributes')
assert.equal(attributes.find((attribute) => attribute.getName() === 'given_name').getValue(), 'Ann')
await call('setUserMfaPreference', { Enabled: false, PreferredMfa: false }, null)
await call('deleteUser')
await assert.rejects(signIn('USER_SRP_AUTH'), { name: /NotAuthorizedException|UserNotFoundException/ })
