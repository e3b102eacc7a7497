// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package test

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/emulator/control"
)

const iamDoc = "../docs/iam.md"

// statement is one of a policy in docs/iam.md.
type statement struct {
	Principal        any
	Action, Resource []string
}

var policyBlock = regexp.MustCompile("(?s)\n## ([^\n]+)\n|```json\n(.*?)```")

// documentedPolicies are the statements in docs/iam.md by the headings that
// they stand under, less trust policies.
func documentedPolicies(t *testing.T) map[string][]statement {
	t.Helper()
	page, err := os.ReadFile(iamDoc)
	require.NoError(t, err)
	policies := map[string][]statement{}
	heading := ""
	for _, match := range policyBlock.FindAllStringSubmatch(string(page), -1) {
		if match[1] != "" {
			heading = match[1]
			continue
		}
		var policy struct{ Statement []statement }
		require.NoError(t, json.Unmarshal([]byte(match[2]), &policy), heading)
		policies[heading] = append(policies[heading], slices.DeleteFunc(policy.Statement, func(s statement) bool { return s.Principal != nil })...)
	}
	return policies
}

func actionsUnder(t *testing.T, heading string) []string {
	t.Helper()
	var actions []string
	for _, s := range documentedPolicies(t)[heading] {
		actions = append(actions, s.Action...)
	}
	require.NotEmpty(t, actions, "docs/iam.md has no policy under the heading %q", heading)
	return actions
}

// iamFeature is a feature that docs/iam.md has a policy for.
type iamFeature struct {
	// with are the headings whose policies it needs besides its own.
	with []string
	// prepare sets up pools and roles, with all rights.
	prepare func(w *iamWorld)
	// drive uses the feature and says whether all of it worked.
	drive func(w *iamWorld) bool
}

var iamFeatures = map[string]iamFeature{
	"Users": {drive: func(w *iamWorld) bool {
		user, err := w.tryRead("creds/ci")
		if err != nil {
			return false
		}
		w.disable(user.Data["username"].(string))
		_, renewal := w.client.Sys().RenewWithContext(w.Context(), user.LeaseID, 0)
		return renewal != nil && w.revokes(user.LeaseID)
	}},
	"Users without AdminSetUserPassword": {drive: func(w *iamWorld) bool { return w.readsAndRevokes("creds/ci") }},
	"Disabling users": {
		with:    []string{"Users"},
		prepare: func(w *iamWorld) { w.writeRole("kept", map[string]any{"revocation": "disable"}) },
		drive:   func(w *iamWorld) bool { return w.readsAndRevokes("creds/kept") },
	},
	"Authenticators": {
		with: []string{"Users"},
		prepare: func(w *iamWorld) {
			w.writeTOTPRole("optional", types.UserPoolMfaTypeOptional)
			w.writeTOTPRole("required", types.UserPoolMfaTypeOn)
		},
		drive: func(w *iamWorld) bool {
			return w.readsAndRevokes("creds/optional") && w.readsAndRevokes("creds/required")
		},
	},
	"Machine tokens": {
		prepare: func(w *iamWorld) {
			w.writeMachineRole("machine", map[string]any{"user_pool_id": w.Seed.UserPoolID, "app_client_secret": "", "cache_tokens": false})
		},
		drive: func(w *iamWorld) bool {
			_, err := w.tryRead("creds/machine")
			return err == nil
		},
	},
	"Static roles for passwords": {
		prepare: func(w *iamWorld) { w.addUser("ann") },
		drive: func(w *iamWorld) bool {
			return w.takes("static-roles/ann", map[string]any{
				"credential_type": "user_password", "user_pool_id": w.Seed.UserPoolID, "username": "ann", "rotation_period": "1h",
				"app_client_id": w.Seed.AppClientID, "app_client_secret": w.Seed.AppClientSecret, "sign_out_on_rotation": true,
			})
		},
	},
	"Static roles for secrets": {
		drive: func(w *iamWorld) bool {
			return w.takes("static-roles/client", map[string]any{
				"credential_type": "app_client_secret", "user_pool_id": w.Seed.UserPoolID, "rotation_period": "1h",
				"app_client_id": w.Seed.M2MClientID, "cognito_pool_domain": w.Seed.Domain,
			}) && w.takes("rotate-role/client", nil)
		},
	},
	"Checking a role": {
		prepare: func(w *iamWorld) { w.writeRolesToCheck() },
		drive: func(w *iamWorld) bool {
			for _, role := range []string{"optional", "mistaken", "named"} {
				if w.check(role).status == "unknown" {
					return false
				}
			}
			return true
		},
	},
	"Assuming a role": {
		with: []string{"Users"},
		prepare: func(w *iamWorld) {
			w.configure(map[string]any{"aws_assume_role_arn": "arn:aws:iam::123456789012:role/vault-cognito"})
		},
		drive: func(w *iamWorld) bool { return w.readsAndRevokes("creds/ci") },
	},
	"Rotating the root key": {
		prepare: func(w *iamWorld) { w.plantRootKey(nil) },
		drive: func(w *iamWorld) bool {
			_, err := w.client.Logical().WriteWithContext(w.Context(), w.mount+"/config/rotate-root", nil)
			return err == nil
		},
	},
}

// takes reports whether a write succeeds.
func (w *iamWorld) takes(path string, data map[string]any) bool {
	_, err := w.client.Logical().WriteWithContext(w.Context(), w.mount+"/"+path, data)
	return err == nil
}

