// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package test

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/hashicorp/vault/api"
	"github.com/pquerna/otp/totp"
	"github.com/stretchr/testify/require"
)

// acceptanceCases is the acceptance table, which docs/second-opinion.md shows.
var acceptanceCases = []acceptanceCase{
	{
		does: "read creds/ of a role with groups and attributes",
		must: "the user is confirmed, and has the groups and the attributes",
		try: func(a *acceptance) {
			user, _ := a.issue(map[string]any{"user_attributes": map[string]any{"custom:made_by": "{{.RoleName}}", "email": "x@example.com"}})
			out, err := a.at(a.pool, user["username"])
			require.NoError(a, err)
			require.Equal(a, types.UserStatusTypeConfirmed, out.UserStatus)
			require.True(a, out.Enabled)
			attributes := map[string]string{}
			for _, attribute := range out.UserAttributes {
				attributes[*attribute.Name] = *attribute.Value
			}
			require.Equal(a, "ci", attributes["custom:made_by"])
			require.Equal(a, "x@example.com", attributes["email"])
			require.Equal(a, user["sub"], attributes["sub"])
			require.ElementsMatch(a, []string{"testers", "admins"}, a.groupsOf(user["username"]))
		},
	},
	{
		does: "sign in with the password that was read",
		must: "it is taken, and another one is not",
		try: func(a *acceptance) {
			user, _ := a.issue(nil)
			a.requireTaken(user["username"], user["password"])
			a.requireRefused(user["username"], user["password"].(string)+"x")
		},
	},
	{
		does: "look at the tokens that were read",
		must: "the pool signed them, for this user, app client and groups",
		try: func(a *acceptance) {
			user, _ := a.issue(nil)
			for field, client := range map[string]string{"access_token": "client_id", "id_token": "aud"} {
				claims := a.claims(a.pool, user[field])
				require.Equal(a, a.public.id, claims[client], field)
				require.Equal(a, user["sub"], claims["sub"])
				require.Equal(a, strings.TrimSuffix(field, "_token"), claims["token_use"])
				require.ElementsMatch(a, []any{"testers", "admins"}, groupsIn(claims))
				require.Regexp(a, `^https://.*/`+a.pool+`$`, claims["iss"])
				require.Greater(a, claims["exp"], float64(time.Now().Unix()))
			}
			require.Equal(a, user["username"], a.claims(a.pool, user["id_token"])["cognito:username"])
		},
	},
	{
		does: "read creds/ of a role with a confidential app client",
		must: "the tokens are this app client's",
		try: func(a *acceptance) {
			user, _ := a.issue(map[string]any{"app_client_id": a.confidential.id, "app_client_secret": a.confidential.secret})
			require.Equal(a, a.confidential.id, a.claims(a.pool, user["access_token"])["client_id"])
		},
	},
	{
		does:  "write a wrong app client secret into a role",
		must:  "no user is signed in, and none is left",
		needs: []need{needSecretHash},
		try: func(a *acceptance) {
			a.userRole(map[string]any{"app_client_id": a.confidential.id, "app_client_secret": "hush-wrong", "username_template": "wrong-{{uuid}}"})
			_, err := a.tryRead("creds/ci")
			_, text := a.refusal(err)
			require.Contains(a, text, "NotAuthorizedException")
			require.Empty(a, a.usersNamed(a.T, "wrong-"))
		},
	},
	{
		does: "read tokens/ with username and password",
		must: "new tokens of the same user",
		try: func(a *acceptance) {
			user, _ := a.issue(nil)
			tokens := a.write("tokens/ci", map[string]any{"username": user["username"], "password": user["password"]}).Data
			require.Equal(a, user["sub"], a.claims(a.pool, tokens["access_token"])["sub"])
		},
	},
	{
		does:  "read tokens/ with a refresh token",
		must:  "new tokens of the same user",
		needs: []need{needRefresh},
		try: func(a *acceptance) {
			user, _ := a.issue(nil)
			tokens := a.write("tokens/ci", map[string]any{"refresh_token": user["refresh_token"]}).Data
			require.Equal(a, user["sub"], a.claims(a.pool, tokens["id_token"])["sub"])
			require.NotEqual(a, user["access_token"], tokens["access_token"])
		},
	},
	{
		does: "renew a lease, and once more when the user is disabled",
		must: "the second renewal fails",
		try: func(a *acceptance) {
			user, lease := a.issue(nil)
			renewed, err := a.client.Sys().RenewWithContext(a.Context(), lease, 0)
			require.NoError(a, err)
			require.Equal(a, 7200, renewed.LeaseDuration)
			_, err = a.cognito().AdminDisableUser(a.Context(), &cip.AdminDisableUserInput{UserPoolId: &a.pool, Username: aws.String(user["username"].(string))})
			require.NoError(a, err)
			_, err = a.client.Sys().RenewWithContext(a.Context(), lease, 0)
			_, text := a.refusal(err)
			require.Contains(a, text, "is disabled")
		},
	},
	{
		does: "tidy after a snapshot without the records of some users was restored",
		must: "these users are deleted, and no stranger that is named alike",
		try: func(a *acceptance) {
			role := "tidy" + strings.ToLower(rand.Text()[:6])
			a.write("roles/"+role, map[string]any{"credential_type": "user", "user_pool_id": a.pool, "issue_tokens": false, "ttl": "1s", "max_ttl": "1s"})
			_, err := a.client.Logical().WriteWithContext(a.Context(), "sys/mounts/"+a.mount+"/tune", map[string]any{"default_lease_ttl": "1s", "max_lease_ttl": "1s"})
			require.NoError(a, err)
			lost := "vault-" + role + "-" + strings.ToLower(rand.Text())
			strangers := []string{"vault-" + role, "vault-" + role + "-anna", lost[:len(lost)-1], lost + "2", strings.ToUpper(lost)}
			for _, username := range append(slices.Clone(strangers), lost) {
				a.addUser(username)
			}
			request := map[string]any{"role": role, "safety_buffer": "1s"}
			require.Eventually(a, func() bool { return slices.Equal([]any{lost}, a.write("tidy", request).Data["users"].([]any)) }, 30*time.Second, 200*time.Millisecond)
			request["dry_run"] = false
			require.Equal(a, json.Number("1"), a.write("tidy", request).Data["deleted"])
			a.requireGone(a.pool, lost)
			for _, username := range strangers {
				_, err := a.at(a.pool, username)
				require.NoError(a, err, "%s is a stranger", username)
				_, err = a.cognito().AdminDeleteUser(a.Context(), &cip.AdminDeleteUserInput{UserPoolId: &a.pool, Username: &username})
				require.NoError(a, err)
			}
		},
	},
	{
		does: "revoke a lease",
		must: "the user is gone, and the password with it",
		try: func(a *acceptance) {
			user, lease := a.issue(nil)
			require.NoError(a, a.refresh(user["refresh_token"]))
			a.revoke(lease)
			a.requireGone(a.pool, user["username"])
			_, err := a.signIn(a.pool, a.public, user["username"], user["password"])
			require.Contains(a, []string{"UserNotFoundException", "NotAuthorizedException"}, codeOf(err))
		},
	},
	{
		does:  "revoke a lease, and use the refresh token of its user",
		must:  "it is refused",
		needs: []need{needOwnEnd},
		try: func(a *acceptance) {
			user, lease := a.issue(nil)
			a.revoke(lease)
			require.Contains(a, []string{"NotAuthorizedException", "UserNotFoundException"}, codeOf(a.refresh(user["refresh_token"])))
		},
	},
	{
		does: "revoke a lease of a role with revocation=disable",
		must: "the user stays and is disabled; its password and its refresh token are refused",
		try: func(a *acceptance) {
			user, lease := a.issue(map[string]any{"revocation": "disable", "username_template": "kept-{{uuid}}"})
			a.revoke(lease)
			out, err := a.at(a.pool, user["username"])
			require.NoError(a, err)
			require.False(a, out.Enabled)
			a.requireRefused(user["username"], user["password"])
			require.Equal(a, "NotAuthorizedException", codeOf(a.refresh(user["refresh_token"])))
		},
	},
	{
		does: "read creds/ of a role with a group that is not there",
		must: "400 that names the group, and no user is left",
		try: func(a *acceptance) {
			a.userRole(map[string]any{"groups": "testers,nobodies", "username_template": "undone-{{uuid}}"})
			_, err := a.tryRead("creds/ci")
			status, text := a.refusal(err)
			require.Equal(a, 400, status)
			require.Contains(a, text, `"nobodies"`)
			require.Empty(a, a.usersNamed(a.T, "undone-"))
		},
	},
	{
		does: "read creds/ of a role whose Vault password policy is too weak for the pool",
		must: "400 that says so, and no user is left",
		try: func(a *acceptance) {
			_, err := a.client.Logical().WriteWithContext(a.Context(), "sys/policies/password/"+a.mount, map[string]any{
				"policy": `length = 20  rule "charset" { charset = "abcdefghij" }`,
			})
			require.NoError(a, err)
			a.userRole(map[string]any{"password_policy": a.mount, "username_template": "weak-{{uuid}}"})
			_, err = a.tryRead("creds/ci")
			status, text := a.refusal(err)
			require.Equal(a, 400, status)
			require.Contains(a, text, "InvalidPasswordException")
			require.Empty(a, a.usersNamed(a.T, "weak-"))
		},
	},
	{
		does: "read creds/ in a pool whose usernames are e-mail addresses, and revoke",
		must: "the user goes by its sub, signs in by its address, and is gone afterwards",
		try: func(a *acceptance) {
			b := &builder{T: a.T, provider: a.provider}
			b.pool = b.makePool(&cip.CreateUserPoolInput{UsernameAttributes: []types.UsernameAttributeType{types.UsernameAttributeTypeEmail}})
			client := b.userClient(false, types.ExplicitAuthFlowsTypeAllowAdminUserPasswordAuth)
			user, lease := a.issue(map[string]any{"user_pool_id": b.pool, "app_client_id": client.id, "dummy_email_domain": "example.com"})
			require.Equal(a, user["sub"], user["username"])
			require.NotEqual(a, user["email"], user["username"])
			require.ElementsMatch(a, []any{"testers", "admins"}, groupsIn(a.claims(b.pool, user["access_token"])))
			_, err := a.signIn(b.pool, client, user["email"], user["password"])
			require.NoError(a, err)
			a.revoke(lease)
			a.requireGone(b.pool, user["username"])
		},
	},
	{
		does:  "read creds/ of a role with mfa=totp, in a pool that demands a second factor",
		must:  "the user has an authenticator, and Vault's secret makes its codes",
		needs: []need{needMFA},
		try: func(a *acceptance) {
			b := &builder{T: a.T, provider: a.provider}
			b.pool = b.makePool(&cip.CreateUserPoolInput{})
			_, err := a.cognito().SetUserPoolMfaConfig(a.Context(), &cip.SetUserPoolMfaConfigInput{
				UserPoolId: &b.pool, MfaConfiguration: types.UserPoolMfaTypeOn,
				SoftwareTokenMfaConfiguration: &types.SoftwareTokenMfaConfigType{Enabled: true},
			})
			require.NoError(a, err)
			client := b.userClient(false, types.ExplicitAuthFlowsTypeAllowAdminUserPasswordAuth)
			user, _ := a.issue(map[string]any{"user_pool_id": b.pool, "app_client_id": client.id, "mfa": "totp"})
			out, err := a.at(b.pool, user["username"])
			require.NoError(a, err)
			require.Contains(a, out.UserMFASettingList, "SOFTWARE_TOKEN_MFA")
			// The code of the next 30 seconds, because the current one was used for the enrolment.
			code, err := totp.GenerateCode(user["totp_secret"].(string), time.Now().Add(30*time.Second))
			require.NoError(a, err)
			tokens := a.write("tokens/ci", map[string]any{"username": user["username"], "password": user["password"], "totp_code": code}).Data
			require.NotEmpty(a, tokens["access_token"])
		},
	},
	{
		does: "give Vault a user's password, and rotate it",
		must: "each time the new password is taken, and the one before refused",
		try: func(a *acceptance) {
			username, imported := a.addPerson()
			a.write("static-roles/person", map[string]any{
				"credential_type": "user_password", "user_pool_id": a.pool, "username": username, "rotation_period": "1h",
				"app_client_id": a.confidential.id, "app_client_secret": a.confidential.secret,
			})
			first := a.read("static-creds/person").Data["password"]
			a.write("rotate-role/person", nil)
			second := a.read("static-creds/person").Data["password"]
			for _, before := range []any{imported, first} {
				a.requireRefused(username, before)
			}
			a.requireTaken(username, second)
		},
	},
	{
		does: "give Vault a user's password with self_managed, and rotate it",
		must: "the new password is taken, and the one before refused",
		try: func(a *acceptance) {
			username, imported := a.addPerson()
			a.write("static-roles/person", map[string]any{
				"credential_type": "user_password", "user_pool_id": a.pool, "username": username, "rotation_period": "1h",
				"app_client_id": a.self.id, "self_managed": true, "password": imported,
			})
			a.write("rotate-role/person", nil)
			a.requireRefused(username, imported)
			a.requireTaken(username, a.read("static-creds/person").Data["password"])
		},
	},
	{
		does:  "give Vault an app client's secret, and rotate it twice",
		must:  "the newest secret and the one before get tokens, the first one does not",
		needs: []need{needMachine, needSecrets},
		try: func(a *acceptance) {
			client := (&builder{T: a.T, provider: a.provider, pool: a.pool}).machineClient()
			a.write("static-roles/client", map[string]any{
				"credential_type": "app_client_secret", "user_pool_id": a.pool, "app_client_id": client.id, "rotation_period": "1h",
				"cognito_pool_domain": a.domain, "scopes": "api/read",
			})
			secrets := []any{a.read("static-creds/client").Data["app_client_secret"]}
			for range 2 {
				a.write("rotate-role/client", nil)
				secrets = append(secrets, a.read("static-creds/client").Data["app_client_secret"])
			}
			a.requireSecret(client, secrets[2], true)
			a.requireSecret(client, secrets[1], true)
			a.requireSecret(client, secrets[0], false)
		},
	},
	{
		does:  "read creds/ of a machine role",
		must:  "the pool signed the token, for the app client and its scope",
		needs: []need{needMachine},
		try: func(a *acceptance) {
			a.machineRole(map[string]any{"cognito_pool_domain": a.domain, "app_client_id": a.machine.id, "app_client_secret": a.machine.secret})
			claims := a.claims(a.pool, a.read("creds/machine").Data["access_token"])
			require.Equal(a, a.machine.id, claims["client_id"])
			require.Equal(a, "api/read", claims["scope"])
		},
	},
	{
		does:  "read creds/ of a machine role without the secret",
		must:  "the secret is looked up in the pool, and not shown",
		needs: []need{needMachine},
		try: func(a *acceptance) {
			a.machineRole(map[string]any{"cognito_pool_domain": a.domain, "app_client_id": a.machine.id, "user_pool_id": a.pool})
			token := a.read("creds/machine").Data
			require.Equal(a, a.machine.id, a.claims(a.pool, token["access_token"])["sub"])
			require.NotContains(a, fmt.Sprint(token, a.read("roles/machine").Data), a.machine.secret)
		},
	},
	{
		does:  "read creds/ of a machine role with token_source=api",
		must:  "the pool signed the token, for the app client and its scope",
		needs: []need{needMachine, needClientToken},
		try: func(a *acceptance) {
			a.machineRole(map[string]any{"token_source": "api", "user_pool_id": a.pool, "app_client_id": a.api.id, "app_client_secret": a.api.secret})
			claims := a.claims(a.pool, a.read("creds/machine").Data["access_token"])
			require.Equal(a, a.api.id, claims["client_id"])
			require.Equal(a, "api/read", claims["scope"])
		},
	},
	{
		does:  "let a role name an IAM role to assume, read creds/, delete the role and revoke",
		must:  "the engine acts as the IAM role, and the user is gone afterwards",
		needs: []need{needRole},
		try: func(a *acceptance) {
			foreign := a.inOtherRegion()
			a.userRole(foreign.named())
			require.Contains(a, a.finding("aws_identity"), "assumed-role/"+a.roleName())
			secret := a.read("creds/ci")
			_, err := foreign.at(foreign.pool, secret.Data["username"])
			require.NoError(a, err)
			a.delete("roles/ci")
			a.revoke(secret.LeaseID)
			foreign.requireGone(foreign.pool, secret.Data["username"])
		},
	},
	{
		does:  "read creds/ for a pool of another account without its IAM role",
		must:  "the pool is not found",
		needs: []need{needRole, needAccounts},
		try: func(a *acceptance) {
			role := a.inOtherRegion().named()
			role["aws_assume_role_arn"], role["aws_external_id"] = "", ""
			a.userRole(role)
			_, err := a.tryRead("creds/ci")
			status, text := a.refusal(err)
			require.Equal(a, 400, status)
			require.Contains(a, text, "ResourceNotFoundException")
		},
	},
	{
		does: "read creds/ of a role with credential_type=app_client, and revoke",
		must: "an app client for client_credentials only, with the role's scopes; then it is gone",
		try: func(a *acceptance) {
			a.write("roles/service", map[string]any{
				"credential_type": "app_client", "user_pool_id": a.pool, "scopes": "api/read", "access_token_ttl": "10m",
				"cognito_pool_domain": "example.auth." + a.config.Region + ".amazoncognito.com",
			})
			secret := a.read("creds/service")
			id := secret.Data["app_client_id"].(string)
			client, err := a.appClient(id)
			require.NoError(a, err)
			require.Equal(a, secret.Data["app_client_secret"], *client.ClientSecret)
			require.Equal(a, []types.OAuthFlowType{types.OAuthFlowTypeClientCredentials}, client.AllowedOAuthFlows)
			require.Equal(a, []string{"api/read"}, client.AllowedOAuthScopes)
			a.revoke(secret.LeaseID)
			_, err = a.appClient(id)
			require.Equal(a, "ResourceNotFoundException", codeOf(err))
		},
	},
	{
		does: "read creds/ of a role with credential_type=group_membership, twice, and revoke both",
		must: "the user is in the role's groups until the second end, and then in its own only",
		try: func(a *acceptance) {
			username := "oncall-" + strings.ToLower(rand.Text())
			a.addUser(username)
			_, err := a.cognito().AdminAddUserToGroup(a.Context(), &cip.AdminAddUserToGroupInput{UserPoolId: &a.pool, Username: &username, GroupName: aws.String("testers")})
			require.NoError(a, err)
			a.write("roles/elevate", map[string]any{
				"credential_type": "group_membership", "user_pool_id": a.pool, "username": username, "groups": "testers,admins", "sign_out_on_revoke": true,
			})
			first, second := a.read("creds/elevate"), a.read("creds/elevate")
			require.Equal(a, []any{"admins"}, second.Data["groups"])
			require.Equal(a, []any{"testers"}, second.Data["already_member_of"])
			a.revoke(first.LeaseID)
			require.ElementsMatch(a, []string{"testers", "admins"}, a.groupsOf(username))
			a.revoke(second.LeaseID)
			require.Equal(a, []string{"testers"}, a.groupsOf(username))
			_, err = a.cognito().AdminDeleteUser(a.Context(), &cip.AdminDeleteUserInput{UserPoolId: &a.pool, Username: &username})
			require.NoError(a, err)
		},
	},
	{
		does:  "write config/rotate-root",
		must:  "the IAM user has a new access key, and the engine works with it",
		needs: []need{needRootKey},
		try: func(a *acceptance) {
			user, old := a.rootKey(a.T, a.provider)
			a.reachProvider(map[string]any{"aws_access_key_id": old.AccessKeyID, "aws_secret_access_key": old.SecretAccessKey, "aws_session_token": ""})
			a.write("config/rotate-root", nil)
			keys, err := a.iam().ListAccessKeys(a.Context(), &iam.ListAccessKeysInput{UserName: &user})
			require.NoError(a, err)
			id := a.read("config").Data["aws_access_key_id"]
			require.NotEqual(a, old.AccessKeyID, id)
			require.True(a, slices.ContainsFunc(keys.AccessKeyMetadata, func(key iamtypes.AccessKeyMetadata) bool { return *key.AccessKeyId == id }))
			a.userRole(nil)
			require.Contains(a, a.finding("aws_identity"), "/"+user)
		},
	},
	{
		does:  "use the access key from before config/rotate-root",
		must:  "within minutes AWS no longer accepts it",
		needs: []need{needRootKey, needEnforcedKeys},
		try: func(a *acceptance) {
			_, old := a.rootKey(a.T, a.provider)
			a.reachProvider(map[string]any{"aws_access_key_id": old.AccessKeyID, "aws_secret_access_key": old.SecretAccessKey, "aws_session_token": ""})
			a.write("config/rotate-root", nil)
			client := sts.NewFromConfig(a.as(credentials.StaticCredentialsProvider{Value: old}).config)
			require.Eventually(a, func() bool {
				_, err := client.GetCallerIdentity(a.Context(), &sts.GetCallerIdentityInput{})
				return codeOf(err) == "InvalidClientTokenId"
			}, propagation+deleteOldKeyLimit, 100*time.Millisecond)
		},
	},
	{
		does: "read creds/ of a role for app clients, and revoke",
		must: "the pool has an app client of the lease, for its scope, and afterwards none",
		try: func(a *acceptance) {
			a.appClientRole()
			require.Equal(a, "ok", a.check("service").status, a.read("check/service").Data)
			secret := a.read("creds/service")
			id := secret.Data["app_client_id"].(string)
			client, err := a.appClientAt(id)
			require.NoError(a, err)
			require.Equal(a, []string{"api/read"}, client.AllowedOAuthScopes)
			require.Equal(a, secret.Data["app_client_secret"], aws.ToString(client.ClientSecret))
			a.revoke(secret.LeaseID)
			_, err = a.appClientAt(id)
			require.Equal(a, "ResourceNotFoundException", codeOf(err))
		},
	},
	{
		does:  "use the app client of a lease, revoke, and use it again",
		must:  "it gets a token for its scope, and afterwards none",
		needs: []need{needMachine},
		try: func(a *acceptance) {
			a.appClientRole()
			secret := a.read("creds/service")
			client := app{id: secret.Data["app_client_id"].(string), secret: secret.Data["app_client_secret"].(string)}
			a.requireSecret(client, client.secret, true)
			require.Equal(a, "api/read", a.claims(a.pool, a.read("creds/machine").Data["access_token"])["scope"])
			a.revoke(secret.LeaseID)
			a.requireSecret(client, client.secret, false)
		},
	},
	{
		does: "put a person into a group for the time of a lease",
		must: "the person is in it, and afterwards in those of before, with the same password",
		try: func(a *acceptance) {
			username, password := a.addPerson()
			_, err := a.cognito().AdminAddUserToGroup(a.Context(), &cip.AdminAddUserToGroupInput{UserPoolId: &a.pool, Username: &username, GroupName: aws.String("testers")})
			require.NoError(a, err)
			a.write("roles/elevate", map[string]any{
				"credential_type": "group_membership", "user_pool_id": a.pool, "username": username, "groups": "admins", "ttl": "10m",
			})
			require.Equal(a, "ok", a.check("elevate").status, a.read("check/elevate").Data)
			lease := a.read("creds/elevate").LeaseID
			require.ElementsMatch(a, []string{"testers", "admins"}, a.groupsOf(username))
			a.revoke(lease)
			require.Equal(a, []string{"testers"}, a.groupsOf(username))
			a.requireTaken(username, password)
		},
	},
	{
		does:  "write a library set of two users, and check both out",
		must:  "they are two users of the pool, and the pool signed their tokens with the role's groups",
		needs: []need{needDevices},
		try: func(a *acceptance) {
			a.writeSet(2)
			first, second := a.checkOut(a.client, nil), a.checkOut(a.client, nil)
			require.NotEqual(a, nameIn(first), nameIn(second))
			for _, lent := range []*api.Secret{first, second} {
				a.requireTaken(nameIn(lent), passwordIn(lent))
				require.ElementsMatch(a, []string{"testers", "admins"}, a.groupsOf(nameIn(lent)))
				claims := a.claims(a.pool, lent.Data["access_token"])
				require.Equal(a, lent.Data["sub"], claims["sub"])
				require.ElementsMatch(a, []any{"testers", "admins"}, groupsIn(claims))
			}
			require.ElementsMatch(a, []string{nameIn(first), nameIn(second)}, a.usersNamed(a.T, a.mount))
		},
	},
	{
		does:  "check a user of a library set in, and check it out again",
		must:  "the second holder's password is another one, and the first holder's is refused",
		needs: []need{needDevices},
		try: func(a *acceptance) {
			a.writeSet(1)
			first := a.checkOut(a.client, nil)
			a.write(checkInPath, nil)
			second := a.checkOut(a.client, nil)
			require.Equal(a, nameIn(first), nameIn(second))
			a.requireRefused(nameIn(second), passwordIn(first))
			a.requireTaken(nameIn(second), passwordIn(second))
		},
	},
	{
		does:  "check a user of a library set in, and use the refresh token of its holder",
		must:  "it worked before, and is refused",
		needs: []need{needDevices},
		try: func(a *acceptance) {
			a.writeSet(1)
			lent := a.checkOut(a.client, nil)
			require.NoError(a, a.refresh(lent.Data["refresh_token"]))
			a.write(checkInPath, nil)
			require.Equal(a, "NotAuthorizedException", codeOf(a.refresh(lent.Data["refresh_token"])))
		},
	},
	{
		does:  "check a user of a library set out, put it into another group, and revoke the lease",
		must:  "it is in the role's groups only, and free for the next holder",
		needs: []need{needDevices},
		try: func(a *acceptance) {
			a.userRole(map[string]any{"groups": "testers", "username_template": a.mount + "-{{uuid}}"})
			a.write("library/e2e", map[string]any{"role": "ci", "size": 1})
			a.awaitFree(1)
			lent := a.checkOut(a.client, nil)
			_, err := a.cognito().AdminAddUserToGroup(a.Context(), &cip.AdminAddUserToGroupInput{
				UserPoolId: &a.pool, Username: aws.String(nameIn(lent)), GroupName: aws.String("admins"),
			})
			require.NoError(a, err)
			a.revoke(lent.LeaseID)
			a.awaitFree(1)
			require.Equal(a, []string{"testers"}, a.groupsOf(nameIn(lent)))
		},
	},
	{
		does:  "delete a library set of two users",
		must:  "they were in the pool, and none of them is left",
		needs: []need{needDevices},
		try: func(a *acceptance) {
			a.writeSet(2)
			require.Len(a, a.usersNamed(a.T, a.mount), 2)
			a.delete("library/e2e")
			require.Eventually(a, func() bool { return len(a.usersNamed(a.T, a.mount)) == 0 }, propagation, 200*time.Millisecond)
		},
	},
	{
		does: "read metrics after a user was issued and revoked",
		must: "they count the calls that the pool was asked for",
		try: func(a *acceptance) {
			_, lease := a.issue(nil)
			a.revoke(lease)
			text, err := a.vault.CLI(a.Context(), "read", "-format=raw", a.mount+"/metrics", "format=prometheus")
			require.NoError(a, err)
			for _, operation := range []string{"AdminCreateUser", "AdminDeleteUser"} {
				require.Regexp(a, `vault_cognito_aws_calls_total\{code="ok",operation="`+operation+`"\} [1-9]`, text)
			}
		},
	},
	{
		does:  "read check/ of a role for users, where the account's quotas may be read",
		must:  "it shows the quota of UserCreation that AWS names",
		needs: []need{needQuotas},
		try: func(a *acceptance) {
			a.userRole(map[string]any{"app_client_id": a.confidential.id, "app_client_secret": a.confidential.secret})
			out, err := a.cognito().GetProvisionedLimit(a.Context(), &cip.GetProvisionedLimitInput{LimitDefinition: &types.LimitDefinitionType{
				LimitClass: types.LimitClassApiCategory, Attributes: map[string]string{"Category": "UserCreation"},
			}})
			require.NoError(a, err)
			quota := out.Limit.ProvisionedLimitValue
			require.Contains(a, a.finding("quotas"), fmt.Sprintf("UserCreation %g of %d", float64(quota)/2, quota))
		},
	},
	{
		does: "read check/ of a role that is right, and of one with mistakes",
		must: "ok; or a finding for each mistake",
		try: func(a *acceptance) {
			a.userRole(map[string]any{"app_client_id": a.confidential.id, "app_client_secret": a.confidential.secret})
			require.Equal(a, "ok", a.check("ci").status, a.read("check/ci").Data)
			a.userRole(map[string]any{"groups": "testers,nobodies"})
			require.Equal(a, "fail", a.check("ci").findings["groups"])
			a.userRole(map[string]any{"app_client_id": "1example23456789"})
			require.Equal(a, "fail", a.check("ci").findings["app_client"])
			a.userRole(map[string]any{"user_pool_id": a.config.Region + "_Nowhere00"})
			require.Equal(a, "fail", a.check("ci").findings["user_pool"])
		},
	},
}

