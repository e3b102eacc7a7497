// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/cognito"
	"vault-plugin-secrets-cognito/internal/emulator/control"
)

// tokenLife is that of the tokens of a mint; three quarters of it are 45 minutes.
const tokenLife = time.Hour

// mint is a token endpoint that numbers its tokens, on a clock that stands
// still unless it is told otherwise.
type mint struct {
	*testing.T
	url      string
	service  *cognito.Service
	requests atomic.Int64
	down     atomic.Bool
	// held, when set, keeps requests waiting until it is closed.
	held atomic.Pointer[chan struct{}]

	mu       sync.Mutex
	time     time.Time
	failures []cognito.RefreshFailure
}

func newMint(t *testing.T) *mint {
	t.Helper()
	m := &mint{T: t, time: time.Now().Truncate(time.Second)}
	server := httptest.NewServer(m)
	t.Cleanup(server.Close)
	m.url = server.URL
	lifetime, end := context.WithCancel(context.Background())
	t.Cleanup(end)
	m.service = cognito.New(lifetime, cognito.Settings{
		RequestTimeout: 10 * time.Second, OnRefreshFailure: m.failed, RateLimits: map[string]float64{"ClientAuthentication": 1e6}, Now: m.now,
	})
	m.service.SetRandom(func() float64 { return 0.5 }) // no jitter
	return m
}

func (m *mint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := m.requests.Add(1)
	if gate := m.held.Load(); gate != nil {
		<-*gate
	}
	if m.down.Load() {
		http.Error(w, "down", http.StatusServiceUnavailable)
		return
	}
	token := unsignedJWT(fmt.Sprintf(`{"jti":"%d","exp":%d,"scope":%q}`, n, m.now().Add(tokenLife).Unix(), r.PostFormValue("scope")))
	raw(200, "application/json", `{"access_token":"`+token+`","token_type":"Bearer","expires_in":3600}`)(w, r)
}

func (m *mint) now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.time
}

func (m *mint) pass(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.time = m.time.Add(d)
}

func (m *mint) failed(f cognito.RefreshFailure) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failures = append(m.failures, f)
}

func (m *mint) failuresSoFar() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.failures)
}

// hold keeps the requests that follow waiting, until the function is called.
func (m *mint) hold() (release func()) {
	gate := make(chan struct{})
	m.held.Store(&gate)
	return sync.OnceFunc(func() {
		m.held.Store(nil)
		close(gate)
	})
}

func (m *mint) request() cognito.MachineTokenRequest {
	r := machineRequest(m.url)
	r.MinTTL = time.Minute
	return r
}

func (m *mint) get(r cognito.MachineTokenRequest) string {
	m.Helper()
	token, err := m.service.MachineToken(m.Context(), r)
	require.NoError(m, err)
	return token.AccessToken
}

func (m *mint) awaitRequests(n int64) {
	m.Helper()
	require.Eventually(m, func() bool { return m.requests.Load() >= n }, 10*time.Second, time.Millisecond)
}

