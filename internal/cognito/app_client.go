// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
)

// NewAppClient describes a confidential app client for the
// client_credentials grant.
type NewAppClient struct {
	// Name need not be unique for Cognito, but has to be to find the app client
	// after a lost response.
	Name string
	// Scopes of resource servers, such as "api/read"; one at least.
	Scopes []string
	// AccessTokenTTL is in whole seconds, from five minutes to a day; 0 means an hour.
	AccessTokenTTL time.Duration
}

// CreateAppClient creates an app client and returns its id and secret. It is
// not repeated after a lost response: the Outcome of the error is unknown then,
// and FindAppClients finds the app client by its name, some seconds later.
func (p *Pool) CreateAppClient(ctx context.Context, c NewAppClient) (AppClient, error) {
	step := fmt.Sprintf("creating app client %q in user pool %q", c.Name, p.target.UserPoolID)
	out, err := p.api.CreateUserPoolClient(ctx, p.newClientInput(c), p.once)
	if err != nil {
		failure := fail(step, err)
		if failure.Code == codeLimitExceeded && failure.Kind == KindInvalid {
			failure.Detail = withHint(failure.Detail, "the user pool has as many app clients as its quota allows: delete some, or raise the quota")
		}
		return AppClient{}, failure
	}
	client := out.UserPoolClient
	if client == nil || aws.ToString(client.ClientId) == "" || aws.ToString(client.ClientSecret) == "" {
		return AppClient{}, &Error{Step: step, Kind: KindUnavailable, Detail: "the response holds no app client with a secret"}
	}
	return AppClient{ID: *client.ClientId, Secret: *client.ClientSecret}, nil
}

func (p *Pool) newClientInput(c NewAppClient) *cip.CreateUserPoolClientInput {
	input := &cip.CreateUserPoolClientInput{
		UserPoolId:                      &p.target.UserPoolID,
		ClientName:                      &c.Name,
		GenerateSecret:                  true,
		AllowedOAuthFlows:               []types.OAuthFlowType{types.OAuthFlowTypeClientCredentials},
		AllowedOAuthFlowsUserPoolClient: true,
		AllowedOAuthScopes:              c.Scopes,
		// Without a flow of its own Cognito would allow sign-ins by SRP.
		ExplicitAuthFlows: []types.ExplicitAuthFlowsType{types.ExplicitAuthFlowsTypeAllowRefreshTokenAuth},
	}
	if c.AccessTokenTTL > 0 {
		input.AccessTokenValidity = aws.Int32(int32(min(c.AccessTokenTTL, 24*time.Hour) / time.Second))
		input.TokenValidityUnits = &types.TokenValidityUnitsType{AccessToken: types.TimeUnitsTypeSeconds}
	}
	return input
}

// DeleteAppClient deletes an app client. One that is gone is no error, but a
// pool that is gone is: see IsPoolGone.
func (p *Pool) DeleteAppClient(ctx context.Context, id string) error {
	_, err := p.deleteAppClient(ctx, id)
	return err
}

// deleteAppClient reports whether Cognito knew the app client.
func (p *Pool) deleteAppClient(ctx context.Context, id string) (existed bool, err error) {
	_, err = p.api.DeleteUserPoolClient(ctx, &cip.DeleteUserPoolClientInput{UserPoolId: &p.target.UserPoolID, ClientId: &id})
	existed = err == nil
	if hasCode(err, codeResourceNotFound) {
		// Cognito has one code for a missing app client and a missing pool.
		_, err = p.api.ListUserPoolClients(ctx, &cip.ListUserPoolClientsInput{UserPoolId: &p.target.UserPoolID, MaxResults: aws.Int32(1)})
	}
	if err != nil {
		return false, fail(p.clientStep("deleting", id), err)
	}
	return existed, nil
}

// DeleteNewAppClient deletes an app client that was just created. It repeats
// the call for a while, because Cognito may not know the app client yet, and
// says then that it is gone.
func (p *Pool) DeleteNewAppClient(ctx context.Context, id string) error {
	for attempt := range lagAttempts {
		existed, err := p.deleteAppClient(ctx, id)
		if err != nil || existed {
			return err
		}
		if !wait(ctx, backoff(attempt, lagDelay)) {
			return fail(p.clientStep("deleting", id), ctx.Err())
		}
	}
	return nil
}

// FindAppClients returns the ids of the app clients that have one of the
// names, by name. It reads the whole list of the pool.
func (p *Pool) FindAppClients(ctx context.Context, names ...string) (map[string][]string, error) {
	pages := cip.NewListUserPoolClientsPaginator(p.api, &cip.ListUserPoolClientsInput{
		UserPoolId: &p.target.UserPoolID, MaxResults: aws.Int32(pageSize),
	})
	found := map[string][]string{}
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fail(fmt.Sprintf("listing the app clients of user pool %q", p.target.UserPoolID), err)
		}
		for _, client := range page.UserPoolClients {
			if name := aws.ToString(client.ClientName); slices.Contains(names, name) {
				found[name] = append(found[name], aws.ToString(client.ClientId))
			}
		}
	}
	return found, nil
}
