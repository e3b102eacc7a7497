// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

// Package cognito is what the engine does to Amazon Cognito: the life of a
// user, sign-in, machine tokens and the AWS sessions under them. It knows
// nothing of Vault; its errors are *Error, and none holds a secret.
package cognito

import (
	"cmp"
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/logging"
)

const (
	// DefaultMaxRetries is how often a call to AWS is repeated when Settings does not say.
	DefaultMaxRetries = 8
	// DefaultRequestTimeout is how long one attempt of a call waits when Settings does not say.
	DefaultRequestTimeout = 10 * time.Second

	// assumedRoleExpiryWindow is how long before their end assumed credentials are replaced.
	assumedRoleExpiryWindow = 5 * time.Minute
	// defaultRegion is for STS and IAM when nobody names a region; pools name theirs.
	defaultRegion = "us-east-1"
	// idleConnections per host are kept, so that a burst of reads finds them again.
	idleConnections = 128
)

// Settings say how AWS is reached. Every zero value but MaxRetries means the
// AWS SDK's own default.
type Settings struct {
	// AccessKeyID, SecretAccessKey and SessionToken are static credentials;
	// without them the SDK's default chain is asked.
	AccessKeyID, SecretAccessKey, SessionToken string

	// AssumeRoleARN is assumed with those credentials.
	AssumeRoleARN, ExternalID, RoleSessionName string

	// IdentityToken, when set, buys the credentials of AssumeRoleARN in the place of static ones. It is asked for a
	// token of an identity provider, a JWT, each time that they are renewed.
	IdentityToken func(ctx context.Context) (string, error)

	// Region is where STS and IAM are asked when no pool is concerned.
	Region string
	// CognitoEndpoint, STSEndpoint and IAMEndpoint replace AWS's own, as full URLs.
	CognitoEndpoint, STSEndpoint, IAMEndpoint string

	// MaxRetries is how often a failed call is repeated; 0 is never.
	MaxRetries int
	// RequestTimeout bounds one attempt of one call.
	RequestTimeout time.Duration

	// RateLimits are requests a second by quota category, for each account and
	// region. A category that is absent has half of AWS's default.
	RateLimits map[string]float64
	// Turns, when set, are shared with other Services: with the one before this
	// one, above all.
	Turns *Turns

	// OnRefreshFailure, when set, hears of machine tokens that could not be
	// replaced in the background, once for each pause between two tries.
	OnRefreshFailure func(RefreshFailure)
}

// Target is where a user pool is and which role reaches it.
type Target struct {
	UserPoolID string
	Region     string
	// AssumeRoleARN and ExternalID replace those of the Settings when set.
	AssumeRoleARN, ExternalID string
}

// Service reaches Cognito with one set of Settings. Its connections, AWS
// clients and assumed credentials are made once and shared; it is safe for
// concurrent use.
type Service struct {
	settings  Settings
	awsHTTP   aws.HTTPClient
	tokenHTTP *http.Client
	now       func() time.Time

	mu      sync.Mutex
	clients map[clientKey]*cip.Client

	limits  *limits
	denials denials
	secrets clientSecrets
	tokens  *tokenCache
}

// clientKey is all that tells one AWS client of a Service from another.
type clientKey struct {
	region, assumeRoleARN, externalID string
}

// New makes a Service. It does no I/O. With the end of lifetime all that the
// Service does in the background ends too.
func New(lifetime context.Context, settings Settings) *Service {
	if settings.RequestTimeout <= 0 {
		settings.RequestTimeout = DefaultRequestTimeout
	}
	if settings.OnRefreshFailure == nil {
		settings.OnRefreshFailure = func(RefreshFailure) {}
	}
	s := &Service{
		limits:    newLimits(settings.RateLimits, settings.Turns),
		settings:  settings,
		awsHTTP:   newAWSHTTPClient(settings.RequestTimeout),
		tokenHTTP: newTokenHTTPClient(settings.RequestTimeout),
		now:       time.Now,
		clients:   map[clientKey]*cip.Client{},
	}
	s.tokens = newTokenCache(lifetime, s.buyToken, settings.OnRefreshFailure)
	return s
}

// Pool gives the user pool of a target. It does no network I/O.
func (s *Service) Pool(ctx context.Context, target Target) (*Pool, error) {
	client, err := s.client(ctx, target)
	if err != nil {
		return nil, err
	}
	return &Pool{target: target, api: client, settings: s.settings, denials: &s.denials, now: s.now}, nil
}

