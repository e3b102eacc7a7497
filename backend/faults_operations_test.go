// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/emulator/control"
)

const (
	aPassword    = "a password"
	anOwnOne     = "a self-managed password"
	aSecret      = "a secret"
	assumedRole  = "arn:aws:iam::123456789012:role/pools"
	rootPatience = time.Second
)

// families are all operations, by what they are about.
func families() map[string][]operation {
	return map[string][]operation{
		"user issue":        userIssues(),
		"leases":            leaseOperations(),
		"machine tokens":    machineTokens(),
		"tokens of users":   userTokens(),
		"checks":            checks(),
		"static onboarding": staticImports(),
		"static rotation":   staticRotations(),
		"static reads":      staticReads(),
		"root rotation":     rootRotations(),
		"config writes":     configWrites(),
		"roll-back":         rollBacks(),
	}
}

// issuing gives the role "ci" more.
func issuing(more map[string]any) func(*scene) {
	return func(s *scene) {
		s.WriteOK("roles/ci", map[string]any{"groups": "testers,admins"})
		s.WriteOK("roles/ci", more)
	}
}

func issueUser(s *scene) error {
	response, err := s.try(logical.ReadOperation, "creds/ci", nil)
	if err == nil {
		s.receive(response)
	}
	return err
}

func userIssues() []operation {
	withMFA := func(mode types.UserPoolMfaType) func(*scene) {
		return func(s *scene) {
			s.setMFA(mode, true)
			issuing(map[string]any{"mfa": "totp"})(s)
		}
	}
	return []operation{
		{name: "in two groups", prepare: issuing(nil), run: issueUser},
		{name: "without tokens", prepare: issuing(map[string]any{"issue_tokens": false}), run: issueUser},
		{name: "with an authenticator", prepare: withMFA(types.UserPoolMfaTypeOptional), run: issueUser},
		{name: "with one that the pool demands", prepare: withMFA(types.UserPoolMfaTypeOn), run: issueUser},
		{name: "to be disabled in the end", prepare: issuing(map[string]any{"revocation": "disable"}), run: issueUser},
		{name: "by an assumed role", prepare: issuing(map[string]any{"aws_assume_role_arn": assumedRole}), run: issueUser},
		{name: "without the right to set a password", prepare: func(s *scene) {
			issuing(nil)(s)
			s.Deny("cognito-idp:AdminSetUserPassword")
		}, run: issueUser},
	}
}

// withLease is for operations on the lease of a user.
func withLease(role map[string]any) func(*scene) {
	return func(s *scene) {
		issuing(role)(s)
		require.NoError(s.T, issueUser(s))
	}
}

func leaseOperations() []operation {
	revoke := func(s *scene) error { return s.revoke(s.leases[0]) }
	renew := func(s *scene) error { return s.renew(s.leases[0]) }
	disables := map[string]any{"revocation": "disable"}
	old := func(role map[string]any) func(*scene) {
		return func(s *scene) {
			withLease(role)(s)
			s.timePasses(time.Minute)
		}
	}
	return []operation{
		{name: "revoking a new one", prepare: withLease(nil), run: revoke},
		{name: "revoking an old one", prepare: old(nil), run: revoke},
		{name: "revoking a new one by disabling", prepare: withLease(disables), run: revoke},
		{name: "revoking an old one by disabling", prepare: old(disables), run: revoke},
		{name: "renewing a new one", prepare: withLease(nil), run: renew},
		{name: "renewing an old one", prepare: old(nil), run: renew},
	}
}

