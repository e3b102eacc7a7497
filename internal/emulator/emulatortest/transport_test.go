// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulatortest_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"vault-plugin-secrets-cognito/internal/emulator"
	"vault-plugin-secrets-cognito/internal/emulator/control"
	"vault-plugin-secrets-cognito/internal/emulator/emulatortest"
)

const password = "Correct-Horse-1"

// inProcess is an emulator without a socket, with a clock that a test moves.
type inProcess struct {
	t      testing.TB
	server *emulator.Server
	seed   emulator.Seed
	http   *http.Client
	admin  *cip.Client

	mu  sync.Mutex
	now time.Time
}

func newInProcess(t testing.TB) *inProcess {
	t.Helper()
	p := &inProcess{t: t, now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	p.server = emulator.New(emulator.Options{Now: p.clock, SigningKey: emulatortest.SigningKey(), CheapTokens: true})
	seed, err := p.server.Seed(emulatortest.Region, emulatortest.Endpoint)
	require.NoError(t, err)
	p.seed = seed
	p.http = &http.Client{Transport: emulatortest.Transport(p.server)}
	p.admin = cip.New(cip.Options{
		Region: emulatortest.Region, BaseEndpoint: aws.String(emulatortest.Endpoint), HTTPClient: p.http, Retryer: aws.NopRetryer{},
		Credentials: credentials.NewStaticCredentialsProvider("AKIAMODEL", "secret", ""),
	})
	return p
}

func (p *inProcess) clock() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now
}

func (p *inProcess) advance(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now = p.now.Add(d)
}

func (p *inProcess) create(ctx context.Context, username string) error {
	_, err := p.admin.AdminCreateUser(ctx, &cip.AdminCreateUserInput{
		UserPoolId: &p.seed.UserPoolID, Username: &username, MessageAction: types.MessageActionTypeSuppress,
	})
	return err
}

func (p *inProcess) createConfirmed(username string) {
	p.t.Helper()
	require.NoError(p.t, p.create(p.t.Context(), username))
	_, err := p.admin.AdminSetUserPassword(p.t.Context(), &cip.AdminSetUserPasswordInput{
		UserPoolId: &p.seed.UserPoolID, Username: &username, Password: aws.String(password), Permanent: true,
	})
	require.NoError(p.t, err)
}

func (p *inProcess) signIn(username, password string) (*types.AuthenticationResultType, error) {
	out, err := p.admin.AdminInitiateAuth(p.t.Context(), &cip.AdminInitiateAuthInput{
		UserPoolId: &p.seed.UserPoolID, ClientId: &p.seed.PublicClientID, AuthFlow: types.AuthFlowTypeAdminUserPasswordAuth,
		AuthParameters: map[string]string{"USERNAME": username, "PASSWORD": password},
	})
	if err != nil {
		return nil, err
	}
	return out.AuthenticationResult, nil
}

func (p *inProcess) refresh(token string) error {
	_, err := p.admin.GetTokensFromRefreshToken(p.t.Context(), &cip.GetTokensFromRefreshTokenInput{
		ClientId: &p.seed.PublicClientID, RefreshToken: &token,
	})
	return err
}

func (p *inProcess) whoAmI(accessToken string) error {
	_, err := p.admin.GetUser(p.t.Context(), &cip.GetUserInput{AccessToken: &accessToken})
	return err
}

func (p *inProcess) exists(username string) bool {
	for _, user := range p.server.Users(p.seed.UserPoolID) {
		if user.Username == username {
			return true
		}
	}
	return false
}

func TestTransportCutsCalls(t *testing.T) {
	for name, test := range map[string]struct {
		kind   string
		effect bool
		want   error
	}{
		"a cut before the effect is EOF":          {kind: control.FaultCutBefore, want: io.EOF},
		"a cut after the effect is EOF":           {kind: control.FaultCutAfter, effect: true, want: io.EOF},
		"a cut body is an unexpected end of file": {kind: control.FaultCutBody, effect: true, want: io.ErrUnexpectedEOF},
	} {
		t.Run(name, func(t *testing.T) {
			p := newInProcess(t)
			require.NoError(t, p.server.AddFault(control.Fault{Operation: "AdminCreateUser", Kind: test.kind, Times: 1}))
			require.ErrorIs(t, p.create(t.Context(), "ann"), test.want)
			require.Equal(t, test.effect, p.exists("ann"))
			require.NoError(t, p.create(t.Context(), "bob"), "the next call is served")
		})
	}
}

