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

// ClientSecretIDs names the secrets of an app client, in order. Cognito shows
// no values.
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

// AddClientSecret gives an app client another secret, whose value is made here
// so that a lost answer loses nothing. It gives the secret's id.
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

// DeleteClientSecret ends a secret. One that is gone is no error.
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

// IsInvalidClient reports that an app client's secret was refused.
func IsInvalidClient(err error) bool { return hasCode(err, codeInvalidClient) }
