// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"encoding/json"
	"time"
)

// operation is an operation of Cognito's API.
type operation struct {
	// quotas returns the buckets that a call uses.
	quotas func(envelope) []quotaUse
	// unsigned operations need no AWS credentials.
	unsigned bool
	run      func(*request, []byte) (any, error)
}

// request is a call while it is performed. The server's state is locked meanwhile, so the result
// must not point into the state.
type request struct {
	*state
	server *Server
	region string
	now    time.Time
}

func (s *Server) newRequest(region string) *request {
	return &request{state: s.state, server: s, region: region, now: s.now()}
}

// empty is the answer of operations that return nothing.
type empty struct{}

// signed builds an operation that needs AWS credentials from its quota category and its handler.
func signed[In any](category string, do func(*request, In) (any, error)) operation {
	return operation{
		quotas: func(envelope) []quotaUse { return drawOn(category) },
		run:    decodeAnd(do),
	}
}

// unsigned builds an operation that needs no AWS credentials.
func unsigned[In any](category string, do func(*request, In) (any, error)) operation {
	op := signed(category, do)
	op.unsigned = true
	return op
}

// answersChallenge lets an operation use the quota of challenge answers.
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

// operations maps the names of operations to their quota categories and handlers. The page on
// quotas does not list the operations on client secrets; it is a guess that they count like other
// operations on app clients.
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