func TestTransportHangsUntilTheContextEnds(t *testing.T) {
	for name, test := range map[string]struct {
		kind   string
		effect bool
	}{
		"a hang before the effect": {kind: control.FaultHang},
		"a hang after the effect":  {kind: control.FaultHangAfter, effect: true},
	} {
		t.Run(name, func(t *testing.T) {
			p := newInProcess(t)
			require.NoError(t, p.server.AddFault(control.Fault{Operation: "AdminCreateUser", Kind: test.kind}))
			ctx, cancel := context.WithCancel(t.Context())
			created := make(chan error, 1)
			go func() { created <- p.create(ctx, "ann") }()
			require.Eventually(t, func() bool { return len(p.server.Calls().Calls) == 1 }, 10*time.Second, time.Millisecond)
			cancel()
			require.ErrorIs(t, <-created, context.Canceled)
			require.Equal(t, test.effect, p.exists("ann"))
		})
	}
}

func TestTransportSendsNothingForAnEndedContext(t *testing.T) {
	p := newInProcess(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, p.create(ctx, "ann"), context.Canceled)
	require.Empty(t, p.server.Calls().Calls)
}

func TestTransportServesTheTokenEndpoint(t *testing.T) {
	p := newInProcess(t)
	config := clientcredentials.Config{
		ClientID: p.seed.M2MClientID, ClientSecret: p.seed.M2MClientSecret, TokenURL: p.seed.Domain + "/oauth2/token", Scopes: p.seed.Scopes[:1],
	}
	token, err := config.Token(contextWithClient(t.Context(), p.http))
	require.NoError(t, err)
	require.Len(t, strings.Split(token.AccessToken, "."), 3)

	require.NoError(t, p.server.AddFault(control.Fault{Operation: control.OperationToken, Kind: control.FaultCutAfter}))
	_, err = config.Token(contextWithClient(t.Context(), p.http))
	require.ErrorIs(t, err, io.EOF)
}

func TestTransportServesTheControlAPI(t *testing.T) {
	p := newInProcess(t)
	resp, err := p.http.Get(emulatortest.Endpoint + control.PathPrefix + "users")
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, http.StatusOK, resp.StatusCode)
}

func TestInjectedClockRulesEverything(t *testing.T) {
	t.Run("an access token expires", func(t *testing.T) {
		p := newInProcess(t)
		p.createConfirmed("ann")
		tokens, err := p.signIn("ann", password)
		require.NoError(t, err)
		p.advance(time.Hour - time.Second)
		require.NoError(t, p.whoAmI(*tokens.AccessToken))
		p.advance(time.Second)
		require.ErrorContains(t, p.whoAmI(*tokens.AccessToken), "Access Token has expired")
	})
	t.Run("a refresh token expires", func(t *testing.T) {
		p := newInProcess(t)
		p.createConfirmed("ann")
		tokens, err := p.signIn("ann", password)
		require.NoError(t, err)
		p.advance(30*24*time.Hour - time.Second)
		require.NoError(t, p.refresh(*tokens.RefreshToken))
		require.Equal(t, 1, p.server.Users("")[0].Sessions)
		p.advance(time.Second)
		require.ErrorContains(t, p.refresh(*tokens.RefreshToken), "Refresh Token has expired")
		require.Equal(t, 0, p.server.Users("")[0].Sessions)
	})
	t.Run("a lock-out ends", func(t *testing.T) {
		p := newInProcess(t)
		p.createConfirmed("ann")
		for range 5 {
			_, err := p.signIn("ann", "Wrong-Horse-1")
			require.ErrorContains(t, err, "Incorrect username or password")
		}
		require.Equal(t, p.now.Add(time.Second), p.server.Users("")[0].LockedUntil)
		_, err := p.signIn("ann", password)
		require.ErrorContains(t, err, "Password attempts exceeded")
		p.advance(time.Second)
		_, err = p.signIn("ann", password)
		require.NoError(t, err)
	})
	t.Run("a quota refills", func(t *testing.T) {
		p := newInProcess(t)
		p.server.SetQuotas(control.Quotas{"UserCreation": 1})
		require.NoError(t, p.create(t.Context(), "ann"))
		require.ErrorContains(t, p.create(t.Context(), "bob"), "TooManyRequestsException")
		p.advance(time.Second)
		require.NoError(t, p.create(t.Context(), "bob"))
	})
}

