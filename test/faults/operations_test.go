// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package faults

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
	aSelfManaged = "a self-managed password"
	aSecret      = "a secret"
	assumedRole  = "arn:aws:iam::123456789012:role/pools"
	rootTimeout  = time.Second
)

// families returns all operations by subject.
func families() map[string][]operation {
	return map[string][]operation{
		"user issue":        userIssues(),
		"leases":            leaseOperations(),
		"app clients":       appClients(),
		"memberships":       memberships(),
		"machine tokens":    machineTokens(),
		"tokens of users":   userTokens(),
		"checks":            checks(),
		"static onboarding": staticImports(),
		"static rotation":   staticRotations(),
		"static reads":      staticReads(),
		"root rotation":     rootRotations(),
		"config writes":     configWrites(),
		"ticks":             ticks(),
		"library sets":      libraries(),
	}
}

// issuing adds fields to role "ci".
func issuing(more map[string]any) func(*env) {
	return func(e *env) {
		e.WriteOK("roles/ci", map[string]any{"groups": "testers,admins"})
		e.WriteOK("roles/ci", more)
	}
}

func issue(e *env) error {
	response, err := e.try(logical.ReadOperation, "creds/ci", nil)
	if err == nil {
		e.receive(response)
	}
	return err
}

func userIssues() []operation {
	withMFA := func(mode types.UserPoolMfaType) func(*env) {
		return func(e *env) {
			e.setMFA(mode, true)
			issuing(map[string]any{"mfa": "totp"})(e)
		}
	}
	return []operation{
		{name: "in two groups", prepare: issuing(nil), run: issue},
		{name: "without tokens", prepare: issuing(map[string]any{"issue_tokens": false}), run: issue},
		{name: "with an authenticator", prepare: withMFA(types.UserPoolMfaTypeOptional), run: issue},
		{name: "with an authenticator that the pool requires", prepare: withMFA(types.UserPoolMfaTypeOn), run: issue},
		{name: "with revocation=disable", prepare: issuing(map[string]any{"revocation": "disable"}), run: issue},
		{name: "by an assumed role", prepare: issuing(map[string]any{"aws_assume_role_arn": assumedRole}), run: issue},
		{name: "without permission to set a password", prepare: func(e *env) {
			issuing(nil)(e)
			e.Deny("cognito-idp:AdminSetUserPassword")
		}, run: issue},
	}
}

// withLease prepares the lease of a user.
func withLease(role map[string]any) func(*env) {
	return func(e *env) {
		issuing(role)(e)
		require.NoError(e.T, issue(e))
	}
}

func leaseOperations() []operation {
	revoke := func(e *env) error { return e.revoke(e.leases[0]) }
	renew := func(e *env) error { return e.renew(e.leases[0]) }
	disables := map[string]any{"revocation": "disable"}
	old := func(role map[string]any) func(*env) {
		return func(e *env) {
			withLease(role)(e)
			e.passWithTick(time.Minute)
		}
	}
	return []operation{
		{name: "revoking a new one", prepare: withLease(nil), run: revoke},
		{name: "revoking an old one", prepare: old(nil), run: revoke},
		{name: "revoking a new one with revocation=disable", prepare: withLease(disables), run: revoke},
		{name: "revoking an old one with revocation=disable", prepare: old(disables), run: revoke},
		{name: "renewing a new one", prepare: withLease(nil), run: renew},
		{name: "renewing an old one", prepare: old(nil), run: renew},
	}
}

// issuingClients makes role "ci" one that issues app clients.
func issuingClients(e *env) {
	e.OK(logical.DeleteOperation, "roles/ci", nil)
	e.WriteOK("roles/ci", map[string]any{
		"credential_type": "app_client", "user_pool_id": e.Seed.UserPoolID, "region": e.Seed.Region,
		"cognito_pool_domain": e.Seed.Domain, "scopes": "api/read", "ttl": "24h", "max_ttl": "24h",
	})
}

