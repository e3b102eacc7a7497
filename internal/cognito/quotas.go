// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/aws/smithy-go/middleware"

	"vault-plugin-secrets-cognito/internal/cognito/ratelimit"
)

// Quota categories that the engine uses, as AWS names them.
// https://docs.aws.amazon.com/cognito/latest/developerguide/quotas.html
const (
	clientAuthentication = "ClientAuthentication"
	userAccountRecovery  = "UserAccountRecovery"
	userAuthentication   = "UserAuthentication"
	userCreation         = "UserCreation"
	userList             = "UserList"
	userPoolClientRead   = "UserPoolClientRead"
	userPoolClientUpdate = "UserPoolClientUpdate"
	userPoolRead         = "UserPoolRead"
	userPoolResourceRead = "UserPoolResourceRead"
	userRead             = "UserRead"
	userResourceRead     = "UserResourceRead"
	userResourceUpdate   = "UserResourceUpdate"
	userToken            = "UserToken"
	userUpdate           = "UserUpdate"

	// challengeAnswers is no category of AWS: responses to challenges have a
	// counter of their own, which allows challengeFactor times UserAuthentication.
	challengeAnswers = userAuthentication + "/challenges"
	challengeFactor  = 3

	// defaultShare of an account's quota is what the engine uses. The rest is
	// left to the applications that these users belong to.
	defaultShare = 0.5
)

// defaultQuotas are AWS's own, in requests per second for an account and region.
var defaultQuotas = map[string]float64{
	clientAuthentication: 150,
	userAccountRecovery:  30,
	userAuthentication:   120,
	userCreation:         50,
	userList:             30,
	userPoolClientRead:   15,
	userPoolClientUpdate: 15,
	userPoolRead:         15,
	userPoolResourceRead: 20,
	userRead:             120,
	userResourceRead:     50,
	userResourceUpdate:   25,
	userToken:            120,
	userUpdate:           25,
}

// quotaCategories maps operations to categories. AWS's page names none for the
// three operations on client secrets, so they count with those on app clients.
var quotaCategories = map[string]string{
	"GetClientToken": clientAuthentication,

	"AdminSetUserPassword": userAccountRecovery,
	"ChangePassword":       userAccountRecovery,

	"AdminInitiateAuth":           userAuthentication,
	"InitiateAuth":                userAuthentication,
	"GetTokensFromRefreshToken":   userAuthentication,
	"AdminRespondToAuthChallenge": challengeAnswers,
	"RespondToAuthChallenge":      challengeAnswers,

	"AdminCreateUser": userCreation,
	"ListUsers":       userList,
	"AdminGetUser":    userRead,
	"GetUser":         userRead,
	"RevokeToken":     userToken,

	"AdminAddUserToGroup":       userUpdate,
	"AdminRemoveUserFromGroup":  userUpdate,
	"AdminUpdateUserAttributes": userUpdate,
	"AdminDeleteUserAttributes": userUpdate,
	"AdminDeleteUser":           userUpdate,
	"AdminEnableUser":           userUpdate,
	"AdminDisableUser":          userUpdate,
	"AdminUserGlobalSignOut":    userUpdate,
	"GlobalSignOut":             userUpdate,

	"AdminListGroupsForUser":    userResourceRead,
	"AdminListDevices":          userResourceRead,
	"AdminForgetDevice":         userResourceUpdate,
	"AssociateSoftwareToken":    userResourceUpdate,
	"VerifySoftwareToken":       userResourceUpdate,
	"AdminSetUserMFAPreference": userResourceUpdate,

	"DescribeUserPool":       userPoolRead,
	"GetUserPoolMfaConfig":   userPoolRead,
	"GetGroup":               userPoolResourceRead,
	"DescribeUserPoolDomain": userPoolResourceRead,
	"DescribeResourceServer": userPoolResourceRead,

	"DescribeUserPoolClient":     userPoolClientRead,
	"ListUserPoolClients":        userPoolClientRead,
	"ListUserPoolClientSecrets":  userPoolClientRead,
	"CreateUserPoolClient":       userPoolClientUpdate,
	"DeleteUserPoolClient":       userPoolClientUpdate,
	"AddUserPoolClientSecret":    userPoolClientUpdate,
	"DeleteUserPoolClientSecret": userPoolClientUpdate,
}

// RateLimits returns requests per second by quota category: those given, and
// for the rest half of what AWS allows an account by default.
func RateLimits(given map[string]float64) map[string]float64 {
	limits := make(map[string]float64, len(defaultQuotas))
	for category, quota := range defaultQuotas {
		limits[category] = quota * defaultShare
	}
	maps.Copy(limits, given)
	return limits
}

