// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/counters"
	"vault-plugin-secrets-cognito/internal/emulator/control"
	"vault-plugin-secrets-cognito/internal/emulator/emulatortest"
)

// acceptanceCase is a line of the acceptance table: something that is done through the plugin on a
// real server, and what must hold afterwards at any Cognito.
type acceptanceCase struct {
	does, must string
	needs      []need
	try        func(a *acceptance)
}

// acceptance is what one case uses: its own mount, and the fixture that all cases share. Its env
// has no emulator.
type acceptance struct {
	*env
	*fixture
}

func TestAcceptance(t *testing.T) {
	t.Parallel()
	accept(t, emulated(t))
}

var lacksOfEmulator = map[need]string{needAccounts: "all is in one"}

// emulated starts an emulator for one test, which allows exactly the actions that
// docs/acceptance.md asks of an account.
func emulated(t *testing.T) *provider {
	t.Helper()
	return providerOf(t, emulatortest.Start(t))
}

// emulatedForProbes starts an emulator that may be sent requests which AWS's model does not allow,
// to see how it refuses them.
func emulatedForProbes(t *testing.T) *provider {
	t.Helper()
	emulator := emulatortest.Start(t)
	emulator.Contract.AllowInvalidRequests()
	return providerOf(t, emulator)
}

func providerOf(t *testing.T, emulator *emulatortest.Cognito) *provider {
	t.Helper()
	p := local("emulator", emulator.Seed.Domain)
	p.lacks = lacksOfEmulator
	p.role.arn, p.role.externalID = "arn:aws:iam::210987654321:role/vault-acceptance", "acceptance"
	require.NoError(t, emulator.Control.SetIAM(t.Context(), control.IAM{
		AllowedActions: acceptanceRights(t), Roles: map[string]control.Role{p.role.arn: {ExternalID: p.role.externalID}},
	}))
	p.rootKey = func(*testing.T, *provider) (string, aws.Credentials) {
		user, key := "vault-"+rand.Text(), aws.Credentials{AccessKeyID: "AKIA" + rand.Text(), SecretAccessKey: secretKey}
		emulator.PlantKey(user, key.AccessKeyID, key.SecretAccessKey)
		return user, key
	}
	return p
}

const acceptanceDoc = "../docs/acceptance.md"

// acceptanceRights returns the actions of the policies on that page.
func acceptanceRights(t *testing.T) []string {
	t.Helper()
	page, err := os.ReadFile(acceptanceDoc)
	require.NoError(t, err)
	var actions []string
	for _, match := range policyBlock.FindAllStringSubmatch(string(page), -1) {
		if match[1] != "" { // a heading
			continue
		}
		var policy struct{ Statement []statement }
		require.NoError(t, json.Unmarshal([]byte(match[2]), &policy))
		for _, s := range policy.Statement {
			actions = append(actions, s.Action...)
		}
	}
	require.NotEmpty(t, actions)
	return actions
}

// accept runs the table on a provider, and checks that no user of the plugin is left there.
func accept(t *testing.T, p *provider) {
	t.Helper()
	count := counters.Open(t, "Second opinion", "acceptance table on "+p.name)
	e := makeFixture(t, p)
	proved := map[string]string{}
	for _, c := range acceptanceCases {
		proved[c.does] = "not run" // -run may leave it out
		passed := t.Run(c.does, func(t *testing.T) {
			proved[c.does] = mark(c, p.lacks)
			for _, need := range c.needs {
				if why := p.lacks[need]; why != "" {
					counters.Skip(t, fmt.Sprintf("%s lacks %s: %s", p.name, need, why))
				}
			}
			count.Tried(1)
			c.try(newAcceptance(t, e))
		})
		if !passed {
			proved[c.does] = "**no**"
		}
	}
	count.Lost(counters.UsersLeft, len(e.usersNamed(t, "vault-")))
	printProved(t, p, proved)
}

