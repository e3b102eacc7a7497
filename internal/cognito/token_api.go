// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito

import (
	"context"
	"errors"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/aws/smithy-go/auth"
)

// fetchFromAPI fetches a token with GetClientToken, which also works if the pool
// has no domain or can be reached through PrivateLink only. The app client must
// allow ALLOW_CLIENT_TOKEN_AUTH. It needs no IAM permission.
func (s *Service) fetchFromAPI(ctx context.Context, r MachineTokenRequest) (fetched, error) {
	api, err := s.client(ctx, r.Target)
	if err != nil {
		return fetched{}, err
	}
	out, err := api.GetClientToken(ctx, &cip.GetClientTokenInput{
		ClientId:       &r.AppClient.ID,
		Secret:         &r.AppClient.Secret,
		Scopes:         r.Scopes,
		ClientMetadata: r.ClientMetadata,
	}, unsigned)
	if err != nil {
		return fetched{}, failAPI(r, err)
	}
	result := out.ClientAuthenticationResult
	if result == nil || aws.ToString(result.AccessToken) == "" {
		return fetched{}, &Error{Step: r.step(), Kind: KindUnavailable, Detail: "Cognito answered without a token"}
	}
	return fetched{
		accessToken: *result.AccessToken,
		tokenType:   aws.ToString(result.TokenType),
		life:        time.Duration(result.ExpiresIn) * time.Second,
	}, nil
}

// unsigned keeps the SDK from using AWS credentials for operations that need none.
// The SDK's model marks only some of them.
func unsigned(o *cip.Options) { o.AuthSchemeResolver = noAuth{} }

type noAuth struct{}

// ResolveAuthSchemes returns the scheme without a signature.
func (noAuth) ResolveAuthSchemes(context.Context, *cip.AuthResolverParameters) ([]*auth.Option, error) {
	return []*auth.Option{{SchemeID: auth.SchemeIDAnonymous}}, nil
}

// failAPI uses the code of the token endpoint for a wrong id or secret.
func failAPI(r MachineTokenRequest, err error) *Error {
	e := fail(r.step(), err, r.AppClient.Secret)
	var refused *types.NotAuthorizedException
	if errors.As(err, &refused) {
		e.Code = codeInvalidClient
	}
	return e
}
