// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/aws/smithy-go/middleware"
)

// Quota categories that the engine draws on, as AWS names them.
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

	// challengeAnswers is no category of its own: answers to challenges have a
	// counter that allows challengeFactor as many as UserAuthentication.
	challengeAnswers = userAuthentication + "/challenges"
	challengeFactor  = 3

	// defaultShare of an account's quota is what the engine takes: the rest is
	// for the applications whose users these are.
	defaultShare = 0.5
	// burstShare of a second's worth may go at once. It leaves room in AWS's
	// own count for requests that are late and arrive together.
	burstShare = 0.5

	// timeToAct is what a caller must have left when its turn comes. A turn
	// that comes at the last moment is lost for everybody: AWS counts the
	// request and nobody hears the answer.
	timeToAct = 5 * time.Second
)

// defaultQuotas are AWS's own, in requests a second for an account and region.
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

// quotaCategories sorts the operations. The three on client secrets are on no
// page of AWS's about quotas and counted with their like.
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
	"AdminDeleteUser":           userUpdate,
	"AdminEnableUser":           userUpdate,
	"AdminDisableUser":          userUpdate,
	"AdminUserGlobalSignOut":    userUpdate,
	"GlobalSignOut":             userUpdate,

	"AdminListGroupsForUser":    userResourceRead,
	"AssociateSoftwareToken":    userResourceUpdate,
	"VerifySoftwareToken":       userResourceUpdate,
	"AdminSetUserMFAPreference": userResourceUpdate,

	"DescribeUserPool":       userPoolRead,
	"GetUserPoolMfaConfig":   userPoolRead,
	"GetGroup":               userPoolResourceRead,
	"DescribeUserPoolDomain": userPoolResourceRead,

	"DescribeUserPoolClient":     userPoolClientRead,
	"ListUserPoolClientSecrets":  userPoolClientRead,
	"AddUserPoolClientSecret":    userPoolClientUpdate,
	"DeleteUserPoolClientSecret": userPoolClientUpdate,
}

// RateLimits are requests a second by quota category: those given, and for the
// rest half of what AWS allows an account by default.
func RateLimits(given map[string]float64) map[string]float64 {
	limits := make(map[string]float64, len(defaultQuotas))
	for category, quota := range defaultQuotas {
		limits[category] = quota * defaultShare
	}
	maps.Copy(limits, given)
	return limits
}

// limitError is the engine's own limit, reached for longer than the caller can
// wait.
type limitError struct {
	category string
	limit    float64
}

func (e *limitError) Error() string {
	return fmt.Sprintf("the engine's own limit of %g requests a second for the quota category %s was reached, and there was no time left to wait: "+
		"ask less often, or raise %[2]s in rate_limits of the mount's config", e.limit, e.category)
}

// IsOwnLimit reports whether a call failed because of the engine's own limits: it was not sent.
func IsOwnLimit(err error) bool {
	var limit *limitError
	return errors.As(err, &limit)
}

// account is what AWS counts a quota for, as far as the engine can tell
// accounts apart: by the role that it assumes, or else by its credentials.
type account struct{ id, region string }

// accountOf takes the account from the ARN of an assumed role.
func accountOf(key clientKey) account { return account{accountOfARN(key.assumeRoleARN), key.region} }

// Turns are what has been taken of the quotas of each account and region. They
// outlive the Settings, so that a change of these gives nobody a second share.
// The zero value is ready, and safe for concurrent use.
type Turns struct {
	mu      sync.Mutex
	buckets map[bucketKey]*bucket
}

type bucketKey struct {
	account account
	counter string
}

// bucket is the one of a key, at the given speed from now on.
func (t *Turns) bucket(key bucketKey, perSecond float64) *bucket {
	t.mu.Lock()
	defer t.mu.Unlock()
	found, ok := t.buckets[key]
	if !ok {
		found = newBucket(perSecond)
		if t.buckets == nil {
			t.buckets = map[bucketKey]*bucket{}
		}
		t.buckets[key] = found
	}
	found.setSpeed(perSecond)
	return found
}

// limits keep one token bucket for each quota category of each account and
// region. They are safe for concurrent use.
type limits struct {
	rates map[string]float64
	turns *Turns
}

// newLimits take turns of their own when they are given none.
func newLimits(given map[string]float64, turns *Turns) *limits {
	if turns == nil {
		turns = &Turns{}
	}
	return &limits{rates: RateLimits(given), turns: turns}
}

// wait waits for the turn of a request, as long as ctx allows.
func (l *limits) wait(ctx context.Context, of account, counter string) error {
	category, perSecond := l.rate(counter)
	err := l.turns.bucket(bucketKey{of, counter}, perSecond).wait(ctx)
	switch {
	case err == nil:
		return nil
	case errors.Is(ctx.Err(), context.Canceled):
		return ctx.Err()
	default:
		return &limitError{category, l.rates[category]}
	}
}

func (l *limits) rate(counter string) (category string, perSecond float64) {
	if counter == challengeAnswers {
		return userAuthentication, l.rates[userAuthentication] * challengeFactor
	}
	return counter, l.rates[counter]
}

// keepTo makes a client keep to the limits: before every attempt, retries
// included, and before it is signed, because signatures age.
func (l *limits) keepTo(of account) func(*middleware.Stack) error {
	note := middleware.InitializeMiddlewareFunc("NotePasswordChange", notePasswordChange)
	wait := middleware.FinalizeMiddlewareFunc("RateLimit", func(
		ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler,
	) (middleware.FinalizeOutput, middleware.Metadata, error) {
		for _, counter := range countersOf(ctx) {
			if err := l.wait(ctx, of, counter); err != nil {
				return middleware.FinalizeOutput{}, middleware.Metadata{}, err
			}
		}
		return next.HandleFinalize(ctx, in)
	})
	return func(stack *middleware.Stack) error {
		return errors.Join(stack.Initialize.Add(note, middleware.After), stack.Finalize.Insert(wait, "Retry", middleware.After))
	}
}

type setsPasswordKey struct{}

// notePasswordChange marks the answer to a challenge that sets a password: it
// counts twice.
func notePasswordChange(
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

// countersOf are those that the operation of a context counts for.
func countersOf(ctx context.Context) []string {
	counter, known := quotaCategories[awsmiddleware.GetOperationName(ctx)]
	if !known {
		return nil
	}
	if sets, _ := middleware.GetStackValue(ctx, setsPasswordKey{}).(bool); sets {
		return []string{counter, userAccountRecovery}
	}
	return []string{counter}
}
