// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package test

import (
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/pquerna/otp/totp"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/emulator/control"
)

// poolKinds lists kinds of user pools, each with the role fields that its users need.
var poolKinds = map[string]struct {
	pool cip.CreateUserPoolInput
	role map[string]any
	// username is the prefix of the expected username, or "sub".
	username   string
	attributes map[string]string
}{
	"plain": {
		role:     map[string]any{},
		username: "vault-user-",
	},
	"plain, with an e-mail address": {
		role:       map[string]any{"dummy_email_domain": "example.com"},
		username:   "vault-user-",
		attributes: map[string]string{"email_verified": "true"},
	},
	"with aliases": {
		pool: cip.CreateUserPoolInput{AliasAttributes: []types.AliasAttributeType{types.AliasAttributeTypeEmail}},
		role: map[string]any{
			"username_template":  "{{.RoleName}}-{{.DisplayName}}-{{random 20 | lowercase}}",
			"dummy_email_domain": "example.com",
		},
		username:   "user-token-",
		attributes: map[string]string{"email_verified": "true"},
	},
	"of e-mail addresses": {
		pool:     cip.CreateUserPoolInput{UsernameAttributes: []types.UsernameAttributeType{types.UsernameAttributeTypeEmail}},
		role:     map[string]any{"dummy_email_domain": "example.com"},
		username: "sub",
	},
	"of phone numbers": {
		pool: cip.CreateUserPoolInput{UsernameAttributes: []types.UsernameAttributeType{types.UsernameAttributeTypePhoneNumber}},
		role: map[string]any{
			"username_template": "+1555{{random_digits 7}}",
			"user_attributes":   map[string]any{"phone_number": "{{.Username}}", "phone_number_verified": "true"},
		},
		username:   "sub",
		attributes: map[string]string{"phone_number_verified": "true"},
	},
	"without regard to case": {
		pool:     cip.CreateUserPoolInput{UsernameConfiguration: &types.UsernameConfigurationType{CaseSensitive: aws.Bool(false)}},
		role:     map[string]any{"username_template": "VAULT-{{uuid}}"},
		username: "vault-",
	},
	"with attributes of its own": {
		pool: cip.CreateUserPoolInput{Schema: []types.SchemaAttributeType{
			{Name: aws.String("created_by"), AttributeDataType: types.AttributeDataTypeString, Mutable: aws.Bool(true)},
			{Name: aws.String("family_name"), AttributeDataType: types.AttributeDataTypeString, Mutable: aws.Bool(true), Required: aws.Bool(true)},
		}},
		role: map[string]any{"user_attributes": map[string]any{
			"custom:created_by": "{{.DisplayName}} through {{.MountPoint}}{{.RoleName}}", "family_name": "Vault", "email": "x@example.com", "email_verified": "false",
		}},
		username:   "vault-user-",
		attributes: map[string]string{"family_name": "Vault", "email": "x@example.com", "email_verified": "false"},
	},
	"with a strict password policy": {
		pool: cip.CreateUserPoolInput{Policies: &types.UserPoolPolicyType{PasswordPolicy: &types.PasswordPolicyType{
			MinimumLength: aws.Int32(30), RequireUppercase: true, RequireLowercase: true, RequireNumbers: true, RequireSymbols: true,
			PasswordHistorySize: aws.Int32(24),
		}}},
		role:     map[string]any{},
		username: "vault-user-",
	},
}

func TestPoolKinds(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	for name, kind := range poolKinds {
		for _, client := range []string{"confidential", "public"} {
			t.Run("users of a pool "+name+" and a "+client+" client work", func(t *testing.T) {
				pool := e.MakePool(&kind.pool)
				id, secret := e.MakeClient(pool)
				if client == "public" {
					id, secret = e.MakePublicClient(pool), ""
				}
				role := map[string]any{"user_pool_id": pool, "app_client_id": id, "app_client_secret": secret, "groups": "testers"}
				for field, value := range kind.role {
					role[field] = value
				}
				e.delete("roles/user")
				e.writeRole("user", role)
				user := e.read("creds/user")

				if kind.username == "sub" {
					require.Equal(t, user.Data["sub"], user.Data["username"])
				} else {
					require.True(t, strings.HasPrefix(user.Data["username"].(string), kind.username), user.Data["username"])
				}
				require.Equal(t, []any{"testers"}, claimsOf(t, user.Data["access_token"])["cognito:groups"])
				inPool := e.Users()
				require.Len(t, inPool, 1)
				for attribute, value := range kind.attributes {
					require.Equal(t, value, inPool[0].Attributes[attribute], attribute)
				}
				if by := inPool[0].Attributes["custom:created_by"]; by != "" {
					require.Equal(t, "token through "+e.mount+"/user", by)
				}
				_, err := e.client.Sys().RenewWithContext(t.Context(), user.LeaseID, 0)
				require.NoError(t, err)
				e.write("tokens/user", map[string]any{"refresh_token": user.Data["refresh_token"]})
				e.revoke(user.LeaseID)
				require.Empty(t, e.Users())
			})
		}
	}
}

