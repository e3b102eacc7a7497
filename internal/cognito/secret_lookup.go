// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"

	"vault-plugin-secrets-cognito/internal/cache"
)

// secretCache holds the secrets of app clients that were looked up, in memory only.
type secretCache = cache.Cache[secretKey, string]

type secretKey struct {
	target   Target
	clientID string
}

func newSecretCache(lifetime context.Context) *secretCache {
	return cache.New[secretKey](cache.Options[string]{Lifetime: lifetime, LoadTimeout: fetchTimeout})
}

// lookUpSecret reads the secret of an app client from its pool, once. It requires
// cognito-idp:DescribeUserPoolClient.
func (s *Service) lookUpSecret(ctx context.Context, target Target, clientID string) (string, error) {
	secret, err := s.secrets.Get(ctx, secretKey{target, clientID}, nil, func(ctx context.Context) (string, error) {
		return s.describeSecret(ctx, target, clientID)
	})
	if err != nil && ctx.Err() != nil {
		return "", fail(lookupStep(target, clientID), ctx.Err())
	}
	return secret, err
}

func lookupStep(target Target, clientID string) string {
	return fmt.Sprintf("looking up the secret of app client %q in user pool %q", clientID, target.UserPoolID)
}

// dropSecret removes the secret of an app client from the cache.
func (s *Service) dropSecret(clientID string) {
	s.secrets.DropFunc(func(key secretKey, _ string) bool { return key.clientID == clientID })
}

// describeSecret reads the secret that Cognito shows, which is the one that the app client was
// created with. If that was deleted, Cognito shows none, although the app client has others.
func (s *Service) describeSecret(ctx context.Context, target Target, clientID string) (string, error) {
	step := lookupStep(target, clientID)
	pool, err := s.Pool(ctx, target)
	if err != nil {
		return "", err
	}
	out, err := pool.api.DescribeUserPoolClient(ctx, &cip.DescribeUserPoolClientInput{UserPoolId: &target.UserPoolID, ClientId: &clientID})
	switch {
	case err != nil:
		return "", fail(step, err)
	case out.UserPoolClient != nil && aws.ToString(out.UserPoolClient.ClientSecret) != "":
		return *out.UserPoolClient.ClientSecret, nil
	}
	return "", explainMissingSecret(ctx, pool, step, clientID)
}

// codeSecretHidden is the Code of an Error about a secret that exists and that Cognito does not
// show.
const codeSecretHidden = "SecretNotShown"

// IsSecretHidden reports whether an app client has secrets and Cognito shows none of them.
func IsSecretHidden(err error) bool { return hasCode(err, codeSecretHidden) }

// explainMissingSecret asks how many secrets the app client has. DescribeUserPoolClient shows only
// the one that the app client was created with, and none after that is deleted.
func explainMissingSecret(ctx context.Context, pool *Pool, step, clientID string) error {
	const remedy = "write the secret to app_client_secret, or name a static role that owns the app client in static_role"
	count, err := pool.SecretCount(ctx, clientID)
	switch {
	case err != nil:
		return fmt.Errorf("%s, because Cognito shows none: %w", step, err)
	case count == 0:
		return &Error{Step: step, Kind: KindInvalid, Detail: "the app client has no secret, so it cannot request tokens"}
	default:
		return &Error{Step: step, Kind: KindInvalid, Code: codeSecretHidden, Detail: fmt.Sprintf(
			"Cognito shows none of the app client's secrets, of which there are %d, because the first one was deleted: %s", count, remedy)}
	}
}