func TestIAM(t *testing.T) {
	t.Parallel()
	for heading, feature := range iamFeatures {
		t.Run(heading, func(t *testing.T) {
			t.Parallel()
			own := actionsUnder(t, heading)
			all := slices.Clone(own)
			for _, other := range feature.with {
				all = append(all, actionsUnder(t, other)...)
			}
			require.True(t, feature.works(t, all), "the documented actions must be enough")
			for _, left := range own {
				others := slices.DeleteFunc(slices.Clone(all), func(action string) bool { return action == left })
				require.False(t, feature.works(t, others), "the feature works without %s, so that is not the least", left)
			}
		})
	}
}

// works tries the feature on a mount of its own, with these actions and no other.
func (f iamFeature) works(t *testing.T, actions []string) bool {
	t.Helper()
	w := &iamWorld{world: newWorld(t)}
	if f.prepare != nil {
		f.prepare(w)
	}
	w.allow(actions)
	return f.drive(w)
}

func TestIAMMachineTokensNeedNoRights(t *testing.T) {
	t.Parallel()
	w := &iamWorld{world: newWorld(t)}
	w.allow([]string{})
	require.NotEmpty(t, w.read("creds/machine").Data["access_token"])
}

func TestIAMDocument(t *testing.T) {
	t.Parallel()
	policies := documentedPolicies(t)
	for heading, statements := range policies {
		require.Contains(t, iamFeatures, heading, "every policy has to be tried")
		for _, s := range statements {
			require.NotEmpty(t, s.Resource, heading)
			if slices.Equal(s.Action, []string{"cognito-idp:DescribeUserPoolDomain"}) {
				continue // AWS takes no ARN for it
			}
			for _, text := range append(s.Action, s.Resource...) {
				require.NotContains(t, text, "*", "%s: it is wider than it must be", heading)
			}
		}
	}
}

// iamWorld is a world in which IAM allows some actions only.
type iamWorld struct {
	*world
	allowed []string
}

// allow lets IAM allow exactly these actions.
func (w *iamWorld) allow(actions []string) {
	w.Helper()
	w.allowed = actions
	require.NoError(w, w.Control.SetIAM(w.Context(), control.IAM{AllowedActions: actions}))
}

// disable disables a user as the owner of the pool, who may.
func (w *iamWorld) disable(username string) {
	w.Helper()
	require.NoError(w, w.Control.SetIAM(w.Context(), control.IAM{}))
	_, err := w.Admin.AdminDisableUser(w.Context(), &cip.AdminDisableUserInput{UserPoolId: &w.Seed.UserPoolID, Username: &username})
	require.NoError(w, err)
	w.allow(w.allowed)
}

func (w *iamWorld) readsAndRevokes(path string) bool {
	w.Helper()
	secret, err := w.tryRead(path)
	return err == nil && w.revokes(secret.LeaseID)
}

func (w *iamWorld) revokes(leaseID string) bool {
	w.Helper()
	_, err := w.client.Logical().WriteWithContext(w.Context(), "sys/leases/revoke", map[string]any{"lease_id": leaseID, "sync": true})
	return err == nil
}

// writeTOTPRole makes a pool with this MFA setting, and a role for it.
func (w *iamWorld) writeTOTPRole(name string, mfa types.UserPoolMfaType) {
	w.Helper()
	pool := w.MakePool(&cip.CreateUserPoolInput{})
	_, err := w.Admin.SetUserPoolMfaConfig(w.Context(), &cip.SetUserPoolMfaConfigInput{
		UserPoolId: &pool, MfaConfiguration: mfa, SoftwareTokenMfaConfiguration: &types.SoftwareTokenMfaConfigType{Enabled: true},
	})
	require.NoError(w, err)
	client, secret := w.MakeClient(pool)
	w.writeRole(name, map[string]any{
		"user_pool_id": pool, "app_client_id": client, "app_client_secret": secret, "groups": "testers", "mfa": "totp", "ttl": "2h", "max_ttl": "2h",
	})
}

// writeRolesToCheck makes roles whose checks need every right: one with an
// authenticator, one whose secret is not the one that Cognito shows, and one
// with a domain that is a name.
func (w *iamWorld) writeRolesToCheck() {
	w.Helper()
	w.writeTOTPRole("optional", types.UserPoolMfaTypeOptional)
	w.writeRole("mistaken", map[string]any{"app_client_secret": "hush"})
	pool := w.MakePool(&cip.CreateUserPoolInput{})
	_, err := w.Admin.CreateUserPoolDomain(w.Context(), &cip.CreateUserPoolDomainInput{Domain: aws.String("localhost"), UserPoolId: &pool})
	require.NoError(w, err)
	_, err = w.Admin.CreateResourceServer(w.Context(), &cip.CreateResourceServerInput{
		UserPoolId: &pool, Identifier: aws.String("api"), Name: aws.String("api"),
		Scopes: []types.ResourceServerScopeType{{ScopeName: aws.String("read"), ScopeDescription: aws.String("read")}},
	})
	require.NoError(w, err)
	client, err := w.Admin.CreateUserPoolClient(w.Context(), &cip.CreateUserPoolClientInput{
		UserPoolId: &pool, ClientName: aws.String("machine"), GenerateSecret: true, AllowedOAuthFlowsUserPoolClient: true,
		AllowedOAuthFlows: []types.OAuthFlowType{types.OAuthFlowTypeClientCredentials}, AllowedOAuthScopes: []string{"api/read"},
	})
	require.NoError(w, err)
	w.writeMachineRole("named", map[string]any{
		"user_pool_id": pool, "app_client_id": *client.UserPoolClient.ClientId, "app_client_secret": *client.UserPoolClient.ClientSecret,
		"cognito_pool_domain": strings.Replace(w.Seed.Domain, "127.0.0.1", "localhost", 1),
	})
}