// printProved prints what a run on an AWS account proved, as a table for README.md. It is not
// indented, as a log of the test would be.
func printProved(t *testing.T, p *provider, proved map[string]string) {
	t.Helper()
	if os.Getenv(accVariable) != "1" {
		return
	}
	server, err := shared.Client().Sys().HealthWithContext(t.Context())
	require.NoError(t, err)
	at := p.name + " in " + p.config.Region
	if p.endpoint() != "" {
		at = "a stand-in for AWS, as a rehearsal"
	}
	fmt.Fprintf(os.Stdout, "\nOn %s, with server %s, at %s:\n\n| done through Vault | true at Cognito | proved |\n|---|---|---|\n",
		time.Now().UTC().Format(time.DateOnly), server.Version, at)
	for _, c := range acceptanceCases {
		fmt.Fprintf(os.Stdout, "| %s | %s | %s |\n", c.does, c.must, proved[c.does])
	}
	fmt.Fprintln(os.Stdout)
}

func newAcceptance(t *testing.T, e *fixture) *acceptance {
	t.Helper()
	a := &acceptance{fixture: e, env: &env{T: t, vault: shared, client: shared.Client(), mount: "acceptance-" + strings.ToLower(rand.Text()[:8])}}
	require.NoError(t, a.client.Sys().MountWithContext(t.Context(), a.mount, &api.MountInput{Type: pluginName}))
	t.Cleanup(a.revokeAll) // a failed case leaves no user either
	a.reachProvider(nil)
	return a
}

// revokeAll revokes the leases of the mount. It runs after the context of the test has ended.
func (a *acceptance) revokeAll() {
	_, err := a.client.Logical().WriteWithContext(context.Background(), "sys/leases/revoke-prefix/"+a.mount, map[string]any{"sync": true})
	require.NoError(a, err)
}

// reachProvider points the mount at the provider.
func (a *acceptance) reachProvider(more map[string]any) {
	a.Helper()
	keys, err := a.config.Credentials.Retrieve(a.Context())
	require.NoError(a, err)
	config := map[string]any{
		"aws_access_key_id": keys.AccessKeyID, "aws_secret_access_key": keys.SecretAccessKey, "aws_session_token": keys.SessionToken,
		"region": a.config.Region, "cognito_endpoint": a.endpoint(), "sts_endpoint": a.endpoint(), "iam_endpoint": a.endpoint(),
	}
	maps.Copy(config, more)
	a.write("config", config)
}

// userRole writes a role for users of the public app client.
func (a *acceptance) userRole(more map[string]any) {
	a.Helper()
	role := map[string]any{
		"credential_type": "user", "user_pool_id": a.pool, "app_client_id": a.public.id, "app_client_secret": "",
		"groups": "testers,admins", "ttl": "2h", "max_ttl": "4h",
	}
	maps.Copy(role, more)
	a.write("roles/ci", role)
}

// issue writes a role, and returns a user of it and its lease.
func (a *acceptance) issue(more map[string]any) (user map[string]any, leaseID string) {
	a.Helper()
	a.userRole(more)
	secret := a.read("creds/ci")
	return secret.Data, secret.LeaseID
}

// at reads a user from the provider.
func (a *acceptance) at(pool string, username any) (*cip.AdminGetUserOutput, error) {
	return a.cognito().AdminGetUser(a.Context(), &cip.AdminGetUserInput{UserPoolId: &pool, Username: aws.String(username.(string))})
}

func (a *acceptance) groupsOf(username any) []string {
	a.Helper()
	out, err := a.cognito().AdminListGroupsForUser(a.Context(), &cip.AdminListGroupsForUserInput{UserPoolId: &a.pool, Username: aws.String(username.(string))})
	require.NoError(a, err)
	var names []string
	for _, group := range out.Groups {
		names = append(names, *group.GroupName)
	}
	return names
}

func (a *acceptance) requireGone(pool string, username any) {
	a.Helper()
	_, err := a.at(pool, username)
	require.Equal(a, "UserNotFoundException", codeOf(err))
}