func machineTokens() []operation {
	role := func(more func(s *scene) map[string]any) func(*scene) {
		return func(s *scene) { s.WriteOK("roles/m", more(s)) }
	}
	read := func(s *scene) error {
		response, err := s.try(logical.ReadOperation, "creds/m", nil)
		if err == nil {
			requireJWT(s, response.Data["access_token"])
		}
		return err
	}
	return []operation{
		{name: "from the endpoint", run: read, prepare: role(func(s *scene) map[string]any {
			return map[string]any{"app_client_id": s.Seed.M2MClientID, "app_client_secret": s.Seed.M2MClientSecret, "cognito_pool_domain": s.Seed.Domain}
		})},
		{name: "with a secret that is looked up", run: read, prepare: role(func(s *scene) map[string]any {
			return map[string]any{"app_client_id": s.Seed.M2MClientID, "user_pool_id": s.Seed.UserPoolID, "region": s.Seed.Region, "cognito_pool_domain": s.Seed.Domain}
		})},
		{name: "from the API", run: read, prepare: role(func(s *scene) map[string]any {
			client := s.makeAppClient(cip.CreateUserPoolClientInput{
				GenerateSecret: true, ExplicitAuthFlows: []types.ExplicitAuthFlowsType{"ALLOW_CLIENT_TOKEN_AUTH"}, AllowedOAuthScopes: []string{"api/read"},
			})
			return map[string]any{"token_source": "api", "user_pool_id": s.Seed.UserPoolID, "region": s.Seed.Region, "app_client_id": *client.ClientId}
		})},
		{name: "with the secret of a static role", run: read, prepare: role(func(s *scene) map[string]any {
			s.own("x", aSecret, nil)
			return map[string]any{"static_role": "x", "cognito_pool_domain": s.Seed.Domain}
		})},
	}
}

func requireJWT(s *scene, token any) {
	s.T.Helper()
	require.Len(s.T, strings.Split(fmt.Sprint(token), "."), 3)
}

func userTokens() []operation {
	exchange := func(data func(creds map[string]any) map[string]any) func(*scene) error {
		return func(s *scene) error {
			response, err := s.try(logical.UpdateOperation, "tokens/ci", data(s.leases[0].data))
			if err == nil {
				requireJWT(s, response.Data["access_token"])
			}
			return err
		}
	}
	refresh := exchange(func(creds map[string]any) map[string]any {
		return map[string]any{"refresh_token": creds["refresh_token"], "username": creds["username"]}
	})
	return []operation{
		{name: "for a refresh token", prepare: withLease(nil), run: refresh},
		{name: "for a password", prepare: withLease(nil), run: exchange(func(creds map[string]any) map[string]any {
			return map[string]any{"username": creds["username"], "password": creds["password"]}
		})},
	}
}

func checks() []operation {
	check := func(path string, data map[string]any) func(*scene) error {
		return func(s *scene) error {
			response, err := s.try(logical.ReadOperation, "check/"+path, data)
			if err == nil && response.Data["status"] != "ok" {
				s.texts = append(s.texts, fmt.Sprint(response.Data))
				err = fmt.Errorf("the check finds %v", response.Data["findings"])
			}
			return err
		}
	}
	return []operation{
		{name: "of a user's role", prepare: issuing(nil), run: check("ci", nil)},
		{name: "of a machine's role", run: check("machine", nil), prepare: func(s *scene) { s.writeMachine(map[string]any{"user_pool_id": s.Seed.UserPoolID}) }},
		{name: "of a static role of a password", prepare: owning("x", aPassword, nil), run: check("x", map[string]any{"kind": "static"})},
		{name: "of a static role of a secret", prepare: owning("x", aSecret, nil), run: check("x", map[string]any{"kind": "static"})},
	}
}

// owning is for operations on a static role.
func owning(name, kind string, changes map[string]any) func(*scene) {
	return func(s *scene) { s.own(name, kind, changes) }
}

// noClient leaves a password without a way to prove it.
var noClient = map[string]any{"app_client_id": nil, "app_client_secret": nil}

