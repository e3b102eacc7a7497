// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"encoding/json"
	"maps"
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

// operations maps the names of operations to their quota categories and handlers. The categories
// are those of the page "Quotas in Amazon Cognito" of the developer guide.
func operations() map[string]operation {
	all := map[string]operation{}
	for _, part := range []map[string]operation{
		poolOperations(), clientOperations(), groupOperations(), userOperations(), signInOperations(), selfOperations(),
	} {
		maps.Copy(all, part)
	}
	return all
}

// poolOperations returns those on user pools, their domains and resource servers, and on limits. No
// page has the category of GetProvisionedLimit.
func poolOperations() map[string]operation {
	return map[string]operation{
		"CreateUserPool":         signed(userPoolUpdate, (*request).createUserPool),
		"DescribeUserPool":       signed(userPoolRead, (*request).describeUserPool),
		"UpdateUserPool":         signed(userPoolUpdate, (*request).updateUserPool),
		"DeleteUserPool":         signed(userPoolUpdate, (*request).deleteUserPool),
		"SetUserPoolMfaConfig":   signed(userPoolUpdate, (*request).setUserPoolMfaConfig),
		"GetUserPoolMfaConfig":   signed(userPoolRead, (*request).getUserPoolMfaConfig),
		"CreateUserPoolReplica":  signed(userPoolUpdate, (*request).createUserPoolReplica),
		"CreateUserPoolDomain":   signed(userPoolResourceUpdate, (*request).createUserPoolDomain),
		"DeleteUserPoolDomain":   signed(userPoolResourceUpdate, (*request).deleteUserPoolDomain),
		"DescribeUserPoolDomain": signed(userPoolResourceRead, (*request).describeUserPoolDomain),
		"CreateResourceServer":   signed(userPoolResourceUpdate, (*request).createResourceServer),
		"DescribeResourceServer": signed(userPoolResourceRead, (*request).describeResourceServer),
		"GetProvisionedLimit":    signed(userPoolRead, (*request).getProvisionedLimit),
	}
}

// clientOperations returns those on app clients. The page on quotas does not list the ones on
// client secrets; that they count like the other ones is a guess.
func clientOperations() map[string]operation {
	return map[string]operation{
		"CreateUserPoolClient":       signed(userPoolClientUpdate, (*request).createUserPoolClient),
		"DescribeUserPoolClient":     signed(userPoolClientRead, (*request).describeUserPoolClient),
		"ListUserPoolClients":        signed(userPoolClientRead, (*request).listUserPoolClients),
		"UpdateUserPoolClient":       signed(userPoolClientUpdate, (*request).updateUserPoolClient),
		"DeleteUserPoolClient":       signed(userPoolClientUpdate, (*request).deleteUserPoolClient),
		"AddUserPoolClientSecret":    signed(userPoolClientUpdate, (*request).addUserPoolClientSecret),
		"ListUserPoolClientSecrets":  signed(userPoolClientRead, (*request).listUserPoolClientSecrets),
		"DeleteUserPoolClientSecret": signed(userPoolClientUpdate, (*request).deleteUserPoolClientSecret),
	}
}

// groupOperations returns those on groups and memberships.
func groupOperations() map[string]operation {
	return map[string]operation{
		"CreateGroup":              signed(userPoolResourceUpdate, (*request).createGroup),
		"GetGroup":                 signed(userPoolResourceRead, (*request).getGroup),
		"ListGroups":               signed(userPoolResourceRead, (*request).listGroups),
		"DeleteGroup":              signed(userPoolResourceUpdate, (*request).deleteGroup),
		"ListUsersInGroup":         signed(userList, (*request).listUsersInGroup),
		"AdminAddUserToGroup":      signed(userUpdate, (*request).adminAddUserToGroup),
		"AdminRemoveUserFromGroup": signed(userUpdate, (*request).adminRemoveUserFromGroup),
		"AdminListGroupsForUser":   signed(userResourceRead, (*request).adminListGroupsForUser),
	}
}

