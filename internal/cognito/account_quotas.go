// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito

import (
	"context"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"

	"vault-plugin-secrets-cognito/internal/cache"
)

const (
	// quotasTimeout bounds one reading of an account's quotas.
	quotasTimeout = 30 * time.Second
	// quotasRetry is how long after a reading that got no answer the next one is made.
	quotasRetry = 10 * time.Minute
)

// adjustableCategories are those whose quota AWS raises for an account. The
// quotas of the others are the same for everybody.
var adjustableCategories = []string{userAuthentication, userCreation, userRead, userResourceRead, userToken}

// Quota is what AWS allows an account in one category.
type Quota struct {
	Category string
	// Quota is what AWS enforces, and Limit what the engine uses of it, in requests per second.
	Quota, Limit float64
}

// accountQuotas are the quotas of an account by category, or why they are not known.
type accountQuotas struct {
	byCategory map[string]float64
	err        error
	// retry is when to read again what got no answer. It is zero after a refusal.
	retry time.Time
}

type quotaCache = cache.Cache[clientKey, accountQuotas]

func newQuotaCache(lifetime context.Context) *quotaCache {
	return cache.New[clientKey, accountQuotas](cache.Options[accountQuotas]{Lifetime: lifetime, LoadTimeout: quotasTimeout})
}

// startQuotas reads the quotas of a client's account in the background, once,
// when a request is about to count for one of those that AWS may have raised.
func (s *Service) startQuotas(ctx context.Context, key clientKey, categories []string) {
	if !slices.ContainsFunc(categories, s.followsAccount) {
		return
	}
	if found, read := s.quotas.Peek(key); read && (found.retry.IsZero() || s.now().Before(found.retry)) {
		return
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	_, _ = s.quotas.Get(ended, key, alwaysExpired, s.quotaReader(key)) // without waiting for it
}

// followsAccount reports whether the limit of a category depends on the account's quota.
func (s *Service) followsAccount(category string) bool {
	if category == challengeAnswers {
		category = userAuthentication
	}
	_, fixed := s.settings.RateLimits[category]
	return !fixed && slices.Contains(adjustableCategories, category)
}

func alwaysExpired(accountQuotas) cache.State { return cache.Expired }

// Quotas reads what AWS allows the account of a target in the categories that
// differ between accounts, and lets the limits follow.
func (s *Service) Quotas(ctx context.Context, target Target) ([]Quota, error) {
	key := s.keyOf(target)
	found, err := s.quotas.Get(ctx, key, alwaysExpired, s.quotaReader(key))
	if err != nil {
		return nil, fail(stepQuotas, err)
	}
	if found.err != nil {
		return nil, found.err
	}
	var quotas []Quota
	for _, category := range adjustableCategories {
		if quota, known := found.byCategory[category]; known {
			quotas = append(quotas, Quota{category, quota, s.limitOf(category, quota)})
		}
	}
	return quotas, nil
}

// limitOf returns the limit of a category whose quota is known.
func (s *Service) limitOf(category string, quota float64) float64 {
	if given, fixed := s.settings.RateLimits[category]; fixed {
		return given
	}
	return quota * defaultShare
}

const stepQuotas = "reading the quotas of the AWS account"

// quotaReader returns a function that reads the quotas of a client's account
// and lets the limits follow. Its failures are values: no request depends on it.
func (s *Service) quotaReader(key clientKey) func(context.Context) (accountQuotas, error) {
	return func(ctx context.Context) (accountQuotas, error) {
		quotas, err := s.readQuotas(ctx, key)
		if err != nil {
			failed := accountQuotas{err: err}
			if KindOf(err) == KindUnavailable || KindOf(err) == KindThrottled {
				failed.retry = s.now().Add(quotasRetry)
			}
			return failed, nil
		}
		s.followQuotas(key, quotas)
		return accountQuotas{byCategory: quotas}, nil
	}
}

// readQuotas leaves out the categories that AWS does not know. It tries each
// call once: there is no hurry.
func (s *Service) readQuotas(ctx context.Context, key clientKey) (map[string]float64, error) {
	client, err := s.clientOf(ctx, key)
	if err != nil {
		return nil, err
	}
	quotas := map[string]float64{}
	for _, category := range adjustableCategories {
		out, err := client.GetProvisionedLimit(ctx, &cip.GetProvisionedLimitInput{LimitDefinition: &types.LimitDefinitionType{
			LimitClass: types.LimitClassApiCategory, Attributes: map[string]string{"Category": category},
		}}, func(o *cip.Options) { o.Retryer = aws.NopRetryer{} })
		switch failed := failIf(err); {
		case failed == nil && out.Limit != nil && out.Limit.ProvisionedLimitValue > 0:
			quotas[category] = float64(out.Limit.ProvisionedLimitValue)
		case failed != nil && failed.Kind != KindInvalid && failed.Kind != KindNotFound:
			return nil, failed
		}
	}
	return quotas, nil
}

func failIf(err error) *Error {
	if err == nil {
		return nil
	}
	return fail(stepQuotas, err)
}

// followQuotas lets the limits of a client's account follow its quotas.
func (s *Service) followQuotas(key clientKey, quotas map[string]float64) {
	rates := map[string]float64{}
	for category, quota := range quotas {
		rates[category] = quota * defaultShare
	}
	if rate, known := rates[userAuthentication]; known {
		rates[challengeAnswers] = rate * challengeFactor
	}
	s.merging.Lock()
	defer s.merging.Unlock()
	s.limiters.SetAccountRates(s.countedAs(key), rates)
}

// countedAs returns how the limiters call the account and region of a client
// at this time. The caller holds merging.
func (s *Service) countedAs(key clientKey) string {
	if key.assumeRoleARN != "" {
		return accountOfARN(key.assumeRoleARN) + "/" + key.region
	}
	if known, merged := s.merged.Load(key.region); merged {
		return known.(string)
	}
	return "/" + key.region
}
