// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito

import (
	"cmp"
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/logging"
)

const (
	// assumedRoleExpiryWindow is how long before their end assumed credentials are replaced.
	assumedRoleExpiryWindow = 5 * time.Minute
	// defaultRegion is for STS and IAM where no region is configured; pools name theirs.
	defaultRegion = "us-east-1"
)

// awsConfig reads the SDK's environment and files and does no network I/O: credentials are fetched
// by the first call that needs them.
func (s *Service) awsConfig(ctx context.Context, key clientKey) (aws.Config, error) {
	// Clients outlive the request that asked for them first, so the context of that must not end
	// them.
	cfg, err := awsconfig.LoadDefaultConfig(context.WithoutCancel(ctx), s.loadOptions(key.region)...)
	if err != nil {
		return aws.Config{}, err
	}
	cfg.Region = cmp.Or(cfg.Region, defaultRegion)
	cfg.HTTPClient = awsClient{s.httpClient(cfg.HTTPClient)}
	cfg.APIOptions = append(cfg.APIOptions, trackAttempts, s.settings.Observer.observeAttempts)
	if s.settings.IdentityToken != nil {
		cfg.Credentials = cachedCredentials(webIdentity{s.stsFrom(cfg), s.settings})
	}
	cfg.Credentials = markedCredentials{cfg.Credentials}
	if key.assumeRoleARN != "" && !s.isFederated(key) {
		cfg.Credentials = s.assumedRole(cfg, key)
	}
	return cfg, nil
}

// isFederated reports whether the role of a client is reached by the identity token itself, with no
// other role assumed on top of it.
func (s *Service) isFederated(key clientKey) bool {
	return s.settings.IdentityToken != nil && key.assumeRoleARN == s.settings.AssumeRoleARN
}

func (s *Service) loadOptions(region string) []func(*awsconfig.LoadOptions) error {
	options := []func(*awsconfig.LoadOptions) error{
		awsconfig.WithRegion(region),
		// The SDK would log to standard error. Its errors hold the same information.
		awsconfig.WithLogger(logging.Nop{}),
		awsconfig.WithHTTPClient(sdkTransport().WithTimeout(s.settings.RequestTimeout)),
		awsconfig.WithRetryer(func() aws.Retryer { return newRetryer(s.settings.MaxRetries, transient()) }),
	}
	if key := s.key.Load(); key.id != "" {
		static := credentials.NewStaticCredentialsProvider(key.id, key.secret, key.sessionToken)
		options = append(options, awsconfig.WithCredentialsProvider(static))
	}
	return options
}

func (s *Service) stsFrom(cfg aws.Config) *sts.Client {
	return sts.NewFromConfig(cfg, func(o *sts.Options) { o.BaseEndpoint = endpointOr(o.BaseEndpoint, s.settings.STSEndpoint) })
}

func (s *Service) assumedRole(cfg aws.Config, key clientKey) aws.CredentialsProvider {
	provider := stscreds.NewAssumeRoleProvider(s.stsFrom(cfg), key.assumeRoleARN, func(o *stscreds.AssumeRoleOptions) {
		o.RoleSessionName = s.settings.RoleSessionName
		o.ExternalID = optional(key.externalID)
	})
	return cachedCredentials(provider)
}

func cachedCredentials(provider aws.CredentialsProvider) aws.CredentialsProvider {
	return aws.NewCredentialsCache(provider, func(o *aws.CredentialsCacheOptions) {
		o.ExpiryWindow = assumedRoleExpiryWindow
		o.ExpiryWindowJitterFrac = 0.5
	})
}

// markedCredentials marks errors of the credentials, which are then distinguished from errors of
// the call that needed them.
type markedCredentials struct{ aws.CredentialsProvider }

// Retrieve fetches credentials.
func (c markedCredentials) Retrieve(ctx context.Context) (aws.Credentials, error) {
	found, err := c.CredentialsProvider.Retrieve(ctx)
	if err != nil {
		return aws.Credentials{}, &credentialsError{err}
	}
	return found, nil
}

// credentialsError is a failure to find the engine's own AWS credentials.
type credentialsError struct{ err error }

func (e *credentialsError) Error() string { return e.err.Error() }

func (e *credentialsError) Unwrap() error { return e.err }

// endpointOr returns the configured endpoint, or else what the SDK found in its own environment.
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
