// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package awserrors_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/pquerna/otp/totp"
	"github.com/stretchr/testify/require"
)

// flow is a request that makes the engine call Cognito.
type flow struct {
	// name is what docs/errors.md calls it.
	name    string
	prepare func(m *mount)
	run     func(m *mount) result
	// others are operations that the flow calls of another service, which has one of this name.
	others []string
	// further are the errors of operations of other services, which the model lacks.
	further map[string][]string
	// outcome, if set, says what has become of what the flow changes.
	outcome func(m *mount) string
}

// flows are listed in the order of the reference.
func flows() []flow {
	issue := func(m *mount) result { return m.read("creds/role") }
	return []flow{
		{name: "`creds/` user", prepare: userRole(nil), run: issue},
		{name: "`creds/` user with TOTP", prepare: userWithTOTP, run: issue},
		{name: "`creds/` user, `AdminSetUserPassword` denied", prepare: userWithoutSetPassword, run: issue},
		{name: "`creds/` machine token, secret looked up", prepare: machineRole, run: issue},
		{name: "`creds/` machine token, `token_source=api`", prepare: machineRoleByAPI, run: issue},
		{name: "`creds/` app client", prepare: clientRole, run: issue, outcome: clientsLeft},
		{name: "`creds/` membership", prepare: membershipRole(nil), run: issue, outcome: memberState},
		{name: "`tokens/` by password", prepare: leased(nil), run: func(m *mount) result {
			return m.request(logical.UpdateOperation, "tokens/role", map[string]any{"username": m.lease.Data["username"], "password": m.lease.Data["password"]})
		}},
		{name: "`tokens/` by refresh token", prepare: leased(nil), run: func(m *mount) result {
			return m.request(logical.UpdateOperation, "tokens/role", map[string]any{"username": m.lease.Data["username"], "refresh_token": m.lease.Data["refresh_token"]})
		}},
		{name: "`tokens/` by password and one-time code", prepare: leasedWithTOTP, run: tokensWithCode},
		{name: "`tokens/` of a static role", prepare: owning(passwordRole), run: tokensOfStaticRole},
		{name: "renew", prepare: leased(nil), run: func(m *mount) result { return m.onLease(logical.RenewOperation) }},
		{name: "revoke", prepare: leased(nil), run: revoke, outcome: userState},
		{name: "revoke, `revocation=disable`", prepare: leased(map[string]any{"revocation": "disable"}), run: revoke, outcome: userState},
		{name: "`tidy`", prepare: losing, run: tidy(true), outcome: lostUser},
		{name: "`tidy` with `dry_run=false`", prepare: losing, run: tidy(false), outcome: lostUser},
		{name: "`config` with `verify_connection`", run: verifyConnection, outcome: configState, further: map[string][]string{"GetCallerIdentity": stsErrors}},
		{name: "`config/rotate-root`", prepare: rootKey, run: rotateRoot, others: []string{"GetUser"}},
		{name: "revoke app client", prepare: issued(clientRole), run: revoke, outcome: clientsLeft},
		{name: "renew membership", prepare: issued(membershipRole(nil)), run: func(m *mount) result { return m.onLease(logical.RenewOperation) }},
		{name: "revoke membership, `sign_out_on_revoke`", prepare: issued(membershipRole(map[string]any{"sign_out_on_revoke": true})), run: revoke, outcome: memberState},
		{name: "`check/` user role", prepare: userRole(nil), run: check("role", "role")},
		{name: "`check/` machine role", prepare: machineRole, run: check("role", "role")},
		{name: "`check/` app client role", prepare: clientRole, run: check("role", "role")},
		{name: "`check/` membership role", prepare: membershipRole(nil), run: check("role", "role")},
		{name: "`check/` static password", prepare: owning(passwordRole), run: check("owned", "static")},
		{name: "`check/` static secret", prepare: owning(secretRole), run: check("owned", "static")},
		{name: "`static-roles/` new password", run: onboard(passwordRole)},
		{name: "`static-roles/` new self-managed password", run: onboard(selfManagedRole)},
		{name: "`static-roles/` new secret", run: onboard(secretRole)},
		{name: "`rotate-role/` password", prepare: owning(passwordRole), run: rotate, outcome: staticValue},
		{name: "`rotate-role/` self-managed password", prepare: owning(selfManagedRole), run: rotate, outcome: staticValue},
		{name: "`rotate-role/` secret", prepare: owning(secretRole), run: rotate, outcome: staticValue},
		{name: "`static-creds/` with tokens", prepare: owningStale, run: func(m *mount) result { return m.read("static-creds/owned") }},
	}
}

func userRole(more map[string]any) func(*mount) {
	return func(m *mount) {
		role := map[string]any{
			"credential_type": "user", "user_pool_id": m.Seed.UserPoolID, "region": m.Seed.Region, "app_client_id": m.Seed.AppClientID,
			"app_client_secret": m.Seed.AppClientSecret, "groups": "testers", "ttl": "24h", "max_ttl": "24h",
		}
		maps.Copy(role, more)
		m.WriteOK("roles/role", role)
	}
}