// limiterRates returns the rates of all queues.
func limiterRates(given map[string]float64) map[string]float64 {
	rates := RateLimits(given)
	rates[challengeAnswers] = rates[userAuthentication] * challengeFactor
	return rates
}

// fixedCategories returns the categories of queues whose rate is given, so that
// the account's quota does not matter.
func fixedCategories(given map[string]float64) []string {
	fixed := slices.Collect(maps.Keys(given))
	if slices.Contains(fixed, userAuthentication) {
		fixed = append(fixed, challengeAnswers)
	}
	return fixed
}

// explainLimit says which limit left no slot, and what to do about it.
func explainLimit(e *ratelimit.Error) string {
	category, rate := e.Category, e.Rate
	if category == challengeAnswers {
		category, rate = userAuthentication, rate/challengeFactor
	}
	return fmt.Sprintf("the engine's own limit of %g requests per second for the quota category %s leaves no slot in the time that is left: "+
		"try again in %s, or raise %[2]s in rate_limits of the mount's config", rate, category, DurationText(e.Wait()))
}

// IsOwnLimit reports whether a call failed because of the engine's own limits: it was not sent.
func IsOwnLimit(err error) bool {
	var limit *ratelimit.Error
	return errors.As(err, &limit)
}

// limiterAccount returns the account and region that the requests of a client
// count for. The account of the engine's own credentials is "" until it is
// known, which matters only where roles are assumed besides. What was counted
// until then counts for the account from there on.
func (s *Service) limiterAccount(ctx context.Context, assumeRoleARN, region string) string {
	if assumeRoleARN != "" {
		s.assumesRoles.Store(true)
		return accountOfARN(assumeRoleARN) + "/" + region
	}
	if !s.assumesRoles.Load() {
		return "/" + region
	}
	id := s.KnownAccount(ctx, Target{})
	if _, done := s.merged.Load(region); id != "" && !done {
		s.mergeOwnAccount(id, region)
	}
	return id + "/" + region
}

func (s *Service) mergeOwnAccount(id, region string) {
	s.merging.Lock()
	defer s.merging.Unlock()
	s.limiters.Merge("/"+region, id+"/"+region)
	s.merged.Store(region, id+"/"+region)
}

// limit makes a client wait for a slot before every attempt, repeated ones
// included, and before it is signed, because signatures age.
func (s *Service) limit(key clientKey) func(*middleware.Stack) error {
	mark := middleware.InitializeMiddlewareFunc("MarkPasswordChange", markPasswordChange)
	wait := middleware.FinalizeMiddlewareFunc("RateLimit", func(
		ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler,
	) (middleware.FinalizeOutput, middleware.Metadata, error) {
		categories := categoriesOf(ctx)
		s.startQuotas(ctx, key, categories)
		for _, category := range categories {
			if err := s.waitForSlot(startContext(ctx), s.limiterAccount(ctx, key.assumeRoleARN, key.region), category); err != nil {
				return middleware.FinalizeOutput{}, middleware.Metadata{}, err
			}
		}
		return next.HandleFinalize(ctx, in)
	})
	return func(stack *middleware.Stack) error {
		return errors.Join(stack.Initialize.Add(mark, middleware.After), stack.Finalize.Insert(wait, "Retry", middleware.After))
	}
}

type setsPasswordKey struct{}

// markPasswordChange marks the response to a challenge that sets a password,
// because it counts twice.
func markPasswordChange(
	ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler,
) (middleware.InitializeOutput, middleware.Metadata, error) {
	var challenge types.ChallengeNameType
	switch input := in.Parameters.(type) {
	case *cip.AdminRespondToAuthChallengeInput:
		challenge = input.ChallengeName
	case *cip.RespondToAuthChallengeInput:
		challenge = input.ChallengeName
	}
	if challenge == types.ChallengeNameTypeNewPasswordRequired {
		ctx = middleware.WithStackValue(ctx, setsPasswordKey{}, true)
	}
	return next.HandleInitialize(ctx, in)
}

// categoriesOf returns the categories that the operation of a context counts for.
func categoriesOf(ctx context.Context) []string {
	category, known := quotaCategories[awsmiddleware.GetOperationName(ctx)]
	if !known {
		return nil
	}
	if sets, _ := middleware.GetStackValue(ctx, setsPasswordKey{}).(bool); sets {
		return []string{category, userAccountRecovery}
	}
	return []string{category}
}
