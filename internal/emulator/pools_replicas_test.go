// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/stretchr/testify/require"
)

func TestReplica(t *testing.T) {
	b := newEnv(t)
	b.createConfirmedUser(b.seed.UserPoolID, "ann")
	there := func(o *cip.Options) { o.Region = "us-east-1" }
	describe := func() error {
		_, err := b.cognito.DescribeUserPool(b.ctx, &cip.DescribeUserPoolInput{UserPoolId: &b.seed.UserPoolID}, there)
		return err
	}
	create := func(region string) (*cip.CreateUserPoolReplicaOutput, error) {
		return b.cognito.CreateUserPoolReplica(b.ctx, &cip.CreateUserPoolReplicaInput{UserPoolId: &b.seed.UserPoolID, RegionName: &region})
	}
	requireCode(t, describe(), "ResourceNotFoundException")
	_, err := create("eu-west-1")
	requireCode(t, err, "InvalidParameterException", "eu-west-1")

	out, err := create("us-east-1")
	require.NoError(t, err)
	require.Equal(t, types.ReplicaRoleTypeSecondary, out.UserPoolReplica.Role)
	_, err = create("us-east-2")
	requireCode(t, err, "InvalidParameterException", "us-east-2")

	require.NoError(t, describe(), "it can be read")
	_, err = b.cognito.AdminInitiateAuth(b.ctx, &cip.AdminInitiateAuthInput{
		UserPoolId: &b.seed.UserPoolID, ClientId: &b.seed.PublicClientID, AuthFlow: types.AuthFlowTypeAdminUserPasswordAuth,
		AuthParameters: map[string]string{"USERNAME": "ann", "PASSWORD": goodPassword},
	}, there)
	require.NoError(t, err, "it signs users in")
	_, err = b.cognito.AdminCreateUser(b.ctx, &cip.AdminCreateUserInput{UserPoolId: &b.seed.UserPoolID, Username: aws.String("bob")}, there)
	requireCode(t, err, "OperationNotEnabledException", "us-east-1")
	require.NoError(t, b.tryCreate(b.ctx, "bob"), "the primary region makes users")
}