func staticImports() []operation {
	onboard := func(s *scene) error { return s.tryWrite("static-roles/x", s.statics["x"].role) }
	plan := func(kind string, changes map[string]any) func(*scene) {
		return func(s *scene) { s.plan("x", kind, changes) }
	}
	skip := map[string]any{"skip_import_rotation": true}
	return []operation{
		{name: aPassword, prepare: plan(aPassword, nil), run: onboard},
		{name: "a password that nothing can prove", prepare: plan(aPassword, noClient), run: onboard},
		{name: anOwnOne, prepare: plan(anOwnOne, nil), run: onboard},
		{name: "a temporary password that the user manages", run: onboard, prepare: func(s *scene) {
			_, err := s.Admin.AdminSetUserPassword(s.T.Context(), &cip.AdminSetUserPasswordInput{
				UserPoolId: &s.Seed.UserPoolID, Username: aws.String(staticUser), Password: aws.String("hush-Temporary-1"),
			})
			require.NoError(s.T, err)
			s.plan("x", anOwnOne, map[string]any{"password": "hush-Temporary-1"})
			s.statics["x"].present = "hush-Temporary-1"
		}},
		{name: aSecret, prepare: plan(aSecret, nil), run: onboard},
		{name: "a present password as it is", run: onboard, prepare: func(s *scene) {
			s.plan("x", aPassword, skip)
			s.statics["x"].role["password"] = presentPassword
		}},
		{name: "a present secret as it is", run: onboard, prepare: func(s *scene) {
			s.plan("x", aSecret, skip)
			s.statics["x"].role["app_client_secret"] = s.Seed.M2MClientSecret
		}},
	}
}

func rotateNow(s *scene) error {
	_, err := s.try(logical.UpdateOperation, "rotate-role/x", nil)
	return err
}

func staticRotations() []operation {
	operations := []operation{
		{name: "of a secret beside a foreign one", prepare: besideForeign, run: rotateNow, refused: true},
	}
	for name, prepare := range map[string]func(*scene){
		aPassword:                           owning("x", aPassword, nil),
		"a password that nothing can prove": owning("x", aPassword, noClient),
		"a password with sessions":          owning("x", aPassword, map[string]any{"sign_out_on_rotation": true}),
		anOwnOne:                            owning("x", anOwnOne, nil),
		aSecret:                             owning("x", aSecret, nil),
	} {
		due := func(s *scene) {
			prepare(s)
			s.pass(time.Hour)
		}
		operations = append(operations, operation{name: "of " + name + " that is due", prepare: due, run: (*scene).tryTick})
		if isLongRun() || slices.Contains([]string{aPassword, anOwnOne, aSecret}, name) {
			operations = append(operations, operation{name: "of " + name + " on demand", prepare: prepare, run: rotateNow})
		}
	}
	return operations
}

// besideForeign puts a secret that is not ours in the place of the one before
// ours, so that there is no place for a new one.
func besideForeign(s *scene) {
	s.own("x", aSecret, nil)
	client := &cip.ListUserPoolClientSecretsInput{UserPoolId: &s.Seed.UserPoolID, ClientId: &s.Seed.M2MClientID}
	secrets, err := s.Admin.ListUserPoolClientSecrets(s.T.Context(), client)
	require.NoError(s.T, err)
	_, err = s.Admin.DeleteUserPoolClientSecret(s.T.Context(), &cip.DeleteUserPoolClientSecretInput{
		UserPoolId: client.UserPoolId, ClientId: client.ClientId, ClientSecretId: secrets.ClientSecrets[0].ClientSecretId,
	})
	require.NoError(s.T, err)
	_, err = s.Admin.AddUserPoolClientSecret(s.T.Context(), &cip.AddUserPoolClientSecretInput{
		UserPoolId: client.UserPoolId, ClientId: client.ClientId, ClientSecret: aws.String(foreignSecret),
	})
	require.NoError(s.T, err)
	s.foreign = true
}

func staticReads() []operation {
	read := func(s *scene) error {
		s.pass(time.Minute) // so long a failed sign-in keeps the next one waiting
		response, err := s.try(logical.ReadOperation, "static-creds/x", nil)
		if err != nil {
			return err
		}
		if response.Data["access_token"] == nil {
			return errors.New(strings.Join(response.Warnings, " "))
		}
		requireJWT(s, response.Data["access_token"])
		return nil
	}
	remove := func(s *scene) error {
		s.statics["x"].mayEnd = true
		_, err := s.try(logical.DeleteOperation, "static-roles/x", nil)
		return err
	}
	withTokens := func(kind string) func(*scene) {
		return func(s *scene) {
			s.own("x", kind, map[string]any{"issue_tokens": true})
			s.pass(50 * time.Minute) // those that are kept in memory are too old by then
		}
	}
	return []operation{
		{name: "of a password with tokens", prepare: withTokens(aPassword), run: read},
		{name: "of a self-managed password with tokens", prepare: withTokens(anOwnOne), run: read},
		{name: "the end of a role of a password", prepare: owning("x", aPassword, nil), run: remove},
		{name: "the end of a role of a secret", prepare: owning("x", aSecret, nil), run: remove},
	}
}