func TestCheapTokensBelongToTheirEmulator(t *testing.T) {
	p := newInProcess(t)
	p.createConfirmed("ann")
	tokens, err := p.signIn("ann", password)
	require.NoError(t, err)
	require.NoError(t, p.whoAmI(*tokens.AccessToken))
	parts := strings.Split(*tokens.AccessToken, ".")
	require.ErrorContains(t, p.whoAmI(parts[0]+"."+parts[1]+".c2lnbmF0dXJl"), "Invalid Access Token")
	require.ErrorContains(t, p.whoAmI("e30."+parts[1]+"."+parts[2]), "Invalid Access Token")
}

func TestStateIsListedInProcess(t *testing.T) {
	p := newInProcess(t)
	p.createConfirmed("ann")
	require.NoError(t, p.create(t.Context(), "bob"))
	_, err := p.admin.AdminAddUserToGroup(t.Context(), &cip.AdminAddUserToGroupInput{
		UserPoolId: &p.seed.UserPoolID, Username: aws.String("ann"), GroupName: &p.seed.Group,
	})
	require.NoError(t, err)
	_, err = p.admin.AdminDisableUser(t.Context(), &cip.AdminDisableUserInput{UserPoolId: &p.seed.UserPoolID, Username: aws.String("bob")})
	require.NoError(t, err)
	for range 2 {
		_, err = p.signIn("ann", "Wrong-Horse-1")
		require.Error(t, err)
		p.advance(time.Minute)
	}
	_, err = p.signIn("ann", password)
	require.NoError(t, err)

	users := p.server.Users(p.seed.UserPoolID)
	require.Len(t, users, 2)
	require.Equal(t, []string{p.seed.Group}, users[0].Groups)
	require.True(t, users[0].Enabled)
	require.False(t, users[1].Enabled)
	require.Equal(t, []time.Time{p.now.Add(-2 * time.Minute), p.now.Add(-time.Minute)}, users[0].WrongSignIns,
		"a sign-in that succeeds does not delete the attempts before it")
	require.Empty(t, users[1].WrongSignIns)
	require.True(t, p.server.HasPassword(p.seed.UserPoolID, "ann", password))
	require.False(t, p.server.HasPassword(p.seed.UserPoolID, "ann", "Wrong-Horse-1"))
	require.Len(t, p.server.Users("")[0].WrongSignIns, 2, "HasPassword is no sign-in")

	secrets := map[string][]control.ClientSecret{}
	for _, client := range p.server.AppClients(p.seed.UserPoolID) {
		secrets[client.ClientID] = client.Secrets
	}
	require.Len(t, secrets, 3)
	require.Empty(t, secrets[p.seed.PublicClientID])
	require.Equal(t, p.seed.M2MClientSecret, secrets[p.seed.M2MClientID][0].Value)
}

// BenchmarkSignIn shows what a call costs that returns two tokens.
func BenchmarkSignIn(b *testing.B) {
	p := newInProcess(b)
	p.createConfirmed("ann")
	for b.Loop() {
		_, err := p.signIn("ann", password)
		require.NoError(b, err)
	}
}

func contextWithClient(ctx context.Context, client *http.Client) context.Context {
	return context.WithValue(ctx, oauth2.HTTPClient, client)
}
