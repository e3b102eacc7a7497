// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
)

// confirmedDomain is a domain that was found to belong to a user pool.
type confirmedDomain struct {
	target Target
	domain string
}

// secretPool returns the pool whose domain alone may get the client secret of a request. There is
// none if the secret came with the role, or if no domain is involved.
func (r MachineTokenRequest) secretPool() (Target, bool) {
	switch {
	case r.Source == SourceAPI:
		return Target{}, false
	case r.SecretPool != nil:
		return *r.SecretPool, true
	default:
		return r.Target, r.AppClient.Secret == ""
	}
}

// ConfirmDomain returns an error unless a domain belongs to the user pool of a target, or is the
// host of the Settings' CognitoEndpoint. It asks Cognito once per pool and domain.
func (s *Service) ConfirmDomain(ctx context.Context, target Target, domain string) error {
	key := confirmedDomain{target, domain}
	if _, confirmed := s.confirmed.Load(key); confirmed {
		return nil
	}
	parsed, err := ParseDomain(domain)
	if err != nil {
		return &Error{Step: fmt.Sprintf("confirming the domain %q", domain), Kind: KindInvalid, Detail: err.Error(), cause: err}
	}
	if !s.isEndpoint(parsed) {
		pool, err := s.Pool(ctx, target)
		if err == nil {
			err = pool.confirmDomain(ctx, strings.ToLower(parsed.Hostname()))
		}
		if err != nil {
			return err
		}
	}
	s.confirmed.Store(key, struct{}{})
	return nil
}

// isEndpoint reports whether a domain is the host and port at which the config reaches Cognito.
func (s *Service) isEndpoint(domain *url.URL) bool {
	endpoint, err := ParseEndpoint(s.settings.CognitoEndpoint)
	return err == nil && endpoint.Scheme == domain.Scheme && strings.EqualFold(endpoint.Host, domain.Host)
}

// confirmDomain looks in the description of the pool, and then for the domain itself: either
// permission is enough.
func (p *Pool) confirmDomain(ctx context.Context, host string) error {
	step := fmt.Sprintf("confirming that the domain %q belongs to user pool %q", host, p.target.UserPoolID)
	out, poolErr := p.api.DescribeUserPool(ctx, &cip.DescribeUserPoolInput{UserPoolId: &p.target.UserPoolID})
	if poolErr == nil && out.UserPool != nil && p.isDomain(host, aws.ToString(out.UserPool.Domain), aws.ToString(out.UserPool.CustomDomain)) {
		return nil
	}
	state, domainErr := p.Domain(ctx, host)
	switch {
	case domainErr == nil && state.UserPoolID == p.target.UserPoolID && p.isHere(host):
		return nil
	case domainErr == nil || poolErr == nil && isDenied(domainErr):
		return &Error{Step: step, Kind: KindInvalid, Outcome: OutcomeRefused,
			Detail: "it does not, so the client secret is not sent to it; correct cognito_pool_domain, or write app_client_secret to the role"}
	case isDenied(domainErr):
		return &Error{Step: step, Kind: KindDenied, Outcome: OutcomeRefused, cause: domainErr,
			Detail: "IAM allows the engine neither cognito-idp:DescribeUserPool nor cognito-idp:DescribeUserPoolDomain; allow one of them"}
	default:
		return fail(step, domainErr)
	}
}

// isDomain reports whether a host is one of the domains of the pool: a prefix domain, or a
// custom one.
func (p *Pool) isDomain(host, prefix, custom string) bool {
	own, _, found := cutOwnDomain(host)
	return found && prefix != "" && own == prefix && p.isHere(host) || custom != "" && strings.EqualFold(host, custom)
}

// isHere reports whether a host is not a prefix domain in another region, where the same
// prefix may belong to another account.
func (p *Pool) isHere(host string) bool {
	_, region, found := cutOwnDomain(host)
	return !found || region == p.target.Region
}