// appClientRole writes a role for app clients of the scope api/read.
func (a *acceptance) appClientRole() {
	a.Helper()
	a.write("roles/service", map[string]any{
		"credential_type": "app_client", "user_pool_id": a.pool, "cognito_pool_domain": a.domain, "scopes": "api/read", "ttl": "10m", "access_token_ttl": "5m",
	})
}

// appClientAt reads an app client from the provider.
func (a *acceptance) appClientAt(id string) (*types.UserPoolClientType, error) {
	out, err := a.cognito().DescribeUserPoolClient(a.Context(), &cip.DescribeUserPoolClientInput{UserPoolId: &a.pool, ClientId: &id})
	if err != nil {
		return nil, err
	}
	return out.UserPoolClient, nil
}

// writeSet writes the library set e2e, whose users are named after the mount, and waits until they
// are free.
func (a *acceptance) writeSet(size int) {
	a.Helper()
	a.userRole(map[string]any{"username_template": a.mount + "-{{uuid}}"})
	a.write("library/e2e", map[string]any{"role": "ci", "size": size})
	a.awaitFree(size)
}

func (a *acceptance) machineRole(role map[string]any) {
	a.Helper()
	role["credential_type"], role["scopes"], role["cache_tokens"] = "client_credentials_grant", "api/read", false
	a.write("roles/machine", role)
}