func appClients() []operation {
	leased := func(e *env) {
		issuingClients(e)
		require.NoError(e.T, issue(e))
	}
	old := func(e *env) {
		leased(e)
		e.passWithTick(time.Minute)
	}
	lost := func(e *env) {
		issuingClients(e)
		e.Fault(control.Fault{Operation: "CreateUserPoolClient", Kind: control.FaultCutAfter})
		require.Error(e.T, issue(e))
		e.Heal()
		e.pass(10 * time.Minute)
	}
	gone := func(e *env) {
		old(e)
		id := e.leases[0].clientID()
		_, err := e.Admin.DeleteUserPoolClient(e.T.Context(), &cip.DeleteUserPoolClientInput{UserPoolId: &e.Seed.UserPoolID, ClientId: &id})
		require.NoError(e.T, err)
	}
	revoke := func(e *env) error { return e.revoke(e.leases[0]) }
	return []operation{
		{name: "issuing one", prepare: issuingClients, run: issue},
		{name: "revoking a new one", prepare: leased, run: revoke},
		{name: "revoking an old one", prepare: old, run: revoke},
		{name: "revoking one that is gone", prepare: gone, run: revoke},
		{name: "renewing one", prepare: old, run: func(e *env) error { return e.renew(e.leases[0]) }},
		{name: "finding one whose answer was lost", prepare: lost, run: (*env).tryTick},
	}
}

func machineTokens() []operation {
	role := func(more func(e *env) map[string]any) func(*env) {
		return func(e *env) { e.WriteOK("roles/m", more(e)) }
	}
	read := func(e *env) error {
		response, err := e.try(logical.ReadOperation, "creds/m", nil)
		if err == nil {
			requireJWT(e, response.Data["access_token"])
		}
		return err
	}
	return []operation{
		{name: "from the endpoint", run: read, prepare: role(func(e *env) map[string]any {
			return map[string]any{"app_client_id": e.Seed.M2MClientID, "app_client_secret": e.Seed.M2MClientSecret, "cognito_pool_domain": e.Seed.Domain}
		})},
		{name: "with a secret that is looked up", run: read, prepare: role(func(e *env) map[string]any {
			return map[string]any{"app_client_id": e.Seed.M2MClientID, "user_pool_id": e.Seed.UserPoolID, "region": e.Seed.Region, "cognito_pool_domain": e.Seed.Domain}
		})},
		{name: "from the API", run: read, prepare: role(func(e *env) map[string]any {
			client := e.makeAppClient(cip.CreateUserPoolClientInput{
				GenerateSecret: true, ExplicitAuthFlows: []types.ExplicitAuthFlowsType{"ALLOW_CLIENT_TOKEN_AUTH"}, AllowedOAuthScopes: []string{"api/read"},
			})
			return map[string]any{"token_source": "api", "user_pool_id": e.Seed.UserPoolID, "region": e.Seed.Region, "app_client_id": *client.ClientId}
		})},
		{name: "with the secret of a static role", run: read, prepare: role(func(e *env) map[string]any {
			e.own("x", aSecret, nil)
			return map[string]any{"static_role": "x", "cognito_pool_domain": e.Seed.Domain}
		})},
	}
}

func requireJWT(e *env, token any) {
	e.T.Helper()
	require.Len(e.T, strings.Split(fmt.Sprint(token), "."), 3)
}

