// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package awsmodel

// The model and Cognito disagree in a few places. What follows is what AWS documents or shows
// elsewhere.

// furtherErrors of operations. AdminCreateUser answers AliasExistsException without
// ForceAliasCreation. The model lists no error of AdminListDevices for an unknown user;
// UserNotFoundException is assumed, as of AdminGetDevice.
// https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_AdminCreateUser.html
var furtherErrors = map[string][]string{
	"AdminCreateUser":  {"AliasExistsException"},
	"AdminListDevices": {"UserNotFoundException"},
}

// furtherValues of enums. The page of GetClientToken names the authentication flow that it needs.
// https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_GetClientToken.html
var furtherValues = map[string][]string{
	"ExplicitAuthFlowsType": {"ALLOW_CLIENT_TOKEN_AUTH"},
}

// lax names shapes whose limits do not hold: the domain of a user pool may also be a custom domain,
// with dots.
// https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_DescribeUserPoolDomain.html
var lax = map[string]bool{
	"DomainType": true,
}

// laxInAnswers names shapes whose limits hold for requests only. The names of attributes are shown
// with their prefix, and "phone_number_verified" is longer than a custom attribute may be.
// https://docs.aws.amazon.com/cognito/latest/developerguide/user-pool-settings-attributes.html
var laxInAnswers = map[string]bool{
	"CustomAttributeNameType": true,
}