// signIn signs a user in, without the server.
func (a *acceptance) signIn(pool string, client app, username, password any) (*cip.AdminInitiateAuthOutput, error) {
	return a.cognito().AdminInitiateAuth(a.Context(), &cip.AdminInitiateAuthInput{
		UserPoolId: &pool, ClientId: &client.id, AuthFlow: types.AuthFlowTypeAdminUserPasswordAuth,
		AuthParameters: map[string]string{"USERNAME": username.(string), "PASSWORD": password.(string)},
	})
}

func (a *acceptance) requireRefused(username, password any) {
	a.Helper()
	_, err := a.signIn(a.pool, a.public, username, password)
	require.Equal(a, "NotAuthorizedException", codeOf(err))
}

func (a *acceptance) requireTaken(username, password any) {
	a.Helper()
	out, err := a.signIn(a.pool, a.public, username, password)
	require.NoError(a, err)
	require.NotNil(a, out.AuthenticationResult)
}

// refresh uses a refresh token, without the server.
func (a *acceptance) refresh(token any) error {
	_, err := a.cognito().InitiateAuth(a.Context(), &cip.InitiateAuthInput{
		ClientId: &a.public.id, AuthFlow: types.AuthFlowTypeRefreshTokenAuth, AuthParameters: map[string]string{"REFRESH_TOKEN": token.(string)},
	})
	return err
}

// claims returns the claims of a token that the pool has signed, like a service that knows the
// issuer only.
func (a *acceptance) claims(pool string, token any) map[string]any {
	a.Helper()
	resp, err := http.Get(a.issuer(pool) + "/.well-known/jwks.json")
	require.NoError(a, err)
	defer resp.Body.Close()
	var keys jose.JSONWebKeySet
	require.NoError(a, json.NewDecoder(resp.Body).Decode(&keys))
	parsed, err := jwt.ParseSigned(token.(string), []jose.SignatureAlgorithm{jose.RS256})
	require.NoError(a, err)
	claims := map[string]any{}
	require.NoError(a, parsed.Claims(keys, &claims), "the token must be signed by the pool")
	return claims
}

// groupsIn returns the groups in a token, if it has any.
func groupsIn(claims map[string]any) []any {
	groups, _ := claims["cognito:groups"].([]any)
	return groups
}

// usersNamed returns the users of the pool with a prefix. ListUsers may return deleted users, so
// each of them is read.
func (e *fixture) usersNamed(t *testing.T, prefix string) []string {
	t.Helper()
	var names []string
	pages := cip.NewListUsersPaginator(e.cognito(), &cip.ListUsersInput{UserPoolId: &e.pool, Filter: aws.String(`username ^= "` + prefix + `"`)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		require.NoError(t, err)
		for _, user := range page.Users {
			if _, err := e.cognito().AdminGetUser(t.Context(), &cip.AdminGetUserInput{UserPoolId: &e.pool, Username: user.Username}); err == nil {
				names = append(names, *user.Username)
			}
		}
	}
	return names
}

const temporaryPassword = "hush-First-1"

// addUser creates a user outside the engine that must change its password.
func (a *acceptance) addUser(username string) {
	a.Helper()
	_, err := a.cognito().AdminCreateUser(a.Context(), &cip.AdminCreateUserInput{
		UserPoolId: &a.pool, Username: &username, MessageAction: types.MessageActionTypeSuppress, TemporaryPassword: aws.String(temporaryPassword),
	})
	require.NoError(a, err)
}

// addPerson creates a user outside the engine.
func (a *acceptance) addPerson() (username, password string) {
	a.Helper()
	username, password = "person-"+strings.ToLower(rand.Text()), temporaryPassword
	a.addUser(username)
	_, err := a.cognito().AdminSetUserPassword(a.Context(), &cip.AdminSetUserPasswordInput{
		UserPoolId: &a.pool, Username: &username, Password: &password, Permanent: true,
	})
	require.NoError(a, err)
	return username, password
}