// withRootKey makes the key in the config that of an IAM user.
func withRootKey(s *scene) {
	s.PlantKey("vault", rootKey, "hush-root-key")
	s.WriteOK("config", map[string]any{"aws_access_key_id": rootKey, "aws_secret_access_key": "hush-root-key"})
	s.rotatesRoot = true
}

func rotateRoot(s *scene) error {
	_, err := s.try(logical.UpdateOperation, "config/rotate-root", nil)
	return err
}

func rootRotations() []operation {
	return []operation{
		{name: "on demand", prepare: withRootKey, run: rotateRoot, impatience: rootPatience},
		{name: "that is due", run: (*scene).tryTick, impatience: rootPatience, prepare: func(s *scene) {
			withRootKey(s)
			// AWS's clock goes on while ours is set, and keys are told by their age.
			s.pass(-time.Hour)
			s.WriteOK("config", map[string]any{"rotation_period": "1h"})
			s.pass(time.Hour)
		}},
	}
}

func configWrites() []operation {
	write := func(data map[string]any) func(*scene) error {
		return func(s *scene) error {
			if err := s.tryWrite("config", data); err != nil {
				return err
			}
			return issueUser(s)
		}
	}
	return []operation{
		{name: "that ask AWS", run: write(map[string]any{"verify_connection": true, "aws_role_session_name": "changed"})},
		{name: "that ask AWS for a role", run: write(map[string]any{"verify_connection": true, "aws_assume_role_arn": assumedRole})},
	}
}

func rollBacks() []operation {
	tick := (*scene).tryTick
	fails := func(s *scene, run func(*scene) error, operations ...string) {
		s.T.Helper()
		for _, name := range operations {
			s.Fault(control.Fault{Operation: name, Kind: control.FaultError, Code: "InternalErrorException"})
		}
		require.Error(s.T, run(s))
		s.Heal()
		require.NotEmpty(s.T, s.entries("wal/"))
	}
	unheard := func(role map[string]any) func(*scene) {
		return func(s *scene) {
			issuing(role)(s)
			s.answersLost = true
			require.NoError(s.T, issueUser(s))
			s.answersLost = false
			s.newProcess()
			s.timePasses(time.Minute)
			s.pass(25 * time.Hour)
		}
	}
	operations := []operation{
		{name: "of a user", run: tick, prepare: func(s *scene) {
			issuing(nil)(s)
			fails(s, issueUser, "AdminInitiateAuth", "AdminDeleteUser")
		}},
		{name: "of a user whose answer was on its way", run: tick, prepare: func(s *scene) {
			withLease(nil)(s)
			s.newProcess()
		}},
		{name: "of a user whose lease was never heard of", prepare: unheard(nil), run: tick},
		{name: "of one to be disabled", prepare: unheard(map[string]any{"revocation": "disable"}), run: tick},
		{name: "of an access key", run: tick, impatience: rootPatience, prepare: func(s *scene) {
			withRootKey(s)
			fails(s, rotateRoot, "GetCallerIdentity", "DeleteAccessKey")
		}},
		{name: "of an access key that was replaced", run: tick, impatience: rootPatience, prepare: func(s *scene) {
			withRootKey(s)
			require.NoError(s.T, rotateRoot(s))
		}},
	}
	if !isLongRun() {
		return operations
	}
	return append(operations, operation{name: "with all that is due at once", run: tick, impatience: rootPatience, prepare: func(s *scene) {
		withRootKey(s)
		s.pass(-2 * time.Hour)
		s.WriteOK("config", map[string]any{"rotation_period": "1h"})
		s.own("x", aPassword, nil)
		s.own("m", aSecret, nil)
		issuing(nil)(s)
		fails(s, issueUser, "AdminInitiateAuth", "AdminDeleteUser")
		s.pass(2 * time.Hour)
	}})
}