func TestTokenCache(t *testing.T) {
	t.Run("a thousand readers of a cold cache make one request", func(t *testing.T) {
		m := newMint(t)
		release := m.hold()
		defer release()
		tokens := make(chan string, 1000)
		var started, done sync.WaitGroup
		for range cap(tokens) {
			started.Add(1)
			done.Go(func() {
				started.Done()
				token, err := m.service.MachineToken(t.Context(), m.request())
				if err != nil {
					tokens <- err.Error()
					return
				}
				tokens <- token.AccessToken
			})
		}
		started.Wait()
		m.awaitRequests(1)
		release()
		done.Wait()
		close(tokens)
		first := <-tokens
		for token := range tokens {
			require.Equal(t, first, token)
		}
		require.EqualValues(t, 1, m.requests.Load())
	})

	t.Run("a reader who goes away does not fail the others", func(t *testing.T) {
		m := newMint(t)
		release := m.hold()
		defer release()
		ctx, leave := context.WithCancel(t.Context())
		left, stayed := make(chan error, 1), make(chan error, 1)
		go func() {
			_, err := m.service.MachineToken(ctx, m.request())
			left <- err
		}()
		m.awaitRequests(1) // the one who leaves began the fetch
		go func() {
			_, err := m.service.MachineToken(t.Context(), m.request())
			stayed <- err
		}()
		leave()
		require.ErrorContains(t, <-left, "the caller went away")
		release()
		require.NoError(t, <-stayed)
		require.EqualValues(t, 1, m.requests.Load())
	})

	t.Run("a token is shared while it is young", func(t *testing.T) {
		m := newMint(t)
		first := m.get(m.request())
		m.pass(41 * time.Minute)
		require.Equal(t, first, m.get(m.request()))
		require.EqualValues(t, 1, m.requests.Load())
	})

	t.Run("shortly before three quarters of its life a read replaces it in the background", func(t *testing.T) {
		m := newMint(t)
		first := m.get(m.request())
		m.pass(43 * time.Minute)
		release := m.hold()
		defer release()
		for range 10 {
			require.Equal(t, first, m.get(m.request()), "a read must not wait for the next token")
		}
		m.awaitRequests(2)
		release()
		require.Eventually(t, func() bool { return m.get(m.request()) != first }, 10*time.Second, time.Millisecond)
		require.EqualValues(t, 2, m.requests.Load(), "ten readers need one new token")
	})

	t.Run("a client that reads when it was told to receives the next token", func(t *testing.T) {
		m := newMint(t)
		first, err := m.service.MachineToken(t.Context(), m.request())
		require.NoError(t, err)
		m.pass(first.Next.Sub(m.now()))
		next, err := m.service.MachineToken(t.Context(), m.request())
		require.NoError(t, err)
		require.NotEqual(t, first.AccessToken, next.AccessToken)
		require.True(t, next.Next.After(m.now()))
	})

	t.Run("a reader of an overdue token does not wait long for one that does not come", func(t *testing.T) {
		m := newMint(t)
		first := m.get(m.request())
		m.pass(46 * time.Minute)
		release := m.hold()
		defer release()
		require.Equal(t, first, m.get(m.request()), "returned although the request hangs")
		m.awaitRequests(2)
	})

	t.Run("while it cannot be replaced it is served, and that is told once for each pause", func(t *testing.T) {
		m := newMint(t)
		first := m.get(m.request())
		m.pass(46 * time.Minute)
		m.down.Store(true)
		fails := func(n int) func() bool {
			return func() bool {
				require.Equal(t, first, m.get(m.request()))
				return m.failuresSoFar() == n
			}
		}
		require.Eventually(t, fails(1), 10*time.Second, time.Millisecond)
		for range 10 {
			require.Equal(t, first, m.get(m.request()))
		}
		require.EqualValues(t, 2, m.requests.Load(), "no other try before the pause is over")
		require.Equal(t, 1, m.failuresSoFar())
		held, err := m.service.MachineToken(t.Context(), m.request())
		require.NoError(t, err)
		require.Equal(t, m.now().Add(5*time.Second), held.Next, "readers are told when it makes sense to come back")
		m.pass(6 * time.Second)
		require.Eventually(t, fails(2), 10*time.Second, time.Millisecond)

		m.pass(13*time.Minute + 30*time.Second)
		held, err = m.service.MachineToken(t.Context(), m.request())
		require.NoError(t, err)
		require.Equal(t, first, held.AccessToken, "less than MinTTL is left, and that is better than nothing")
		require.True(t, held.BelowMinTTL)

		m.pass(time.Minute)
		_, err = m.service.MachineToken(t.Context(), m.request())
		require.ErrorContains(t, err, "status 503", "the reader learns why there is none")

		m.down.Store(false)
		require.NotEqual(t, first, m.get(m.request()))
	})

	t.Run("a token that ends too soon for the reader is not handed out", func(t *testing.T) {
		m := newMint(t)
		first := m.get(m.request())
		m.pass(30 * time.Minute)
		demanding := m.request()
		demanding.MinTTL = 31 * time.Minute
		require.NotEqual(t, first, m.get(demanding))
		require.EqualValues(t, 2, m.requests.Load())
	})

	t.Run("a demand that no token can meet buys a token per quarter of its life, not per read", func(t *testing.T) {
		m := newMint(t)
		demanding := m.request()
		demanding.MinTTL = 2 * time.Hour
		for range 60 {
			token, err := m.service.MachineToken(t.Context(), demanding)
			require.NoError(t, err)
			require.True(t, token.BelowMinTTL)
			m.pass(time.Minute)
		}
		require.EqualValues(t, 4, m.requests.Load())
	})

	t.Run("a demand that is met is not marked", func(t *testing.T) {
		m := newMint(t)
		token, err := m.service.MachineToken(t.Context(), m.request())
		require.NoError(t, err)
		require.False(t, token.BelowMinTTL)
	})

	t.Run("a fresh token is at most a minute old, and shared by all who ask", func(t *testing.T) {
		m := newMint(t)
		first := m.get(m.request())
		fresh := m.request()
		fresh.Fresh = true
		require.Equal(t, first, m.get(fresh), "just issued")
		m.pass(61 * time.Second)
		second := m.get(fresh)
		require.NotEqual(t, first, second)
		for range 20 {
			require.Equal(t, second, m.get(fresh))
		}
		require.Equal(t, second, m.get(m.request()), "it replaces the old one for all")
		m.pass(61 * time.Second)
		m.down.Store(true)
		_, err := m.service.MachineToken(t.Context(), fresh)
		require.ErrorContains(t, err, "status 503", "an old token is of no use to one whose token was refused")
	})

	t.Run("a token says from when on the next one can be had", func(t *testing.T) {
		m := newMint(t)
		token, err := m.service.MachineToken(t.Context(), m.request())
		require.NoError(t, err)
		require.Equal(t, m.now().Add(45*time.Minute), token.Next)
	})

	t.Run("dropped tokens are bought again", func(t *testing.T) {
		m := newMint(t)
		first := m.get(m.request())
		m.service.DropClient("another")
		require.Equal(t, first, m.get(m.request()))
		m.service.DropClient("client")
		require.NotEqual(t, first, m.get(m.request()))
	})

	t.Run("a token that is dropped while it is fetched is not cached", func(t *testing.T) {
		m := newMint(t)
		release := m.hold()
		defer release()
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = m.service.MachineToken(t.Context(), m.request())
		}()
		m.awaitRequests(1)
		m.service.DropClient("client")
		release()
		<-done
		m.get(m.request())
		require.EqualValues(t, 2, m.requests.Load())
	})

	t.Run("without the cache every read buys a token", func(t *testing.T) {
		m := newMint(t)
		r := m.request()
		r.NoCache = true
		first := m.get(r)
		require.NotEqual(t, first, m.get(r))
	})

	t.Run("a role holds a bounded number of tokens, and evicts none of another role", func(t *testing.T) {
		m := newMint(t)
		other := m.request()
		other.Partition = "other"
		first := m.get(other)
		r := m.request()
		for i := range cognito.CachedTokensMax + 10 {
			r.Scopes = []string{fmt.Sprintf("api/%d", i)}
			m.get(r)
		}
		require.Equal(t, 16, m.service.CachedTokens(""))
		require.Equal(t, first, m.get(other))
	})

	t.Run("readers who ask for ever more sets of scopes buy a bounded number of tokens", func(t *testing.T) {
		m := newMint(t)
		r := m.request()
		throttled := 0
		for i := range 20 * cognito.CachedTokensMax {
			r.Scopes = []string{fmt.Sprintf("api/%d", i%(2*cognito.CachedTokensMax))}
			if _, err := m.service.MachineToken(t.Context(), r); err != nil {
				require.Equal(t, cognito.KindThrottled, cognito.KindOf(err))
				require.ErrorContains(t, err, "16 sets of scopes are cached")
				throttled++
			}
		}
		require.Positive(t, throttled)
		require.LessOrEqual(t, m.requests.Load(), int64(2*cognito.CachedTokensMax))
		m.pass(time.Minute)
		r.Scopes = []string{"api/new"}
		m.get(r)
		other := m.request()
		other.Partition = "other"
		m.get(other)
	})

	t.Run("a dropped partition is empty", func(t *testing.T) {
		m := newMint(t)
		first := m.get(m.request())
		m.service.DropPartition("other")
		require.Equal(t, first, m.get(m.request()))
		m.service.DropPartition("")
		require.NotEqual(t, first, m.get(m.request()))
	})
}

