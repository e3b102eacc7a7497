// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
)

// ClientSecretsMax is how many secrets an app client can have at a time.
// https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_AddUserPoolClientSecret.html
const ClientSecretsMax = 2

// ClientSecretIDs returns the ids of the secrets of an app client, sorted. Cognito
// returns no values.
func (p *Pool) ClientSecretIDs(ctx context.Context, clientID string) ([]string, error) {
	out, err := p.api.ListUserPoolClientSecrets(ctx, &cip.ListUserPoolClientSecretsInput{UserPoolId: &p.target.UserPoolID, ClientId: &clientID})
	if err != nil {
		return nil, fail(p.clientStep("listing the secrets of", clientID), err)
	}
	ids := make([]string, 0, len(out.ClientSecrets))
	for _, secret := range out.ClientSecrets {
		ids = append(ids, aws.ToString(secret.ClientSecretId))
	}
	slices.Sort(ids)
	return ids, nil
}

// AddClientSecret adds a secret to an app client and returns its id. The caller
// makes the value, so that a lost response does not lose it.
func (p *Pool) AddClientSecret(ctx context.Context, clientID, value string) (id string, err error) {
	out, err := p.api.AddUserPoolClientSecret(ctx, &cip.AddUserPoolClientSecretInput{
		UserPoolId: &p.target.UserPoolID, ClientId: &clientID, ClientSecret: &value,
	}, p.once)
	if err != nil {
		return "", fail(p.clientStep("adding a secret to", clientID), err, value)
	}
	if out.ClientSecretDescriptor == nil || aws.ToString(out.ClientSecretDescriptor.ClientSecretId) == "" {
		return "", &Error{Step: p.clientStep("adding a secret to", clientID), Kind: KindUnavailable, Detail: "Cognito did not name the secret"}
	}
	return *out.ClientSecretDescriptor.ClientSecretId, nil
}

// DeleteClientSecret deletes a secret. A missing one is no error.
func (p *Pool) DeleteClientSecret(ctx context.Context, clientID, id string) error {
	_, err := p.api.DeleteUserPoolClientSecret(ctx, &cip.DeleteUserPoolClientSecretInput{
		UserPoolId: &p.target.UserPoolID, ClientId: &clientID, ClientSecretId: &id,
	})
	if err != nil && !hasCode(err, codeResourceNotFound) {
		return fail(p.clientStep("deleting a secret of", clientID), err)
	}
	return nil
}

func (p *Pool) clientStep(doing, clientID string) string {
	return fmt.Sprintf("%s app client %q of user pool %q", doing, clientID, p.target.UserPoolID)
}

// IsInvalidClient reports whether the id or secret of an app client was refused.
func IsInvalidClient(err error) bool { return hasCode(err, codeInvalidClient) }