func userTokens() []operation {
	exchange := func(data func(creds map[string]any) map[string]any) func(*env) error {
		return func(e *env) error {
			response, err := e.try(logical.UpdateOperation, "tokens/ci", data(e.leases[0].data))
			if err == nil {
				requireJWT(e, response.Data["access_token"])
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

// isFine reports whether a check finds nothing but that the limits of the fixture exceed the
// account's quotas.
func isFine(findings map[string]any) bool {
	for name, status := range findings {
		if status != "ok" && name != "quotas" {
			return false
		}
	}
	return true
}

func checks() []operation {
	check := func(path string, data map[string]any) func(*env) error {
		return func(e *env) error {
			response, err := e.try(logical.ReadOperation, "check/"+path, data)
			if err == nil && !isFine(response.Data["findings"].(map[string]any)) {
				e.texts = append(e.texts, fmt.Sprint(response.Data))
				err = fmt.Errorf("the check finds %v", response.Data["problems"])
			}
			return err
		}
	}
	return []operation{
		{name: "of a user's role", prepare: issuing(nil), run: check("ci", nil)},
		{name: "of a role of app clients", prepare: issuingClients, run: check("ci", nil)},
		{name: "of a role of memberships", prepare: elevating(nil), run: check("ci", nil)},
		{name: "of a machine's role", run: check("machine", nil), prepare: func(e *env) { e.writeMachine(map[string]any{"user_pool_id": e.Seed.UserPoolID}) }},
		{name: "of a static role of a password", prepare: owning("x", aPassword, nil), run: check("x", map[string]any{"kind": "static"})},
		{name: "of a static role of a secret", prepare: owning("x", aSecret, nil), run: check("x", map[string]any{"kind": "static"})},
	}
}

// owning prepares a static role.
func owning(name, kind string, changes map[string]any) func(*env) {
	return func(e *env) { e.own(name, kind, changes) }
}

// noClient removes the app client, so that a password cannot be proven.
var noClient = map[string]any{"app_client_id": nil, "app_client_secret": nil}

func staticImports() []operation {
	onboard := func(e *env) error { return e.tryWrite("static-roles/x", e.statics["x"].role) }
	plan := func(kind string, changes map[string]any) func(*env) {
		return func(e *env) { e.plan("x", kind, changes) }
	}
	skip := map[string]any{"skip_import_rotation": true}
	return []operation{
		{name: aPassword, prepare: plan(aPassword, nil), run: onboard},
		{name: "a password that cannot be proven", prepare: plan(aPassword, noClient), run: onboard},
		{name: aSelfManaged, prepare: plan(aSelfManaged, nil), run: onboard},
		{name: "a temporary password that the user manages", run: onboard, prepare: func(e *env) {
			_, err := e.Admin.AdminSetUserPassword(e.T.Context(), &cip.AdminSetUserPasswordInput{
				UserPoolId: &e.Seed.UserPoolID, Username: aws.String(staticUser), Password: aws.String("hush-Temporary-1"),
			})
			require.NoError(e.T, err)
			e.plan("x", aSelfManaged, map[string]any{"password": "hush-Temporary-1"})
			e.statics["x"].present = "hush-Temporary-1"
		}},
		{name: aSecret, prepare: plan(aSecret, nil), run: onboard},
		{name: "a present password as it is", run: onboard, prepare: func(e *env) {
			e.plan("x", aPassword, skip)
			e.statics["x"].role["password"] = presentPassword
		}},
		{name: "a present secret as it is", run: onboard, prepare: func(e *env) {
			e.plan("x", aSecret, skip)
			e.statics["x"].role["app_client_secret"] = e.Seed.M2MClientSecret
		}},
	}
}

func rotateNow(e *env) error {
	_, err := e.try(logical.UpdateOperation, "rotate-role/x", nil)
	return err
}

func staticRotations() []operation {
	operations := []operation{
		{name: "of a secret beside a foreign one", prepare: besideForeign, run: rotateNow, refused: true},
	}
	for name, prepare := range map[string]func(*env){
		aPassword:                          owning("x", aPassword, nil),
		"a password that cannot be proven": owning("x", aPassword, noClient),
		"a password with sessions":         owning("x", aPassword, map[string]any{"sign_out_on_rotation": true}),
		aSelfManaged:                       owning("x", aSelfManaged, nil),
		aSecret:                            owning("x", aSecret, nil),
	} {
		due := func(e *env) {
			prepare(e)
			e.pass(time.Hour)
		}
		operations = append(operations, operation{name: "of " + name + " that is due", prepare: due, run: (*env).tryTick})
		if isLongRun() || slices.Contains([]string{aPassword, aSelfManaged, aSecret}, name) {
			operations = append(operations, operation{name: "of " + name + " on demand", prepare: prepare, run: rotateNow})
		}
	}
	return operations
}

// besideForeign replaces the previous secret by one that the engine did not make, so that there is
// no room for a new one.
func besideForeign(e *env) {
	e.own("x", aSecret, nil)
	client := &cip.ListUserPoolClientSecretsInput{UserPoolId: &e.Seed.UserPoolID, ClientId: &e.Seed.M2MClientID}
	secrets, err := e.Admin.ListUserPoolClientSecrets(e.T.Context(), client)
	require.NoError(e.T, err)
	_, err = e.Admin.DeleteUserPoolClientSecret(e.T.Context(), &cip.DeleteUserPoolClientSecretInput{
		UserPoolId: client.UserPoolId, ClientId: client.ClientId, ClientSecretId: secrets.ClientSecrets[0].ClientSecretId,
	})
	require.NoError(e.T, err)
	_, err = e.Admin.AddUserPoolClientSecret(e.T.Context(), &cip.AddUserPoolClientSecretInput{
		UserPoolId: client.UserPoolId, ClientId: client.ClientId, ClientSecret: aws.String(foreignSecret),
	})
	require.NoError(e.T, err)
	e.foreign = true
}

func staticReads() []operation {
	read := func(e *env) error {
		e.pass(time.Minute) // so long a failed sign-in keeps the next one waiting
		response, err := e.try(logical.ReadOperation, "static-creds/x", nil)
		if err != nil {
			return err
		}
		if response.Data["access_token"] == nil {
			return errors.New(strings.Join(response.Warnings, " "))
		}
		requireJWT(e, response.Data["access_token"])
		return nil
	}
	remove := func(e *env) error {
		e.statics["x"].mayEnd = true
		_, err := e.try(logical.DeleteOperation, "static-roles/x", nil)
		return err
	}
	withTokens := func(kind string) func(*env) {
		return func(e *env) {
			e.own("x", kind, map[string]any{"issue_tokens": true})
			e.pass(50 * time.Minute) // the cached tokens are too old by then
		}
	}
	return []operation{
		{name: "of a password with tokens", prepare: withTokens(aPassword), run: read},
		{name: "of a self-managed password with tokens", prepare: withTokens(aSelfManaged), run: read},
		{name: "deleting a role of a password", prepare: owning("x", aPassword, nil), run: remove},
		{name: "deleting a role of a secret", prepare: owning("x", aSecret, nil), run: remove},
	}
}

// withRootKey makes the key in the config one of an IAM user.
func withRootKey(e *env) {
	e.PlantKey("vault", rootKey, "hush-root-key")
	e.WriteOK("config", map[string]any{"aws_access_key_id": rootKey, "aws_secret_access_key": "hush-root-key"})
	e.rotatesRoot = true
}

func rotateRoot(e *env) error {
	_, err := e.try(logical.UpdateOperation, "config/rotate-root", nil)
	return err
}

func rootRotations() []operation {
	return []operation{
		{name: "on demand", prepare: withRootKey, run: rotateRoot, hangTimeout: rootTimeout},
		{name: "that is due", run: (*env).tryTick, hangTimeout: rootTimeout, prepare: func(e *env) {
			withRootKey(e)
			// AWS's clock is not moved, and keys are told apart by their age.
			e.pass(-time.Hour)
			e.WriteOK("config", map[string]any{"rotation_period": "1h"})
			e.pass(time.Hour)
		}},
	}
}

func configWrites() []operation {
	write := func(data map[string]any) func(*env) error {
		return func(e *env) error {
			if err := e.tryWrite("config", data); err != nil {
				return err
			}
			return issue(e)
		}
	}
	return []operation{
		{name: "that ask AWS", run: write(map[string]any{"verify_connection": true, "aws_role_session_name": "changed"})},
		{name: "that ask AWS for a role", run: write(map[string]any{"verify_connection": true, "aws_assume_role_arn": assumedRole})},
	}
}

func ticks() []operation {
	tick := (*env).tryTick
	fails := func(e *env, run func(*env) error, operations ...string) {
		e.T.Helper()
		for _, name := range operations {
			e.Fault(control.Fault{Operation: name, Kind: control.FaultError, Code: "InternalErrorException"})
		}
		require.Error(e.T, run(e))
		e.Heal()
		require.NotEmpty(e.T, append(e.entries("wal/"), e.entries("issued/records/")...))
	}
	unheard := func(role map[string]any) func(*env) {
		return func(e *env) {
			issuing(role)(e)
			e.responsesLost = true
			require.NoError(e.T, issue(e))
			e.responsesLost = false
			e.newProcess()
			e.passWithTick(time.Minute)
			e.sealed(25 * time.Hour)
		}
	}
	operations := []operation{
		{name: "of a user", run: tick, prepare: func(e *env) {
			issuing(nil)(e)
			fails(e, issue, "AdminInitiateAuth", "AdminDeleteUser")
		}},
		{name: "of a user whose lease was stored", run: tick, prepare: func(e *env) {
			withLease(nil)(e)
			e.newProcess()
		}},
		{name: "of a user whose response was lost", prepare: unheard(nil), run: tick},
		{name: "of a user whose response was lost, with revocation=disable", prepare: unheard(map[string]any{"revocation": "disable"}), run: tick},
		{name: "of an access key", run: tick, hangTimeout: rootTimeout, prepare: func(e *env) {
			withRootKey(e)
			fails(e, rotateRoot, "GetCallerIdentity", "DeleteAccessKey")
		}},
		{name: "of an access key that was replaced", run: tick, hangTimeout: rootTimeout, prepare: func(e *env) {
			withRootKey(e)
			require.NoError(e.T, rotateRoot(e))
		}},
	}
	if !isLongRun() {
		return operations
	}
	return append(operations, operation{name: "with everything due at once", run: tick, hangTimeout: rootTimeout, prepare: func(e *env) {
		withRootKey(e)
		e.pass(-2 * time.Hour)
		e.WriteOK("config", map[string]any{"rotation_period": "1h"})
		e.own("x", aPassword, nil)
		e.own("m", aSecret, nil)
		issuing(nil)(e)
		fails(e, issue, "AdminInitiateAuth", "AdminDeleteUser")
		e.pass(2 * time.Hour)
	}})
}
