// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/emulator/control"
)

const (
	iamDoc = "../docs/iam.md"

	// mergedPolicy is the heading of all policies in one, without those under olderUsers.
	mergedPolicy = "Everything"
	olderUsers   = "Users without AdminSetUserPassword"
)

// statement is one statement of a policy in docs/iam.md.
type statement struct {
	Principal        any
	Action, Resource []string
}

var policyBlock = regexp.MustCompile("(?s)\n## ([^\n]+)\n|```json\n(.*?)```")

// documentedPolicies returns the statements in docs/iam.md by their heading, except trust policies.
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

// iamFeature is a feature for which docs/iam.md has a policy.
type iamFeature struct {
	// optional lists actions that the documentation recommends and the feature works without.
	optional []string
	// later lists actions that the engine needs minutes after drive has ended. The tests of package
	// backend cover them with a fake clock.
	later []string
	// with lists the headings of other policies that the feature needs.
	with []string
	// prepare sets up pools and roles with all permissions.
	prepare func(e *iamEnv)
	// drive uses the feature and reports whether all of it worked.
	drive func(e *iamEnv) bool
}

var iamFeatures = map[string]iamFeature{
	"Users": {drive: func(e *iamEnv) bool {
		user, err := e.tryRead("creds/ci")
		if err != nil {
			return false
		}
		e.disable(user.Data["username"].(string))
		_, renewal := e.client.Sys().RenewWithContext(e.Context(), user.LeaseID, 0)
		return renewal != nil && e.revokes(user.LeaseID)
	}},
	"Users without AdminSetUserPassword": {drive: func(e *iamEnv) bool { return e.readsAndRevokes("creds/ci") }},
	"Disabling users": {
		with:    []string{"Users"},
		prepare: func(e *iamEnv) { e.writeRole("kept", map[string]any{"revocation": "disable"}) },
		drive:   func(e *iamEnv) bool { return e.readsAndRevokes("creds/kept") },
	},
	"Authenticators": {
		with: []string{"Users"},
		prepare: func(e *iamEnv) {
			e.writeTOTPRole("optional", types.UserPoolMfaTypeOptional)
			e.writeTOTPRole("required", types.UserPoolMfaTypeOn)
		},
		drive: func(e *iamEnv) bool {
			return e.readsAndRevokes("creds/optional") && e.readsAndRevokes("creds/required")
		},
	},
	"Machine tokens": {
		prepare: func(e *iamEnv) {
			e.writeMachineRole("machine", map[string]any{"user_pool_id": e.Seed.UserPoolID, "app_client_secret": "", "cache_tokens": false})
		},
		drive: func(e *iamEnv) bool {
			_, err := e.tryRead("creds/machine")
			return err == nil
		},
	},
	"App clients": {
		prepare: func(e *iamEnv) { e.writeAppClientRole("service", nil) },
		drive: func(e *iamEnv) bool {
			if !e.readsAndRevokes("creds/service") {
				return false
			}
			client, err := e.tryRead("creds/service")
			if err != nil {
				return false
			}
			id := client.Data["app_client_id"].(string)
			_, err = e.Admin.DeleteUserPoolClient(e.Context(), &cip.DeleteUserPoolClientInput{UserPoolId: &e.Seed.UserPoolID, ClientId: &id})
			require.NoError(e, err)
			return e.revokes(client.LeaseID)
		},
	},
	"Group memberships": {
		prepare: func(e *iamEnv) {
			e.addUser("ann")
			e.writeMembershipRole("elevate", map[string]any{"username": "ann", "sign_out_on_revoke": true})
		},
		drive: func(e *iamEnv) bool { return e.readsAndRevokes("creds/elevate") && len(e.user("ann").Groups) == 0 },
	},
	"Library": {
		with: []string{"Users"},
		prepare: func(e *iamEnv) {
			e.pool = e.makeRichPool()
			client, secret := e.MakeClient(e.pool)
			e.writeRole("shared", map[string]any{
				"user_pool_id": e.pool, "app_client_id": client, "app_client_secret": secret, "groups": "testers",
				"user_attributes": map[string]any{"name": "Robot"},
			})
		},
		drive: func(e *iamEnv) bool {
			if !e.takes("library/e2e", map[string]any{"role": "shared", "size": 1}) || !e.becomesFree() {
				return false
			}
			lent, err := e.client.Logical().WriteWithContext(e.Context(), e.mount+"/library/e2e/check-out", nil)
			if err != nil {
				return false
			}
			e.asOwner(func() { e.spoil(e.pool, lent.Data) })
			return e.revokes(lent.LeaseID)
		},
	},
	"Static roles for passwords": {
		prepare: func(e *iamEnv) { e.addUser("ann") },
		drive: func(e *iamEnv) bool {
			return e.takes("static-roles/ann", map[string]any{
				"credential_type": "user_password", "user_pool_id": e.Seed.UserPoolID, "username": "ann", "rotation_period": "1h",
				"app_client_id": e.Seed.AppClientID, "app_client_secret": e.Seed.AppClientSecret, "sign_out_on_rotation": true,
			}) && e.read("static-roles/ann").Data["last_error"] == ""
		},
	},
	"Static roles for secrets": {
		drive: func(e *iamEnv) bool {
			return e.takes("static-roles/client", map[string]any{
				"credential_type": "app_client_secret", "user_pool_id": e.Seed.UserPoolID, "rotation_period": "1h",
				"app_client_id": e.Seed.M2MClientID, "cognito_pool_domain": e.Seed.Domain,
			}) && e.takes("rotate-role/client", nil)
		},
	},
	"Checking a role": {
		prepare: func(e *iamEnv) { e.writeRolesToCheck() },
		drive: func(e *iamEnv) bool {
			for _, role := range []string{"optional", "mistaken", "named", "clients"} {
				if e.check(role).status == "unknown" {
					return false
				}
			}
			return true
		},
	},
	"Quotas": {drive: func(e *iamEnv) bool {
		secret, err := e.client.Logical().ReadWithDataWithContext(e.Context(), e.mount+"/check/ci", url.Values{"details": {"true"}})
		require.NoError(e, err)
		return strings.Contains(fmt.Sprint(secret.Data["details"]), "UserCreation 25 of 50")
	}},
	"Tidy": {drive: func(e *iamEnv) bool { return e.takes("tidy", map[string]any{"role": "ci"}) }},
	"Assuming a role": {
		with: []string{"Users"},
		prepare: func(e *iamEnv) {
			e.configure(map[string]any{"aws_assume_role_arn": "arn:aws:iam::123456789012:role/vault-cognito"})
		},
		drive: func(e *iamEnv) bool { return e.readsAndRevokes("creds/ci") },
	},
	"Rotating the root key": {
		optional: []string{"iam:GetUser"},
		later:    []string{"iam:DeleteAccessKey"}, // requests in flight use the old key
		prepare:  func(e *iamEnv) { e.plantRootKey(nil) },
		drive: func(e *iamEnv) bool {
			// A key that cannot be proven is deleted at once; the old one is deleted minutes later.
			e.Fault(control.Fault{Operation: "DescribeUserPool", Kind: control.FaultError, Code: "InternalErrorException"})
			undone := !e.takes("config/rotate-root", nil) && len(e.Keys()) == 1
			e.Heal()
			return undone && e.takes("config/rotate-root", nil)
		},
	},
}