func userWithTOTP(m *mount) {
	_, err := m.Admin.SetUserPoolMfaConfig(m.T.Context(), &cip.SetUserPoolMfaConfigInput{
		UserPoolId: &m.Seed.UserPoolID, MfaConfiguration: types.UserPoolMfaTypeOptional,
		SoftwareTokenMfaConfiguration: &types.SoftwareTokenMfaConfigType{Enabled: true},
	})
	require.NoError(m.T, err)
	userRole(map[string]any{"mfa": "totp"})(m)
}

func userWithoutSetPassword(m *mount) {
	userRole(nil)(m)
	m.Deny("cognito-idp:AdminSetUserPassword")
}

func leased(more map[string]any) func(*mount) { return issued(userRole(more)) }

// issued prepares the lease of a role.
func issued(role func(*mount)) func(*mount) {
	return func(m *mount) {
		role(m)
		m.lease = m.OK(logical.ReadOperation, "creds/role", nil)
	}
}

func leasedWithTOTP(m *mount) {
	userWithTOTP(m)
	m.lease = m.OK(logical.ReadOperation, "creds/role", nil)
}

// tokensWithCode sends the code of the next 30 seconds, because the present one was used to enrol.
func tokensWithCode(m *mount) result {
	code, err := totp.GenerateCode(m.lease.Data["totp_secret"].(string), time.Now().Add(30*time.Second))
	require.NoError(m.T, err)
	return m.request(logical.UpdateOperation, "tokens/role", map[string]any{
		"username": m.lease.Data["username"], "password": m.lease.Data["password"], "totp_code": code,
	})
}

func tokensOfStaticRole(m *mount) result {
	return m.request(logical.UpdateOperation, "tokens/owned", map[string]any{"username": ownedUser, "password": m.password})
}

// lost is a user of the role that no record knows.
const lost = "vault-role-abcdefghijklmnopqrstuvwxyz"

func losing(m *mount) {
	userRole(nil)(m)
	_, err := m.Admin.AdminCreateUser(m.T.Context(), &cip.AdminCreateUserInput{
		UserPoolId: &m.Seed.UserPoolID, Username: aws.String(lost), MessageAction: types.MessageActionTypeSuppress,
	})
	require.NoError(m.T, err)
	m.clock.pass(100 * 24 * time.Hour)
}

func tidy(dry bool) func(*mount) result {
	return func(m *mount) result {
		return m.request(logical.UpdateOperation, "tidy", map[string]any{"role": "role", "dry_run": dry})
	}
}

func lostUser(m *mount) string {
	for _, user := range m.Users() {
		if user.Username == lost {
			return "the user is left"
		}
	}
	return "the user is gone"
}

// stsErrors are what every operation of STS can answer; GetCallerIdentity has no others.
// https://docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html
var stsErrors = []string{
	"AccessDenied", "ExpiredToken", "IncompleteSignature", "InternalFailure", "InvalidClientTokenId", "MissingAuthenticationToken",
	"NotAuthorized", "OptInRequired", "RequestExpired", "ServiceUnavailable", "SignatureDoesNotMatch", "Throttling", "ValidationError",
}

func verifyConnection(m *mount) result {
	return m.write("config", map[string]any{"verify_connection": true, "request_timeout": 31})
}

// configState says whether the new settings are in effect.
func configState(m *mount) string {
	m.T.Helper()
	if fmt.Sprint(m.Read("config")["request_timeout"]) == "31" {
		return "the config is changed"
	}
	return "the config is unchanged"
}

// rootKey makes the key of the config one of an IAM user, and a role whose pool a new key has to
// reach.
func rootKey(m *mount) {
	userRole(nil)(m)
	m.PlantKey("vault", pluginKey, pluginSecret)
}

func rotateRoot(m *mount) result {
	return m.request(logical.UpdateOperation, "config/rotate-root", nil)
}

func clientRole(m *mount) {
	m.WriteOK("roles/role", map[string]any{
		"credential_type": "app_client", "user_pool_id": m.Seed.UserPoolID, "region": m.Seed.Region, "cognito_pool_domain": m.Seed.Domain,
		"scopes": "api/read", "ttl": "24h", "max_ttl": "24h",
	})
}

// membershipRole prepares a role for a user who is in none of its groups.
func membershipRole(more map[string]any) func(*mount) {
	return func(m *mount) {
		role := map[string]any{
			"credential_type": "group_membership", "user_pool_id": m.Seed.UserPoolID, "region": m.Seed.Region,
			"username": ownedUser, "groups": "admins", "ttl": "24h", "max_ttl": "24h",
		}
		maps.Copy(role, more)
		m.WriteOK("roles/role", role)
	}
}

func machineRole(m *mount) {
	m.WriteOK("roles/role", map[string]any{
		"app_client_id": m.Seed.M2MClientID, "user_pool_id": m.Seed.UserPoolID, "region": m.Seed.Region, "cognito_pool_domain": m.Seed.Domain,
	})
}