// TestPoolsRefuse shows the error when the pool rejects what the role says.
func TestPoolsRefuse(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		pool cip.CreateUserPoolInput
		role map[string]any
		says string
	}{
		"an unknown attribute": {
			role: map[string]any{"user_attributes": map[string]any{"custom:nothing": "x"}}, says: "custom:nothing",
		},
		"a username that is no e-mail address": {
			pool: cip.CreateUserPoolInput{UsernameAttributes: []types.UsernameAttributeType{types.UsernameAttributeTypeEmail}},
			role: map[string]any{}, says: "should be an email",
		},
		"a short password": {
			pool: cip.CreateUserPoolInput{Policies: &types.UserPoolPolicyType{PasswordPolicy: &types.PasswordPolicyType{MinimumLength: aws.Int32(99)}}},
			role: map[string]any{}, says: "InvalidPasswordException",
		},
		"a missing group": {
			role: map[string]any{"groups": "testers,nobodys"}, says: `to group "nobodys"`,
		},
	} {
		t.Run("a pool rejects "+name+" with a 400", func(t *testing.T) {
			t.Parallel()
			e := newEnv(t)
			pool := e.MakePool(&c.pool)
			role := map[string]any{"user_pool_id": pool, "app_client_id": "", "app_client_secret": "", "issue_tokens": false, "groups": "testers"}
			for field, value := range c.role {
				role[field] = value
			}
			e.writeRole("user", role)
			_, err := e.tryRead("creds/user")
			status, text := e.refusal(err)
			require.Equal(t, 400, status, text)
			require.Contains(t, text, c.says)
			require.Empty(t, e.Users())
		})
	}

	t.Run("a user whose e-mail address is another user's alias is rejected", func(t *testing.T) {
		t.Parallel()
		e := newEnv(t)
		pool := e.MakePool(&cip.CreateUserPoolInput{AliasAttributes: []types.AliasAttributeType{types.AliasAttributeTypeEmail}})
		e.writeRole("user", map[string]any{
			"user_pool_id": pool, "app_client_id": "", "app_client_secret": "", "issue_tokens": false, "groups": "testers",
			"user_attributes": map[string]any{"email": "one@example.com", "email_verified": "true"},
		})
		e.read("creds/user")
		_, err := e.tryRead("creds/user")
		status, text := e.refusal(err)
		require.Equal(t, 400, status, text)
		require.Contains(t, text, "AliasExistsException")
		require.Len(t, e.Users(), 1, "the first user keeps its alias")
	})

	t.Run("the message of a Lambda trigger is part of the error", func(t *testing.T) {
		t.Parallel()
		e := newEnv(t)
		e.Fault(control.Fault{Operation: "AdminCreateUser", Kind: control.FaultError, Code: "UserLambdaValidationException", Message: "PreSignUp failed with error no guests today."})
		_, err := e.tryRead("creds/ci")
		status, text := e.refusal(err)
		require.Equal(t, 400, status)
		require.Contains(t, text, "no guests today")
	})
}

