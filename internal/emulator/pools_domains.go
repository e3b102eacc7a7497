// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"regexp"
	"strings"
)

var (
	// prefixPattern is the constraint on prefix domains, hostPattern that on custom domains.
	prefixPattern = regexp.MustCompile(`^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$`)
	hostPattern   = regexp.MustCompile(`^[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?$`)
)

// domains are the names under which the token endpoint of a pool is reached. A pool has at most one
// of each kind.
type domains struct {
	prefix string
	custom string
	// certificate is the ARN that came with the custom domain.
	certificate string
}

func (d domains) none() bool {
	return d.prefix == "" && d.custom == ""
}

type customDomainConfig struct {
	CertificateArn string
}

type domainInput struct {
	Domain              string
	UserPoolId          string
	ManagedLoginVersion *int
	CustomDomainConfig  *customDomainConfig
}

type createDomainOutput struct {
	ManagedLoginVersion int
	CloudFrontDomain    string `json:",omitempty"`
}

type describeDomainOutput struct {
	DomainDescription domainDescription
}

// domainDescription is empty for domains that do not exist.
type domainDescription struct {
	Domain                 string              `json:",omitempty"`
	UserPoolId             string              `json:",omitempty"`
	AWSAccountId           string              `json:",omitempty"`
	Status                 string              `json:",omitempty"`
	CloudFrontDistribution string              `json:",omitempty"`
	CustomDomainConfig     *customDomainConfig `json:",omitempty"`
}

func (r *request) createUserPoolDomain(in domainInput) (any, error) {
	p, err := r.findPool(in.UserPoolId)
	if err != nil {
		return nil, err
	}
	if _, taken := r.domains[in.Domain]; taken {
		return nil, invalidParameter("Domain already associated with another user pool.")
	}
	out := createDomainOutput{ManagedLoginVersion: 1}
	if in.CustomDomainConfig == nil {
		err = p.setPrefix(in.Domain)
	} else {
		out.CloudFrontDomain = distributionOf(in.Domain)
		err = p.setCustomDomain(in.Domain, in.CustomDomainConfig.CertificateArn)
	}
	if err != nil {
		return nil, err
	}
	r.domains[in.Domain] = p
	return out, nil
}

func (p *pool) setPrefix(prefix string) error {
	switch {
	case !prefixPattern.MatchString(prefix):
		return invalidParameter("1 validation error detected: Value '%s' at 'domain' failed to satisfy constraint", prefix)
	case p.domains.prefix != "":
		return invalidParameter("User pool %s already has the domain %s.", p.id, p.domains.prefix)
	}
	p.domains.prefix = prefix
	return nil
}

func (p *pool) setCustomDomain(host, certificate string) error {
	switch {
	case !hostPattern.MatchString(host):
		return invalidParameter("1 validation error detected: Value '%s' at 'domain' failed to satisfy constraint", host)
	case certificate == "":
		return invalidParameter("1 validation error detected: Value at 'customDomainConfig.certificateArn' failed to satisfy constraint: Member must not be null")
	case p.domains.custom != "":
		return invalidParameter("User pool %s already has the custom domain %s.", p.id, p.domains.custom)
	}
	p.domains.custom, p.domains.certificate = host, certificate
	return nil
}

// distributionOf returns the name of the CloudFront distribution in front of a custom domain.
func distributionOf(host string) string {
	return "d-" + strings.ReplaceAll(host, ".", "-") + ".cloudfront.net"
}

// describeUserPoolDomain answers with an empty description for unknown domains.
func (r *request) describeUserPoolDomain(in domainInput) (any, error) {
	p, ok := r.domains[in.Domain]
	if !ok || !p.isIn(r.region) {
		return describeDomainOutput{}, nil
	}
	d := domainDescription{Domain: in.Domain, UserPoolId: p.id, AWSAccountId: r.server.accountID, Status: active}
	if in.Domain == p.domains.custom {
		d.CloudFrontDistribution = distributionOf(in.Domain)
		d.CustomDomainConfig = &customDomainConfig{CertificateArn: p.domains.certificate}
	}
	return describeDomainOutput{d}, nil
}

func (r *request) deleteUserPoolDomain(in domainInput) (any, error) {
	p, err := r.findPool(in.UserPoolId)
	if err != nil {
		return nil, err
	}
	switch in.Domain {
	case "":
		return nil, invalidParameter("1 validation error detected: Value at 'domain' failed to satisfy constraint: Member must not be null")
	case p.domains.prefix:
		p.domains.prefix = ""
	case p.domains.custom:
		p.domains.custom, p.domains.certificate = "", ""
	default:
		return nil, resourceNotFound("No such domain or user pool exists.")
	}
	delete(r.domains, in.Domain)
	return empty{}, nil
}