func (a *acceptance) appClient(id string) (*types.UserPoolClientType, error) {
	out, err := a.cognito().DescribeUserPoolClient(a.Context(), &cip.DescribeUserPoolClientInput{UserPoolId: &a.pool, ClientId: &id})
	if err != nil {
		return nil, err
	}
	return out.UserPoolClient, nil
}

// requireSecret checks whether an app client secret gets a token, without the server.
func (a *acceptance) requireSecret(client app, secret any, works bool) {
	a.Helper()
	a.machineRole(map[string]any{"cognito_pool_domain": a.domain, "app_client_id": client.id, "app_client_secret": secret})
	require.Eventually(a, func() bool {
		_, err := a.tryRead("creds/machine")
		return works == (err == nil)
	}, propagation, 100*time.Millisecond)
}

// finding returns the detail of a named finding of the role's check.
func (a *acceptance) finding(name string) string {
	a.Helper()
	answer, err := a.client.Logical().ReadWithDataWithContext(a.Context(), a.mount+"/check/ci", url.Values{"details": {"true"}})
	require.NoError(a, err)
	for _, finding := range answer.Data["details"].([]any) {
		if f := finding.(map[string]any); f["name"] == name {
			return fmt.Sprint(f["status"], ": ", f["detail"])
		}
	}
	return ""
}

// inOtherRegion returns a fixture in the account of the role to assume.
func (a *acceptance) inOtherRegion() *acceptance {
	a.Helper()
	return &acceptance{env: a.env, fixture: makeFixture(a.T, a.assumed())}
}

// named returns the role fields that lead to that account.
func (a *acceptance) named() map[string]any {
	return map[string]any{
		"user_pool_id": a.pool, "app_client_id": a.public.id, "aws_assume_role_arn": a.role.arn, "aws_external_id": a.role.externalID,
	}
}
