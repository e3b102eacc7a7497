// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"encoding/json"
	"time"
)

// operation is one operation of Cognito's API.
type operation struct {
	// quotas are the buckets that a call draws on.
	quotas func(envelope) []quotaUse
	// unsigned operations need no AWS credentials.
	unsigned bool
	run      func(*request, []byte) (any, error)
}

// request is one call while it is carried out. The server's state is locked for it, so what it returns must not
// point into the state.
type request struct {
	*state
	server *Server
	region string
	now    time.Time
}

func (s *Server) newRequest(region string) *request {
	return &request{state: s.state, server: s, region: region, now: s.now()}
}

// empty is the answer of operations that have nothing to say.
type empty struct{}

// signed makes an operation that needs AWS credentials out of its quota category and what it does.
func signed[In any](category string, do func(*request, In) (any, error)) operation {
	return operation{
		quotas: func(envelope) []quotaUse { return drawOn(category) },
		run:    decodeAnd(do),
	}
}

// unsigned makes an operation that anyone may call.
func unsigned[In any](category string, do func(*request, In) (any, error)) operation {
	op := signed(category, do)
	op.unsigned = true
	return op
}

// answersChallenge counts an operation as the answer to a challenge.
func answersChallenge(op operation) operation {
	op.quotas = func(e envelope) []quotaUse { return drawForChallengeAnswer(e.ChallengeName) }
	return op
}

func decodeAnd[In any](do func(*request, In) (any, error)) func(*request, []byte) (any, error) {
	return func(r *request, body []byte) (any, error) {
		var in In
		if err := json.Unmarshal(body, &in); err != nil {
			return nil, newException("SerializationException", "%s", err)
		}
		return do(r, in)
	}
}

// operations is what the emulator can do. The three operations on client secrets are on no page about quotas; they are
// counted with the other updates of app clients.
func operations() map[string]operation {
	return map[string]operation{
		"CreateUserPool":         signed(userPoolUpdate, (*request).createUserPool),
		"DescribeUserPool":       signed(userPoolRead, (*request).describeUserPool),
		"DeleteUserPool":         signed(userPoolUpdate, (*request).deleteUserPool),
		"SetUserPoolMfaConfig":   signed(userPoolUpdate, (*request).setUserPoolMfaConfig),
		"CreateUserPoolDomain":   signed(userPoolResourceUpdate, (*request).createUserPoolDomain),
		"DescribeUserPoolDomain": signed(userPoolResourceRead, (*request).describeUserPoolDomain),
		"CreateResourceServer":   signed(userPoolResourceUpdate, (*request).createResourceServer),

		"CreateUserPoolClient":       signed(userPoolClientUpdate, (*request).createUserPoolClient),
		"DescribeUserPoolClient":     signed(userPoolClientRead, (*request).describeUserPoolClient),
		"UpdateUserPoolClient":       signed(userPoolClientUpdate, (*request).updateUserPoolClient),
		"DeleteUserPoolClient":       signed(userPoolClientUpdate, (*request).deleteUserPoolClient),
		"AddUserPoolClientSecret":    signed(userPoolClientUpdate, (*request).addUserPoolClientSecret),
		"ListUserPoolClientSecrets":  signed(userPoolClientRead, (*request).listUserPoolClientSecrets),
		"DeleteUserPoolClientSecret": signed(userPoolClientUpdate, (*request).deleteUserPoolClientSecret),

		"CreateGroup":              signed(userPoolResourceUpdate, (*request).createGroup),
		"GetGroup":                 signed(userPoolResourceRead, (*request).getGroup),
		"DeleteGroup":              signed(userPoolResourceUpdate, (*request).deleteGroup),
		"AdminAddUserToGroup":      signed(userUpdate, (*request).adminAddUserToGroup),
		"AdminRemoveUserFromGroup": signed(userUpdate, (*request).adminRemoveUserFromGroup),
		"AdminListGroupsForUser":   signed(userResourceRead, (*request).adminListGroupsForUser),

		"AdminCreateUser":           signed(userCreation, (*request).adminCreateUser),
		"AdminSetUserPassword":      signed(userAccountRecovery, (*request).adminSetUserPassword),
		"AdminGetUser":              signed(userRead, (*request).adminGetUser),
		"AdminDeleteUser":           signed(userUpdate, (*request).adminDeleteUser),
		"AdminDisableUser":          signed(userUpdate, (*request).adminDisableUser),
		"AdminEnableUser":           signed(userUpdate, (*request).adminEnableUser),
		"AdminUserGlobalSignOut":    signed(userUpdate, (*request).adminUserGlobalSignOut),
		"AdminUpdateUserAttributes": signed(userUpdate, (*request).adminUpdateUserAttributes),
		"ListUsers":                 signed(userList, (*request).listUsers),

		"AdminInitiateAuth":           signed(userAuthentication, (*request).adminInitiateAuth),
		"AdminRespondToAuthChallenge": answersChallenge(signed(userAuthentication, (*request).adminRespondToAuthChallenge)),
		"InitiateAuth":                unsigned(userAuthentication, (*request).initiateAuth),
		"RespondToAuthChallenge":      answersChallenge(unsigned(userAuthentication, (*request).respondToAuthChallenge)),
		"GetTokensFromRefreshToken":   unsigned(userAuthentication, (*request).getTokensFromRefreshToken),
		"RevokeToken":                 unsigned(userToken, (*request).revokeToken),
		"GetClientToken":              unsigned(clientAuthentication, (*request).getClientToken),

		"AssociateSoftwareToken":    unsigned(userResourceUpdate, (*request).associateSoftwareToken),
		"VerifySoftwareToken":       unsigned(userResourceUpdate, (*request).verifySoftwareToken),
		"AdminSetUserMFAPreference": signed(userResourceUpdate, (*request).adminSetUserMFAPreference),
		"GetUserPoolMfaConfig":      signed(userPoolRead, (*request).getUserPoolMfaConfig),

		"GetUser":        unsigned(userRead, (*request).getUser),
		"ChangePassword": unsigned(userAccountRecovery, (*request).changePassword),
		"GlobalSignOut":  unsigned(userUpdate, (*request).globalSignOut),
	}
}
