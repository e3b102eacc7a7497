// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"

	"vault-plugin-secrets-cognito/internal/cognito/ratelimit"
)

const (
	// DefaultMaxRetries is how often a call to AWS is repeated when Settings does not say.
	DefaultMaxRetries = 8
	// DefaultRequestTimeout is how long one attempt of a call waits when Settings does not say.
	DefaultRequestTimeout = 10 * time.Second

	// idleConnections is how many connections per host are kept for the next burst of reads.
	idleConnections = 128
)

// Settings say how AWS is reached. Every zero value but that of MaxRetries
// stands for the default of the AWS SDK.
type Settings struct {
	// AccessKeyID, SecretAccessKey and SessionToken are static credentials;
	// without them the SDK's default chain is used.
	AccessKeyID, SecretAccessKey, SessionToken string

	// AssumeRoleARN is assumed with those credentials.
	AssumeRoleARN, ExternalID, RoleSessionName string

	// IdentityToken, when set, returns a JWT of an identity provider, with which
	// AssumeRoleARN is assumed instead of with AWS credentials. It is called
	// each time that the credentials are renewed.
	IdentityToken func(ctx context.Context) (string, error)

	// Region is where STS and IAM are called when no pool is concerned.
	Region string
	// CognitoEndpoint, STSEndpoint and IAMEndpoint replace AWS's own, as full URLs.
	CognitoEndpoint, STSEndpoint, IAMEndpoint string

	// MaxRetries is how often a failed call is repeated; 0 means never.
	MaxRetries int
	// RequestTimeout bounds one attempt of one call.
	RequestTimeout time.Duration

	// RateLimits are requests per second by quota category, for each account and
	// region. A category that is absent has half of the account's quota, where
	// that may be read, or else half of AWS's default.
	RateLimits map[string]float64
	// Limiters, when set, outlive the Service: the one that follows on a change
	// of the settings goes on counting. New sets their rates.
	Limiters *ratelimit.Limiters

	// Observer is called for calls, waits and tokens.
	Observer Observer

	// OnRefreshFailure, when set, is called for a machine token that could not be
	// replaced in the background, once before each pause between two attempts.
	OnRefreshFailure func(RefreshFailure)

	// Transport, when set, replaces the network under every request to AWS and
	// to token endpoints. AWS_CA_BUNDLE and proxies are then up to it.
	Transport http.RoundTripper
	// Now is the clock for the age of tokens and cached values; time.Now by default.
	Now func() time.Time
}

// withDefaults fills in what a Service needs.
func (s Settings) withDefaults() Settings {
	if s.RequestTimeout <= 0 {
		s.RequestTimeout = DefaultRequestTimeout
	}
	if s.OnRefreshFailure == nil {
		s.OnRefreshFailure = func(RefreshFailure) {}
	}
	s.Observer = s.Observer.withDefaults()
	if s.Limiters == nil {
		s.Limiters = &ratelimit.Limiters{}
	}
	if s.Now == nil {
		s.Now = time.Now
	}
	return s
}

// Target is where a user pool is and which role reaches it.
type Target struct {
	UserPoolID string
	Region     string
	// AssumeRoleARN and ExternalID replace those of the Settings when set.
	AssumeRoleARN, ExternalID string
}

// Service is a connection to AWS with one set of Settings. Its AWS clients,
// connections and assumed credentials are made once and shared. It is safe for
// concurrent use.
type Service struct {
	settings Settings
	now      func() time.Time

	httpOnce sync.Once
	http     *http.Client

	// key is replaced by ReplaceAccessKey.
	key     atomic.Pointer[staticKey]
	mu      sync.Mutex
	clients map[clientKey]*cip.Client

	limiters *ratelimit.Limiters
	// assumesRoles is set once a role was assumed: only then may the engine's own
	// account be counted twice.
	assumesRoles atomic.Bool
	// merged holds by region how the limiters call the account of the engine's own credentials,
	// once they know it. It is written under merging.
	merged  sync.Map
	merging sync.Mutex
	quotas  *quotaCache
	denials denials
	// confirmed holds the domains that ConfirmDomain confirmed.
	confirmed sync.Map
	secrets   *secretCache
	tokens    *tokenCache
	caller    *callerCache
}

// clientKey has everything in which the AWS clients of a Service differ.
type clientKey struct {
	region, assumeRoleARN, externalID string
}

// New returns a Service. It does no I/O. Everything that the Service does in
// the background ends with lifetime.
func New(lifetime context.Context, settings Settings) *Service {
	settings = settings.withDefaults()
	s := &Service{
		settings: settings,
		now:      settings.Now,
		clients:  map[clientKey]*cip.Client{},
		limiters: settings.Limiters,
	}
	s.key.Store(&staticKey{settings.AccessKeyID, settings.SecretAccessKey, settings.SessionToken})
	s.limiters.SetRates(limiterRates(settings.RateLimits), fixedCategories(settings.RateLimits)...)
	s.quotas = newQuotaCache(lifetime)
	s.tokens = newTokenCache(lifetime, settings.Now, s.newToken, settings.OnRefreshFailure)
	s.secrets = newSecretCache(lifetime)
	s.caller = newCallerCache(lifetime)
	return s
}

// Pool returns the user pool of a target. It does no network I/O.
func (s *Service) Pool(ctx context.Context, target Target) (*Pool, error) {
	client, err := s.client(ctx, target)
	if err != nil {
		return nil, err
	}
	return &Pool{target: target, api: client, service: s}, nil
}

func (s *Service) client(ctx context.Context, target Target) (*cip.Client, error) {
	return s.clientOf(ctx, s.keyOf(target))
}

func (s *Service) clientOf(ctx context.Context, key clientKey) (*cip.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if client, ok := s.clients[key]; ok {
		return client, nil
	}
	cfg, err := s.awsConfig(ctx, key)
	if err != nil {
		return nil, failSetup("preparing the AWS client", err)
	}
	client := cip.NewFromConfig(cfg, func(o *cip.Options) {
		o.BaseEndpoint = endpointOr(o.BaseEndpoint, s.settings.CognitoEndpoint)
		o.APIOptions = append(o.APIOptions, s.limit(key))
	})
	s.clients[key] = client
	return client, nil
}

// failSetup is for settings that the SDK cannot use. Nothing was sent.
func failSetup(step string, err error) *Error {
	return &Error{Step: step, Kind: KindUnavailable, Detail: err.Error(), Outcome: OutcomeRefused, cause: err}
}

// keyOf lets the role of a target replace that of the Settings. The external
// id of the Settings belongs to their role and is used with no other.
func (s *Service) keyOf(target Target) clientKey {
	key := clientKey{target.Region, target.AssumeRoleARN, target.ExternalID}
	if key.assumeRoleARN != "" {
		return key
	}
	key.assumeRoleARN = s.settings.AssumeRoleARN
	if key.externalID == "" {
		key.externalID = s.settings.ExternalID
	}
	return key
}
