// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito

import (
	"context"
	"fmt"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
)

// clientSecrets are those that were looked up. They are held in memory only.
// The zero value is ready.
type clientSecrets struct {
	mu   sync.Mutex
	held map[secretKey]string
}

type secretKey struct {
	target   Target
	clientID string
}

func (c *clientSecrets) get(key secretKey) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.held[key]
}

func (c *clientSecrets) keep(key secretKey, secret string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held == nil {
		c.held = map[secretKey]string{}
	}
	c.held[key] = secret
}

func (c *clientSecrets) forget(clientID string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key := range c.held {
		if key.clientID == clientID {
			delete(c.held, key)
		}
	}
}

// clientSecret reads the secret of an app client from its pool, once. IAM has
// to allow cognito-idp:DescribeUserPoolClient. A secret that Cognito does not
// show is an error for which IsSecretHidden is true.
func (s *Service) clientSecret(ctx context.Context, target Target, clientID string) (string, error) {
	key := secretKey{target, clientID}
	if secret := s.secrets.get(key); secret != "" {
		return secret, nil
	}
	secret, err := s.describeSecret(ctx, target, clientID)
	if err != nil {
		return "", err
	}
	s.secrets.keep(key, secret)
	return secret, nil
}

func (s *Service) describeSecret(ctx context.Context, target Target, clientID string) (string, error) {
	step := fmt.Sprintf("looking up the secret of app client %q in user pool %q", clientID, target.UserPoolID)
	api, err := s.client(ctx, target)
	if err != nil {
		return "", err
	}
	out, err := api.DescribeUserPoolClient(ctx, &cip.DescribeUserPoolClientInput{UserPoolId: &target.UserPoolID, ClientId: &clientID})
	switch {
	case err != nil:
		return "", fail(step, err)
	case out.UserPoolClient == nil || aws.ToString(out.UserPoolClient.ClientSecret) == "":
		return "", explainMissingSecret(ctx, api, step, target, clientID)
	}
	return *out.UserPoolClient.ClientSecret, nil
}

// codeSecretHidden is the Code of an Error about a secret that exists and that Cognito does not show.
const codeSecretHidden = "SecretNotShown"

// IsSecretHidden reports that an app client has secrets and that Cognito shows none of them.
func IsSecretHidden(err error) bool { return hasCode(err, codeSecretHidden) }

// explainMissingSecret asks how many secrets the app client has. DescribeUserPoolClient
// shows only the one that the app client was created with, and none after that
// is deleted.
func explainMissingSecret(ctx context.Context, api *cip.Client, step string, target Target, clientID string) error {
	const remedy = "write the secret to app_client_secret, or name a static role that owns the app client in static_role"
	listed, err := api.ListUserPoolClientSecrets(ctx, &cip.ListUserPoolClientSecretsInput{UserPoolId: &target.UserPoolID, ClientId: &clientID})
	switch {
	case err != nil:
		return fail(step+", because Cognito shows none: listing its secrets", err)
	case len(listed.ClientSecrets) == 0:
		return &Error{Step: step, Kind: KindInvalid, Detail: "the app client has no secret, so it cannot request tokens"}
	default:
		return &Error{Step: step, Kind: KindInvalid, Code: codeSecretHidden, Detail: fmt.Sprintf(
			"Cognito shows none of the app client's secrets, of which there are %d, because the first one was deleted: %s", len(listed.ClientSecrets), remedy)}
	}
}