// TestTokenCacheKey changes one thing at a time.
func TestTokenCacheKey(t *testing.T) {
	for name, c := range map[string]struct {
		change func(r *cognito.MachineTokenRequest)
		shares bool
	}{
		"nothing":               {func(*cognito.MachineTokenRequest) {}, true},
		"the order of scopes":   {func(r *cognito.MachineTokenRequest) { r.Scopes = []string{"b/w", "a/r"} }, true},
		"a scope named twice":   {func(r *cognito.MachineTokenRequest) { r.Scopes = []string{"a/r", "b/w", "a/r"} }, true},
		"how long it must live": {func(r *cognito.MachineTokenRequest) { r.MinTTL = 2 * time.Minute }, true},
		"fewer scopes":          {func(r *cognito.MachineTokenRequest) { r.Scopes = []string{"a/r"} }, false},
		"scopes run together":   {func(r *cognito.MachineTokenRequest) { r.Scopes = []string{"a/r b/w"} }, false},
		"no scopes":             {func(r *cognito.MachineTokenRequest) { r.Scopes = nil }, false},
		"the client":            {func(r *cognito.MachineTokenRequest) { r.AppClient.ID = "other" }, false},
		"the secret":            {func(r *cognito.MachineTokenRequest) { r.AppClient.Secret = "other" }, false},
		"the spelling of the domain": {func(r *cognito.MachineTokenRequest) {
			r.Domain = strings.Replace(r.Domain, "127.0.0.1", "localhost", 1)
		}, false},
		"the role":         {func(r *cognito.MachineTokenRequest) { r.Partition = "other" }, false},
		"the metadata":     {func(r *cognito.MachineTokenRequest) { r.ClientMetadata = map[string]string{"k": "v"} }, false},
		"the pool":         {func(r *cognito.MachineTokenRequest) { r.Target.UserPoolID = "other" }, false},
		"the assumed role": {func(r *cognito.MachineTokenRequest) { r.Target.AssumeRoleARN = "other" }, false},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMint(t)
			r := m.request()
			r.Scopes = []string{"a/r", "b/w"}
			first := m.get(r)
			c.change(&r)
			require.Equal(t, c.shares, first == m.get(r))
		})
	}
}

