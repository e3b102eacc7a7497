// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import "regexp"

var domainPattern = regexp.MustCompile(`^[a-z0-9](?:[a-z0-9.-]{0,61}[a-z0-9])?$`)

type domainInput struct {
	Domain              string
	UserPoolId          string
	ManagedLoginVersion *int
}

type createDomainOutput struct {
	ManagedLoginVersion int
}

type describeDomainOutput struct {
	DomainDescription domainDescription
}

// domainDescription is empty for domains that do not exist.
type domainDescription struct {
	Domain       string `json:",omitempty"`
	UserPoolId   string `json:",omitempty"`
	AWSAccountId string `json:",omitempty"`
	Status       string `json:",omitempty"`
}

func (r *request) createUserPoolDomain(in domainInput) (any, error) {
	p, err := r.findPool(in.UserPoolId)
	if err != nil {
		return nil, err
	}
	if _, taken := r.domains[in.Domain]; taken {
		return nil, invalidParameter("Domain already associated with another user pool.")
	}
	if !domainPattern.MatchString(in.Domain) {
		return nil, invalidParameter("1 validation error detected: Value '%s' at 'domain' failed to satisfy constraint", in.Domain)
	}
	if p.domain != "" {
		return nil, invalidParameter("User pool %s already has the domain %s.", p.id, p.domain)
	}
	p.domain = in.Domain
	r.domains[in.Domain] = p
	return createDomainOutput{ManagedLoginVersion: 1}, nil
}

func (r *request) describeUserPoolDomain(in domainInput) (any, error) {
	p, ok := r.domains[in.Domain]
	if !ok || p.region != r.region {
		return describeDomainOutput{}, nil
	}
	return describeDomainOutput{domainDescription{
		Domain:       in.Domain,
		UserPoolId:   p.id,
		AWSAccountId: r.server.accountID,
		Status:       active,
	}}, nil
}
