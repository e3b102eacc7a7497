// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

// Package emulator is an Amazon Cognito in memory for development and tests. It answers the calls
// of Cognito's API that the plugin and its users make, and those of STS, IAM, the OAuth2 token
// endpoint and the key sets. It enforces what Cognito enforces and answers with AWS's error codes,
// so that code that works here works there.
//
// Main types: Server is the http.Handler; Running is a Server that listens; Seed is what a prepared
// emulator contains. A request passes the steps of ServeHTTP in pipeline.go; operations.go maps
// each operation of Cognito's API to its quota category and its handler. The files are grouped by
// prefix:
//
//	server_    options, state, randomness, listening, the seed
//	pipeline, operations   from the request to the handler; changes that conflict
//	http_      the protocols: AWS JSON, AWS query (XML), token endpoint, key sets, OpenID
//	           configuration, browsers (CORS), pages, exceptions
//	iam_       who signed a call and what they may do; the operations of STS and IAM
//	control_   the control API for tests: faults, latency, quotas, call log, secrets seen
//	pools_     user pools: schema, password policy, groups, domains, resource servers, MFA, Lambda
//	           triggers, limits
//	clients_   app clients: settings and secrets
//	users_     users: names, attributes, passwords, recovery, groups, MFA, devices, passkeys, active
//	           users, and what users do to themselves
//	signin_    sign-in flows and challenges, SRP
//	tokens_    JWTs, refresh tokens, client credentials
//
// Invariants: state is only touched under Server.mu, which is never held while latency or a fault
// keeps a call waiting. A call has its whole effect or none; only the answer to a challenge stays
// given if a Lambda trigger refuses the tokens. All time except latency comes from Options.Now. An
// answer points to nothing in the state. Secrets that cross the wire are kept, so that a test can
// search for them in logs.
//
// It imports its subpackage control, which describes the control API, and nothing else of this
// module. Subpackage emulatortest starts emulators for tests.
package emulator