func TestMachineTokenIsTriedAgain(t *testing.T) {
	for name, fault := range map[string]control.Fault{
		"after a throttle":         {Kind: control.FaultRaw, Status: 429},
		"after a failure":          {Kind: control.FaultRaw, Status: 503},
		"after a cut":              {Kind: control.FaultCutBefore},
		"after a lost answer":      {Kind: control.FaultCutAfter},
		"after a silence too long": {Kind: control.FaultHang},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, 2)
			fault.Operation, fault.Times = control.OperationToken, 2
			f.Fault(fault)
			_, err := f.service.MachineToken(t.Context(), f.machineRequest())
			require.NoError(t, err)
			require.Len(t, f.Calls().Of(control.OperationToken), 3)
		})
	}
	t.Run("a refusal is final", func(t *testing.T) {
		f := newFixture(t, 2)
		request := f.machineRequest()
		request.AppClient.Secret = "wrong"
		_, err := f.service.MachineToken(t.Context(), request)
		require.ErrorContains(t, err, "invalid_client")
		require.Len(t, f.Calls().Of(control.OperationToken), 1)
	})
}

func (f *fixture) machineRequest() cognito.MachineTokenRequest {
	return cognito.MachineTokenRequest{
		Domain:    f.Seed.Domain,
		Target:    cognito.Target{UserPoolID: f.Seed.UserPoolID, Region: "eu-west-1"},
		AppClient: cognito.AppClient{ID: f.Seed.M2MClientID, Secret: f.Seed.M2MClientSecret},
	}
}

