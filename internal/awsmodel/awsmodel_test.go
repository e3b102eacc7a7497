// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package awsmodel_test

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/awsmodel"
)

func texts(violations []awsmodel.Violation) []string {
	found := []string{}
	for _, v := range violations {
		found = append(found, v.String())
	}
	return found
}

func TestModelNamesItsSource(t *testing.T) {
	model := awsmodel.Cognito()
	requirements, err := os.ReadFile("../../scripts/aws-model-requirements.txt")
	require.NoError(t, err)
	_, version, found := strings.Cut(string(requirements), "botocore==")
	require.True(t, found)
	version, _, _ = strings.Cut(version, " ")
	assert.Contains(t, model.Source, "botocore-"+version+" ", "run scripts/aws-model.sh")

	operations, err := os.ReadFile("operations.txt")
	require.NoError(t, err)
	assert.Equal(t, strings.Fields(string(operations)), model.OperationNames(), "sort operations.txt and run scripts/aws-model.sh")
}

func TestRequests(t *testing.T) {
	const pool = `"UserPoolId":"eu-west-1_abc"`
	for name, test := range map[string]struct {
		operation, body string
		want            []string
	}{
		"valid": {"AdminSetUserPassword", `{` + pool + `,"Username":"üser","Password":"secret","Permanent":true}`, nil},
		"a required member is missing": {"AdminGetUser", `{"Username":"u"}`,
			[]string{"AdminGetUser: request.UserPoolId is required"}},
		"a required member is null": {"AdminGetUser", `{` + pool + `,"Username":null}`,
			[]string{"AdminGetUser: request.Username is required"}},
		"an optional member is null": {"AdminCreateUser", `{` + pool + `,"Username":"u","TemporaryPassword":null}`, nil},
		"a member is unknown": {"AdminGetUser", `{` + pool + `,"Username":"u","Name":"u"}`,
			[]string{"AdminGetUser: request.Name is not a member of the model"}},
		"a password with a space": {"AdminSetUserPassword", `{` + pool + `,"Username":"u","Password":"se cret"}`,
			[]string{`AdminSetUserPassword: request.Password must match the pattern [\S]+`}},
		"a part of the value matches the pattern": {"AdminGetUser", `{` + pool + `,"Username":"u v"}`,
			[]string{`AdminGetUser: request.Username must match the pattern [\p{L}\p{M}\p{S}\p{N}\p{P}]+`}},
		"a value is too long": {"AdminGetUser", `{` + pool + `,"Username":"` + strings.Repeat("ü", 129) + `"}`,
			[]string{"AdminGetUser: request.Username must have a length of at most 128, has 129"}},
		"the longest value": {"AdminGetUser", `{` + pool + `,"Username":"` + strings.Repeat("ü", 128) + `"}`, nil},
		"a value is too short": {"AddUserPoolClientSecret", `{` + pool + `,"ClientId":"c","ClientSecret":"short"}`,
			[]string{"AddUserPoolClientSecret: request.ClientSecret must have a length of at least 24, has 5"}},
		"a number is too big": {"ListUsers", `{` + pool + `,"Limit":61}`,
			[]string{"ListUsers: request.Limit must have a value of at most 60, has 61"}},
		"a number is no whole one": {"ListUsers", `{` + pool + `,"Limit":1.5}`,
			[]string{"ListUsers: request.Limit must be a whole number"}},
		"an enum": {"AdminCreateUser", `{` + pool + `,"Username":"u","MessageAction":"NONE"}`,
			[]string{"AdminCreateUser: request.MessageAction must be one of RESEND, SUPPRESS"}},
		"types": {"AdminCreateUser", `{` + pool + `,"Username":1,"ForceAliasCreation":"yes","UserAttributes":{},"ClientMetadata":[]}`, []string{
			"AdminCreateUser: request.ClientMetadata must be an object",
			"AdminCreateUser: request.ForceAliasCreation must be true or false",
			"AdminCreateUser: request.UserAttributes must be a list",
			"AdminCreateUser: request.Username must be a string",
		}},
		"an element of a list": {"AdminCreateUser", `{` + pool + `,"Username":"u","UserAttributes":[{"Name":"a","Value":"b"},{"Value":"c"}]}`,
			[]string{"AdminCreateUser: request.UserAttributes[1].Name is required"}},
		"not JSON":  {"AdminGetUser", `{`, []string{"AdminGetUser: request is not JSON"}},
		"no object": {"AdminGetUser", `[]`, []string{"AdminGetUser: request must be an object"}},
		"an unknown operation": {"AdminMakeTea", `{}`, []string{"AdminMakeTea: request is of an operation that is not in the model: " +
			"add it to internal/awsmodel/operations.txt and run scripts/aws-model.sh"}},
	} {
		t.Run(name, func(t *testing.T) {
			found := awsmodel.Cognito().CheckRequest(test.operation, []byte(test.body))
			assert.Equal(t, append([]string{}, test.want...), texts(found))
		})
	}
}

func TestAnswers(t *testing.T) {
	model := awsmodel.Cognito()
	assert.Empty(t, model.CheckAnswer("AdminGetUser", []byte(`{"Username":"u","UserCreateDate":1.5e9,"Enabled":true}`)))
	assert.Empty(t, model.CheckAnswer("AdminAddUserToGroup", nil), "an answer without a body")
	assert.Equal(t, []string{"AdminAddUserToGroup: answer.Done is not a member of the model"},
		texts(model.CheckAnswer("AdminAddUserToGroup", []byte(`{"Done":true}`))))
	assert.Equal(t, []string{"AdminGetUser: answer.Username is required"}, texts(model.CheckAnswer("AdminGetUser", []byte(`{}`))))
}

func TestErrors(t *testing.T) {
	model := awsmodel.Cognito()
	assert.Empty(t, model.CheckError("AdminGetUser", "UserNotFoundException"))
	assert.Empty(t, model.CheckError("AdminGetUser", "AccessDeniedException"), "an error that every operation has")
	assert.Equal(t, []string{`AdminGetUser: error "UsernameExistsException" is not an error of this operation`},
		texts(model.CheckError("AdminGetUser", "UsernameExistsException")))
}

func TestEveryPatternCompiles(t *testing.T) {
	for name, shape := range awsmodel.Cognito().Shapes {
		require.NotPanics(t, func() { awsmodel.Matches(shape, "") }, "shape %s: %s", name, shape.Pattern)
	}
}