// userOperations returns those of administrators on users.
func userOperations() map[string]operation {
	return map[string]operation{
		"AdminCreateUser":           signed(userCreation, (*request).adminCreateUser),
		"AdminSetUserPassword":      signed(userAccountRecovery, (*request).adminSetUserPassword),
		"AdminResetUserPassword":    signed(userAccountRecovery, (*request).adminResetUserPassword),
		"AdminGetUser":              signed(userRead, (*request).adminGetUser),
		"AdminDeleteUser":           signed(userUpdate, (*request).adminDeleteUser),
		"AdminDisableUser":          signed(userUpdate, (*request).adminDisableUser),
		"AdminEnableUser":           signed(userUpdate, (*request).adminEnableUser),
		"AdminUserGlobalSignOut":    signed(userUpdate, (*request).adminUserGlobalSignOut),
		"AdminUpdateUserAttributes": signed(userUpdate, (*request).adminUpdateUserAttributes),
		"AdminDeleteUserAttributes": signed(userUpdate, (*request).adminDeleteUserAttributes),
		"AdminSetUserMFAPreference": signed(userResourceUpdate, (*request).adminSetUserMFAPreference),
		"AdminListDevices":          signed(userResourceRead, (*request).adminListDevices),
		"AdminForgetDevice":         signed(userResourceUpdate, (*request).adminForgetDevice),
		"ListUsers":                 signed(userList, (*request).listUsers),
	}
}

// signInOperations returns those that return or revoke tokens.
func signInOperations() map[string]operation {
	return map[string]operation{
		"AdminInitiateAuth":           signed(userAuthentication, (*request).adminInitiateAuth),
		"AdminRespondToAuthChallenge": answersChallenge(signed(userAuthentication, (*request).adminRespondToAuthChallenge)),
		"InitiateAuth":                unsigned(userAuthentication, (*request).initiateAuth),
		"RespondToAuthChallenge":      answersChallenge(unsigned(userAuthentication, (*request).respondToAuthChallenge)),
		"GetTokensFromRefreshToken":   unsigned(userAuthentication, (*request).getTokensFromRefreshToken),
		"RevokeToken":                 unsigned(userToken, (*request).revokeToken),
		"GetClientToken":              unsigned(clientAuthentication, (*request).getClientToken),
	}
}

// selfOperations returns those of users on themselves. The categories of the WebAuthn operations
// are a guess.
func selfOperations() map[string]operation {
	return map[string]operation{
		"GetUser":                      unsigned(userRead, (*request).getUser),
		"UpdateUserAttributes":         unsigned(userUpdate, (*request).updateUserAttributes),
		"DeleteUserAttributes":         unsigned(userUpdate, (*request).deleteUserAttributes),
		"DeleteUser":                   unsigned(userUpdate, (*request).deleteOwnUser),
		"GlobalSignOut":                unsigned(userUpdate, (*request).globalSignOut),
		"ChangePassword":               unsigned(userAccountRecovery, (*request).changePassword),
		"ForgotPassword":               unsigned(userAccountRecovery, (*request).forgotPassword),
		"ConfirmForgotPassword":        unsigned(userAccountRecovery, (*request).confirmForgotPassword),
		"SetUserMFAPreference":         unsigned(userResourceUpdate, (*request).setUserMFAPreference),
		"AssociateSoftwareToken":       unsigned(userResourceUpdate, (*request).associateSoftwareToken),
		"VerifySoftwareToken":          unsigned(userResourceUpdate, (*request).verifySoftwareToken),
		"ConfirmDevice":                unsigned(userResourceUpdate, (*request).confirmDevice),
		"UpdateDeviceStatus":           unsigned(userResourceUpdate, (*request).updateDeviceStatus),
		"ForgetDevice":                 unsigned(userResourceUpdate, (*request).forgetDevice),
		"ListDevices":                  unsigned(userResourceRead, (*request).listDevices),
		"StartWebAuthnRegistration":    unsigned(userResourceUpdate, (*request).startWebAuthnRegistration),
		"CompleteWebAuthnRegistration": unsigned(userResourceUpdate, (*request).completeWebAuthnRegistration),
		"DeleteWebAuthnCredential":     unsigned(userResourceUpdate, (*request).deleteWebAuthnCredential),
		"ListWebAuthnCredentials":      unsigned(userResourceRead, (*request).listWebAuthnCredentials),
	}
}
