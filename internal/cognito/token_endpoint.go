// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// errorCodePattern matches the error codes of RFC 6749. What does not match is not
// repeated in an error.
var errorCodePattern = regexp.MustCompile(`^[a-z_]{1,64}$`)

// fetchFromEndpoint fetches a token from the pool's domain with the
// client_credentials grant. It repeats the request when it is throttled or gets no
// response, because a second token does no harm.
// https://docs.aws.amazon.com/cognito/latest/developerguide/token-endpoint.html
func (s *Service) fetchFromEndpoint(ctx context.Context, r MachineTokenRequest) (fetched, error) {
	config, err := grant(r)
	if err != nil {
		return fetched{}, &Error{Step: r.step(), Kind: KindInvalid, Detail: err.Error()}
	}
	client, err := s.endpointClient(ctx)
	if err != nil {
		return fetched{}, err
	}
	pauses := retry.NewExponentialJitterBackoff(maxBackoff)
	for attempt := 0; ; attempt++ {
		if err := s.waitForEndpoint(ctx, r, hostOf(config.TokenURL)); err != nil {
			return fetched{}, fail(r.step(), err)
		}
		token, failure := s.requestToken(ctx, r.step(), config, client)
		if failure == nil {
			return token, nil
		}
		pause, err := pauses.BackoffDelay(attempt, failure)
		if err != nil || !failure.transient || attempt >= s.settings.MaxRetries || !wait(ctx, pause) {
			return fetched{}, failure
		}
	}
}

// requestToken makes one request to a token endpoint.
func (s *Service) requestToken(ctx context.Context, step string, config *clientcredentials.Config, client *http.Client) (fetched, *Error) {
	began := time.Now()
	token, err := config.Token(context.WithValue(ctx, oauth2.HTTPClient, client))
	if err == nil {
		s.observeEndpoint(began, nil)
		return fetched{token.AccessToken, token.Type(), lifeOf(token)}, nil
	}
	failure := failEndpoint(step, err)
	s.observeEndpoint(began, failure)
	return fetched{}, failure
}

// lifeOf returns the life of a token according to the response, or 0. The library
// has added it to the clock of this machine.
func lifeOf(token *oauth2.Token) time.Duration {
	if token.Expiry.IsZero() {
		return 0
	}
	return time.Until(token.Expiry).Round(time.Second)
}

// endpointClient returns the HTTP client of calls to AWS, so that token endpoints
// are trusted by the same certificates.
func (s *Service) endpointClient(ctx context.Context) (*http.Client, error) {
	cfg, err := s.awsConfig(ctx, clientKey{region: s.settings.Region})
	if err != nil {
		return nil, failSetup("preparing the HTTP client", err)
	}
	return s.httpClient(cfg.HTTPClient), nil
}

// waitForEndpoint waits for a slot of a request to a token endpoint. If the domain
// names a region, that is where the request counts.
func (s *Service) waitForEndpoint(ctx context.Context, r MachineTokenRequest, host string) error {
	key := s.keyOf(r.Target)
	if _, region, found := cutOwnDomain(host); found {
		key.region = region
	}
	return s.waitForSlot(ctx, s.limiterAccount(ctx, key.assumeRoleARN, key.region), clientAuthentication)
}

func hostOf(rawURL string) string {
	parsed, err := url.Parse(rawURL)
	if err != nil {
		return ""
	}
	return parsed.Hostname()
}

func grant(r MachineTokenRequest) (*clientcredentials.Config, error) {
	domain, err := ParseDomain(r.Domain)
	if err != nil {
		return nil, fmt.Errorf("the domain is not usable: %w", err)
	}
	parameters := url.Values{}
	if len(r.ClientMetadata) > 0 {
		metadata, err := json.Marshal(r.ClientMetadata)
		if err != nil {
			return nil, fmt.Errorf("encoding the client metadata: %w", err)
		}
		parameters.Set("aws_client_metadata", string(metadata))
	}
	return &clientcredentials.Config{
		ClientID:       r.AppClient.ID,
		ClientSecret:   r.AppClient.Secret,
		TokenURL:       domain.JoinPath("oauth2", "token").String(),
		Scopes:         r.Scopes,
		EndpointParams: parameters,
		// In the body, where the encoding of a "+" in a secret is not ambiguous as it is
		// in a Basic header.
		AuthStyle: oauth2.AuthStyleInParams,
	}, nil
}

// failEndpoint uses the status of the response and, if it follows RFC 6749, the error
// code. The rest may repeat the request, and so the secret.
func failEndpoint(step string, err error) *Error {
	var answer *oauth2.RetrieveError
	if !errors.As(err, &answer) {
		return failNoAnswer(step, err)
	}
	e := &Error{Step: step, cause: err}
	if errorCodePattern.MatchString(answer.ErrorCode) {
		e.Code = answer.ErrorCode
	}
	switch code := answer.Response.StatusCode; {
	case code == http.StatusTooManyRequests:
		e.Kind, e.transient, e.Detail = KindThrottled, true, "the token endpoint throttles"
	case code >= http.StatusInternalServerError:
		e.Kind, e.transient, e.Detail = KindUnavailable, true, fmt.Sprintf("the token endpoint answered with status %d", code)
	case e.Code != "":
		e.Kind, e.Detail = KindInvalid, adviceOn(e.Code)
	default:
		return notATokenEndpoint(step)
	}
	return e
}

// failNoAnswer distinguishes a network failure from a response that is no token.
func failNoAnswer(step string, err error) *Error {
	var transport *url.Error
	if errors.As(err, &transport) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return &Error{Step: step, Kind: KindUnavailable, transient: true, Detail: explainSilence(err), cause: err}
	}
	return notATokenEndpoint(step)
}

func notATokenEndpoint(step string) *Error {
	return &Error{
		Step: step, Kind: KindUnavailable,
		Detail: "the answer was cut short or is not a token endpoint's; is cognito_pool_domain the domain of the user pool?",
	}
}

// adviceOn explains an error code of the token endpoint.
func adviceOn(code string) string {
	switch code {
	case codeInvalidClient:
		return "Cognito does not know the app client, or not with this secret"
	case "unauthorized_client":
		return "the app client does not allow the client_credentials grant"
	case "invalid_scope":
		return "the app client may not have one of the scopes"
	default:
		return "the token endpoint refused the request"
	}
}