// takes reports whether a write succeeds.
func (e *iamEnv) takes(path string, data map[string]any) bool {
	_, err := e.client.Logical().WriteWithContext(e.Context(), e.mount+"/"+path, data)
	return err == nil
}

func TestIAM(t *testing.T) {
	t.Parallel()
	for heading, feature := range iamFeatures {
		t.Run("the policy for "+heading+" is sufficient and minimal", func(t *testing.T) {
			t.Parallel()
			own := actionsUnder(t, heading)
			all := slices.Clone(own)
			for _, other := range feature.with {
				all = append(all, actionsUnder(t, other)...)
			}
			require.True(t, feature.works(t, all), "the documented actions must be enough")
			for _, left := range own {
				if slices.Contains(feature.later, left) {
					continue
				}
				others := slices.DeleteFunc(slices.Clone(all), func(action string) bool { return action == left })
				require.Equal(t, slices.Contains(feature.optional, left), feature.works(t, others), "whether the feature works without %s", left)
			}
		})
	}
}

// works tries the feature on a new mount that is allowed exactly these actions.
func (f iamFeature) works(t *testing.T, actions []string) bool {
	t.Helper()
	e := &iamEnv{env: newEnv(t)}
	if f.prepare != nil {
		f.prepare(e)
	}
	e.allow(actions)
	return f.drive(e)
}