func (s *Service) client(ctx context.Context, target Target) (*cip.Client, error) {
	key := s.keyOf(target)
	s.mu.Lock()
	defer s.mu.Unlock()
	if client, ok := s.clients[key]; ok {
		return client, nil
	}
	cfg, err := s.awsConfig(ctx, key)
	if err != nil {
		return nil, &Error{Step: "preparing the AWS client", Kind: KindUnavailable, Detail: err.Error(), cause: err}
	}
	client := cip.NewFromConfig(cfg, func(o *cip.Options) {
		o.BaseEndpoint = endpointOr(o.BaseEndpoint, s.settings.CognitoEndpoint)
		o.APIOptions = append(o.APIOptions, s.limits.keepTo(accountOf(key)))
	})
	s.clients[key] = client
	return client, nil
}

// keyOf lets a target's own role replace the mount's. The mount's external id
// belongs to the mount's role and goes with no other.
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

// awsConfig reads the SDK's environment and files but asks the network for
// nothing: credentials are fetched by the first call that needs them.
func (s *Service) awsConfig(ctx context.Context, key clientKey) (aws.Config, error) {
	options := []func(*awsconfig.LoadOptions) error{
		awsconfig.WithRegion(key.region),
		// What the SDK has to say goes to standard error, where nobody expects it. Errors say it again.
		awsconfig.WithLogger(logging.Nop{}),
		awsconfig.WithHTTPClient(s.awsHTTP),
		awsconfig.WithRetryer(func() aws.Retryer { return newRetryer(s.settings.MaxRetries, transient()) }),
	}
	if s.settings.AccessKeyID != "" {
		static := credentials.NewStaticCredentialsProvider(
			s.settings.AccessKeyID, s.settings.SecretAccessKey, s.settings.SessionToken)
		options = append(options, awsconfig.WithCredentialsProvider(static))
	}
	// The client outlives the request that asked for it first, so must not die with its context.
	cfg, err := awsconfig.LoadDefaultConfig(context.WithoutCancel(ctx), options...)
	if err != nil {
		return aws.Config{}, err
	}
	cfg.Region = cmp.Or(cfg.Region, defaultRegion)
	cfg.HTTPClient = guardedClient{cfg.HTTPClient}
	federated := s.settings.IdentityToken != nil
	if federated {
		cfg.Credentials = cached(webIdentity{s.stsFrom(cfg), s.settings})
	}
	cfg.Credentials = namedCredentials{cfg.Credentials}
	// The web identity is that of the mount's role already; only another role is assumed on top of it.
	if key.assumeRoleARN != "" && (!federated || key.assumeRoleARN != s.settings.AssumeRoleARN) {
		cfg.Credentials = s.assumedRole(cfg, key)
	}
	return cfg, nil
}

func (s *Service) stsFrom(cfg aws.Config) *sts.Client {
	return sts.NewFromConfig(cfg, func(o *sts.Options) { o.BaseEndpoint = endpointOr(o.BaseEndpoint, s.settings.STSEndpoint) })
}

func (s *Service) assumedRole(cfg aws.Config, key clientKey) aws.CredentialsProvider {
	provider := stscreds.NewAssumeRoleProvider(s.stsFrom(cfg), key.assumeRoleARN, func(o *stscreds.AssumeRoleOptions) {
		o.RoleSessionName = s.settings.RoleSessionName
		o.ExternalID = optional(key.externalID)
	})
	return cached(provider)
}

func cached(provider aws.CredentialsProvider) aws.CredentialsProvider {
	return aws.NewCredentialsCache(provider, func(o *aws.CredentialsCacheOptions) {
		o.ExpiryWindow = assumedRoleExpiryWindow
		o.ExpiryWindowJitterFrac = 0.5
	})
}

// namedCredentials lets an error tell that it is about finding credentials.
type namedCredentials struct{ aws.CredentialsProvider }

// Retrieve finds credentials.
func (c namedCredentials) Retrieve(ctx context.Context) (aws.Credentials, error) {
	found, err := c.CredentialsProvider.Retrieve(ctx)
	if err != nil {
		return aws.Credentials{}, &credentialsError{err}
	}
	return found, nil
}

// credentialsError is a failure to find credentials of the engine's own.
type credentialsError struct{ err error }

func (e *credentialsError) Error() string { return e.err.Error() }

func (e *credentialsError) Unwrap() error { return e.err }

// endpointOr keeps what the SDK found in its own settings, unless the mount's
// say otherwise.
func endpointOr(found *string, configured string) *string {
	if configured == "" {
		return found
	}
	return &configured
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