func machineRoleByAPI(m *mount) {
	out, err := m.Admin.CreateUserPoolClient(m.T.Context(), &cip.CreateUserPoolClientInput{
		UserPoolId: &m.Seed.UserPoolID, ClientName: aws.String("api"), GenerateSecret: true,
		ExplicitAuthFlows: []types.ExplicitAuthFlowsType{"ALLOW_CLIENT_TOKEN_AUTH"}, AllowedOAuthScopes: m.Seed.Scopes,
	})
	require.NoError(m.T, err)
	m.WriteOK("roles/role", map[string]any{
		"token_source": "api", "app_client_id": out.UserPoolClient.ClientId, "user_pool_id": m.Seed.UserPoolID, "region": m.Seed.Region,
	})
}

func revoke(m *mount) result { return m.onLease(logical.RevokeOperation) }

// userState says what has become of the user of the lease.
func userState(m *mount) string {
	for _, user := range m.Users() {
		switch {
		case user.Username != m.lease.Data["username"]:
		case user.Enabled:
			return "the user is left"
		default:
			return "the user is disabled"
		}
	}
	return "the user is gone"
}

// clientsLeft says whether an app client that the engine created is there.
func clientsLeft(m *mount) string {
	out, err := m.Admin.ListUserPoolClients(m.T.Context(), &cip.ListUserPoolClientsInput{UserPoolId: &m.Seed.UserPoolID, MaxResults: aws.Int32(60)})
	require.NoError(m.T, err)
	for _, client := range out.UserPoolClients {
		if strings.HasPrefix(*client.ClientName, "vault-") {
			return "the app client is there"
		}
	}
	return "there is no app client"
}

// memberState says whether the user is in the group of the role.
func memberState(m *mount) string {
	for _, user := range m.Users() {
		if user.Username == ownedUser && slices.Contains(user.Groups, "admins") {
			return "the user is in the group"
		}
	}
	return "the user is not in the group"
}

// check fails if the check finds a problem, as its caller would see it.
func check(name, kind string) func(*mount) result {
	return func(m *mount) result {
		return m.request(logical.ReadOperation, "check/"+name, map[string]any{"kind": kind})
	}
}

func passwordRole(m *mount) map[string]any {
	return map[string]any{
		"credential_type": "user_password", "user_pool_id": m.Seed.UserPoolID, "region": m.Seed.Region, "username": ownedUser,
		"app_client_id": m.clientID, "app_client_secret": m.clientSecret, "rotation_period": "1h",
		"sign_out_on_rotation": true, "issue_tokens": true,
	}
}

func selfManagedRole(m *mount) map[string]any {
	role := passwordRole(m)
	delete(role, "sign_out_on_rotation")
	maps.Copy(role, map[string]any{"self_managed": true, "password": presentPassword})
	return role
}

func secretRole(m *mount) map[string]any {
	return map[string]any{
		"credential_type": "app_client_secret", "user_pool_id": m.Seed.UserPoolID, "region": m.Seed.Region,
		"app_client_id": m.Seed.M2MClientID, "cognito_pool_domain": m.Seed.Domain, "rotation_period": "1h",
	}
}

func onboard(role func(*mount) map[string]any) func(*mount) result {
	return func(m *mount) result { return m.write("static-roles/owned", role(m)) }
}

// owning prepares a static role that rotated once, so that there is a former value to delete.
func owning(role func(*mount) map[string]any) func(*mount) {
	return func(m *mount) {
		m.WriteOK("static-roles/owned", role(m))
		m.OK(logical.UpdateOperation, "rotate-role/owned", nil)
		m.password, _ = m.Read("static-creds/owned")["password"].(string)
	}
}

// owningStale prepares a static role whose cached tokens are too old to be handed out.
func owningStale(m *mount) {
	owning(passwordRole)(m)
	m.clock.pass(50 * time.Minute)
}

func rotate(m *mount) result { return m.request(logical.UpdateOperation, "rotate-role/owned", nil) }

// staticValue says whether readers get a password that Cognito accepts, or a secret at all.
func staticValue(m *mount) string {
	read := m.read("static-creds/owned")
	if read.failed() {
		return "`static-creds/` fails"
	}
	password, ok := read.response.Data["password"].(string)
	if !ok || m.accepts(password) {
		return ""
	}
	return "`static-creds/` returns a password that Cognito refuses"
}

func (m *mount) accepts(password string) bool {
	m.T.Helper()
	_, err := m.Admin.AdminInitiateAuth(m.T.Context(), &cip.AdminInitiateAuthInput{
		UserPoolId: &m.Seed.UserPoolID, ClientId: &m.Seed.PublicClientID, AuthFlow: types.AuthFlowTypeAdminUserPasswordAuth,
		AuthParameters: map[string]string{"USERNAME": ownedUser, "PASSWORD": password},
	})
	return err == nil
}