func TestPasswordPolicy(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	policy := `length = 20
rule "charset" { charset = "abcdefghij" min-chars = 1 }
rule "charset" { charset = "ABCDEFGHIJ" min-chars = 1 }
rule "charset" { charset = "0123456789" min-chars = 1 }
rule "charset" { charset = "!" min-chars = 1 }`
	policyName := "policy-of-" + e.mount
	_, err := e.client.Logical().WriteWithContext(t.Context(), "sys/policies/password/"+policyName, map[string]any{"policy": policy})
	require.NoError(t, err)

	t.Run("the password follows the policy of the role", func(t *testing.T) {
		e.writeRole("ci", map[string]any{"password_policy": policyName})
		require.Regexp(t, `^[a-jA-J0-9!]{20}$`, e.read("creds/ci").Data["password"])
	})

	t.Run("the password follows the policy of the mount", func(t *testing.T) {
		e.writeRole("ci", map[string]any{"password_policy": ""})
		e.configure(map[string]any{"password_policy": policyName})
		require.Regexp(t, `^[a-jA-J0-9!]{20}$`, e.read("creds/ci").Data["password"])
	})

	t.Run("a missing policy is rejected when the role or config is written", func(t *testing.T) {
		for _, path := range []string{"roles/ci", "config"} {
			_, err := e.client.Logical().WriteWithContext(t.Context(), e.mount+"/"+path, map[string]any{"password_policy": "nobodys"})
			status, text := e.refusal(err)
			require.Equal(t, 400, status)
			require.Contains(t, text, `password_policy "nobodys"`)
		}
	})
}

func TestUsernameTemplateOfTheMount(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.configure(map[string]any{"username_template": "mount-{{random 20}}"})
	require.Contains(t, e.read("creds/ci").Data["username"], "mount-")
	e.writeRole("ci", map[string]any{"username_template": "role-{{random 20}}"})
	require.Contains(t, e.read("creds/ci").Data["username"], "role-")
	_, err := e.client.Logical().WriteWithContext(t.Context(), e.mount+"/config", map[string]any{"username_template": "always-the-same"})
	status, text := e.refusal(err)
	require.Equal(t, 400, status)
	require.Contains(t, text, "username_template")
}

// TestTOTPEndToEnd signs a user in again with nothing but the answer of the read.
func TestTOTPEndToEnd(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	_, err := e.Admin.SetUserPoolMfaConfig(t.Context(), &cip.SetUserPoolMfaConfigInput{
		UserPoolId: &e.Seed.UserPoolID, MfaConfiguration: types.UserPoolMfaTypeOn,
		SoftwareTokenMfaConfiguration: &types.SoftwareTokenMfaConfigType{Enabled: true},
	})
	require.NoError(t, err)
	_, err = e.tryRead("creds/ci")
	status, text := e.refusal(err)
	require.Equal(t, 400, status)
	require.Contains(t, text, "mfa=totp", "the error names the missing field")

	e.writeRole("ci", map[string]any{"mfa": "totp"})
	user := e.read("creds/ci")
	require.True(t, strings.HasPrefix(user.Data["totp_url"].(string), "otpauth://totp/"))
	signIn := map[string]any{"username": user.Data["username"], "password": user.Data["password"]}
	_, err = e.client.Logical().WriteWithContext(t.Context(), e.mount+"/tokens/ci", signIn)
	_, text = e.refusal(err)
	require.Contains(t, text, "totp_code")

	// The code of the next 30 seconds, because the current one was used for the enrolment.
	code, err := totp.GenerateCode(user.Data["totp_secret"].(string), time.Now().Add(30*time.Second))
	require.NoError(t, err)
	signIn["totp_code"] = code
	require.NotEmpty(t, e.write("tokens/ci", signIn).Data["access_token"])
	e.revoke(user.LeaseID)
	require.Empty(t, e.Users())
}

func TestRevocationByDisabling(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.writeRole("ci", map[string]any{"revocation": "disable"})
	user := e.read("creds/ci")
	e.delete("roles/ci")
	e.revoke(user.LeaseID)
	kept := e.Users()
	require.Len(t, kept, 1)
	require.False(t, kept[0].Enabled)
	require.Len(t, e.Calls().Of("AdminUserGlobalSignOut"), 1)

	t.Run("the revocation of a deleted user succeeds", func(t *testing.T) {
		e.writeRole("ci", map[string]any{"revocation": "disable"})
		user := e.read("creds/ci")
		_, err := e.Admin.AdminDeleteUser(t.Context(), &cip.AdminDeleteUserInput{UserPoolId: &e.Seed.UserPoolID, Username: aws.String(user.Data["username"].(string))})
		require.NoError(t, err)
		e.revoke(user.LeaseID)
	})

	t.Run("a user that was never returned is deleted and not disabled", func(t *testing.T) {
		before := len(e.Users())
		e.Fault(control.Fault{Operation: "AdminInitiateAuth", Kind: control.FaultError, Code: "InternalErrorException"})
		_, err := e.tryRead("creds/ci")
		require.Error(t, err)
		require.Len(t, e.Users(), before)
	})
}