func TestIAMMachineTokensNeedNoRights(t *testing.T) {
	t.Parallel()
	e := &iamEnv{env: newEnv(t)}
	e.allow([]string{})
	require.NotEmpty(t, e.read("creds/machine").Data["access_token"])
}

func TestIAMDocument(t *testing.T) {
	t.Parallel()
	policies := documentedPolicies(t)
	for heading, statements := range policies {
		if heading != mergedPolicy {
			require.Contains(t, iamFeatures, heading, "every policy has to be tried")
		}
		for _, s := range statements {
			require.NotEmpty(t, s.Resource, heading)
			if !slices.ContainsFunc(s.Action, func(action string) bool { return !slices.Contains(actionsWithoutPool, action) }) {
				continue
			}
			for _, text := range append(s.Action, s.Resource...) {
				require.NotContains(t, text, "*", "%s: it is wider than it must be", heading)
			}
		}
	}
}

// actionsWithoutPool are those whose requests name no pool, so that AWS accepts no ARN.
var actionsWithoutPool = []string{"cognito-idp:DescribeUserPoolDomain", "cognito-idp:GetProvisionedLimit"}

// TestIAMEverything compares the merged policy with the others, and tries all features with it.
func TestIAMEverything(t *testing.T) {
	t.Parallel()
	merged, parts := map[string][]string{}, map[string][]string{}
	for heading, statements := range documentedPolicies(t) {
		into := parts
		switch heading {
		case mergedPolicy:
			into = merged
		case olderUsers:
			continue
		}
		for _, s := range statements {
			resources := strings.Join(s.Resource, " ")
			into[resources] = append(into[resources], s.Action...)
		}
	}
	for resources, actions := range parts {
		slices.Sort(actions)
		require.ElementsMatch(t, slices.Compact(actions), merged[resources], resources)
	}
	require.Len(t, merged, len(parts))
	all := actionsUnder(t, mergedPolicy)
	for heading, feature := range iamFeatures {
		if heading != olderUsers {
			t.Run(heading, func(t *testing.T) { require.True(t, feature.works(t, all)) })
		}
	}
}

// iamEnv is an env in which IAM allows some actions only.
type iamEnv struct {
	*env
	allowed []string
	// pool is another user pool than the seeded one.
	pool string
}

// allow makes IAM allow exactly these actions.
func (e *iamEnv) allow(actions []string) {
	e.Helper()
	e.allowed = actions
	require.NoError(e, e.Control.SetIAM(e.Context(), control.IAM{AllowedActions: actions}))
}

// asOwner does something while IAM allows everything.
func (e *iamEnv) asOwner(do func()) {
	e.Helper()
	require.NoError(e, e.Control.SetIAM(e.Context(), control.IAM{}))
	do()
	e.allow(e.allowed)
}