func TestClientSecretIsLookedUp(t *testing.T) {
	request := func(f *fixture) cognito.MachineTokenRequest {
		r := f.machineRequest()
		r.AppClient.Secret, r.NoCache = "", true
		return r
	}

	t.Run("once", func(t *testing.T) {
		f := newFixture(t, 0)
		for range 3 {
			_, err := f.service.MachineToken(t.Context(), request(f))
			require.NoError(t, err)
		}
		require.Len(t, f.Calls().Of("DescribeUserPoolClient"), 1)
	})

	t.Run("again, once, when it is refused", func(t *testing.T) {
		f := newFixture(t, 0)
		_, err := f.service.MachineToken(t.Context(), request(f))
		require.NoError(t, err)
		f.Fault(control.Fault{Operation: control.OperationToken, Kind: control.FaultError, Code: "invalid_client", Times: 1})
		_, err = f.service.MachineToken(t.Context(), request(f))
		require.NoError(t, err)
		require.Len(t, f.Calls().Of("DescribeUserPoolClient"), 2)

		f.Fault(control.Fault{Operation: control.OperationToken, Kind: control.FaultError, Code: "invalid_client"})
		_, err = f.service.MachineToken(t.Context(), request(f))
		require.ErrorContains(t, err, "invalid_client")
		require.Len(t, f.Calls().Of("DescribeUserPoolClient"), 3)
	})

	t.Run("and missed where the client has none", func(t *testing.T) {
		f := newFixture(t, 0)
		r := request(f)
		r.AppClient.ID = f.Seed.PublicClientID
		_, err := f.service.MachineToken(t.Context(), r)
		require.ErrorContains(t, err, "has no secret")
		require.Equal(t, cognito.KindInvalid, cognito.KindOf(err))
	})

	t.Run("and needs a right that is named", func(t *testing.T) {
		f := newFixture(t, 0)
		f.Deny("cognito-idp:DescribeUserPoolClient")
		_, err := f.service.MachineToken(t.Context(), request(f))
		require.ErrorContains(t, err, "cognito-idp:DescribeUserPoolClient")
	})
}

func TestTokenFromAPI(t *testing.T) {
	f := newFixture(t, 0)
	out, err := f.Admin.CreateUserPoolClient(t.Context(), &cip.CreateUserPoolClientInput{
		UserPoolId: &f.Seed.UserPoolID, ClientName: aws.String("api"), GenerateSecret: true,
		ExplicitAuthFlows:               []types.ExplicitAuthFlowsType{"ALLOW_CLIENT_TOKEN_AUTH"},
		AllowedOAuthFlows:               []types.OAuthFlowType{types.OAuthFlowTypeClientCredentials},
		AllowedOAuthFlowsUserPoolClient: true,
		AllowedOAuthScopes:              f.Seed.Scopes,
	})
	require.NoError(t, err)
	request := f.machineRequest()
	request.Source, request.Domain, request.Scopes = cognito.SourceAPI, "", []string{"api/read"}
	request.AppClient = cognito.AppClient{ID: *out.UserPoolClient.ClientId, Secret: *out.UserPoolClient.ClientSecret}

	t.Run("it needs no domain", func(t *testing.T) {
		token, err := f.service.MachineToken(t.Context(), request)
		require.NoError(t, err)
		require.Equal(t, []string{"api/read"}, token.Scopes)
		require.WithinDuration(t, time.Now().Add(time.Hour), token.Expires, time.Minute)
		require.Len(t, f.Calls().Of("GetClientToken"), 1)
	})

	t.Run("nor AWS credentials", func(t *testing.T) {
		t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
		service := cognito.New(t.Context(), cognito.Settings{CognitoEndpoint: f.Seed.Domain})
		_, err := service.MachineToken(t.Context(), request)
		require.NoError(t, err)
	})

	t.Run("a wrong secret is called what the endpoint calls it", func(t *testing.T) {
		wrong := request
		wrong.AppClient.Secret = "hush_wrong_value_of_a_secret"
		_, err := f.service.MachineToken(t.Context(), wrong)
		require.ErrorContains(t, err, "invalid_client")
		require.NotContains(t, err.Error(), "hush")
	})

	t.Run("a secret that was looked up is read again when it is refused", func(t *testing.T) {
		looked := request
		looked.AppClient.Secret = ""
		f.Fault(control.Fault{Operation: "GetClientToken", Kind: control.FaultError, Code: "NotAuthorizedException", Times: 1})
		_, err := f.service.MachineToken(t.Context(), looked)
		require.NoError(t, err)
		require.Len(t, f.Calls().Of("DescribeUserPoolClient"), 2)
	})
}