// disable disables a user as the owner of the pool.
func (e *iamEnv) disable(username string) {
	e.Helper()
	e.asOwner(func() {
		_, err := e.Admin.AdminDisableUser(e.Context(), &cip.AdminDisableUserInput{UserPoolId: &e.Seed.UserPoolID, Username: &username})
		require.NoError(e, err)
	})
}

func (e *iamEnv) readsAndRevokes(path string) bool {
	e.Helper()
	secret, err := e.tryRead(path)
	return err == nil && e.revokes(secret.LeaseID)
}

func (e *iamEnv) revokes(leaseID string) bool {
	e.Helper()
	_, err := e.client.Logical().WriteWithContext(e.Context(), "sys/leases/revoke", map[string]any{"lease_id": leaseID, "sync": true})
	return err == nil
}

// becomesFree reports whether the user of the set e2e becomes free. It waits until that or a
// failure.
func (e *iamEnv) becomesFree() bool {
	e.Helper()
	require.Eventually(e, func() bool { return e.countOf("available")+e.countOf("broken") == 1 }, libraryPatience, 10*time.Millisecond)
	return e.countOf("available") == 1
}

// writeTOTPRole creates a pool with this MFA setting and a role for it.
func (e *iamEnv) writeTOTPRole(name string, mfa types.UserPoolMfaType) {
	e.Helper()
	pool := e.MakePool(&cip.CreateUserPoolInput{})
	_, err := e.Admin.SetUserPoolMfaConfig(e.Context(), &cip.SetUserPoolMfaConfigInput{
		UserPoolId: &pool, MfaConfiguration: mfa, SoftwareTokenMfaConfiguration: &types.SoftwareTokenMfaConfigType{Enabled: true},
	})
	require.NoError(e, err)
	client, secret := e.MakeClient(pool)
	e.writeRole(name, map[string]any{
		"user_pool_id": pool, "app_client_id": client, "app_client_secret": secret, "groups": "testers", "mfa": "totp", "ttl": "2h", "max_ttl": "2h",
	})
}

// writeRolesToCheck writes roles whose checks need all permissions: one with an authenticator, one
// whose secret differs from the one that Cognito shows, and one with the name of a domain.
func (e *iamEnv) writeRolesToCheck() {
	e.Helper()
	e.writeTOTPRole("optional", types.UserPoolMfaTypeOptional)
	e.writeRole("mistaken", map[string]any{"app_client_secret": "hush"})
	e.writeAppClientRole("clients", nil)
	pool := e.MakePool(&cip.CreateUserPoolInput{})
	_, err := e.Admin.CreateUserPoolDomain(e.Context(), &cip.CreateUserPoolDomainInput{Domain: aws.String("localhost"), UserPoolId: &pool})
	require.NoError(e, err)
	_, err = e.Admin.CreateResourceServer(e.Context(), &cip.CreateResourceServerInput{
		UserPoolId: &pool, Identifier: aws.String("api"), Name: aws.String("api"),
		Scopes: []types.ResourceServerScopeType{{ScopeName: aws.String("read"), ScopeDescription: aws.String("read")}},
	})
	require.NoError(e, err)
	client, err := e.Admin.CreateUserPoolClient(e.Context(), &cip.CreateUserPoolClientInput{
		UserPoolId: &pool, ClientName: aws.String("machine"), GenerateSecret: true, AllowedOAuthFlowsUserPoolClient: true,
		AllowedOAuthFlows: []types.OAuthFlowType{types.OAuthFlowTypeClientCredentials}, AllowedOAuthScopes: []string{"api/read"},
	})
	require.NoError(e, err)
	e.writeMachineRole("named", map[string]any{
		"user_pool_id": pool, "app_client_id": *client.UserPoolClient.ClientId, "app_client_secret": *client.UserPoolClient.ClientSecret,
		"cognito_pool_domain": strings.Replace(e.Seed.Domain, "127.0.0.1", "localhost", 1),
	})
}
