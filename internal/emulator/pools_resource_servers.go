// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"regexp"
	"strings"
)

const maxResourceServerScopes = 100

var (
	identifierPattern = regexp.MustCompile(`^[\x21\x23-\x5B\x5D-\x7E]+$`)
	scopePattern      = regexp.MustCompile(`^[\x21\x23-\x2E\x30-\x5B\x5D-\x7E]+$`)
)

// resourceServer is an API that defines scopes.
type resourceServer struct {
	identifier string
	name       string
	scopes     []resourceServerScope
}

type resourceServerScope struct {
	ScopeName        string
	ScopeDescription string
}

type resourceServerInput struct {
	UserPoolId string
	Identifier string
	Name       string
	Scopes     []resourceServerScope
}

type resourceServerOutput struct {
	ResourceServer resourceServerInput
}

func (r *request) createResourceServer(in resourceServerInput) (any, error) {
	p, err := r.findPool(in.UserPoolId)
	if err != nil {
		return nil, err
	}
	if err := in.check(p); err != nil {
		return nil, err
	}
	p.resourceServers[in.Identifier] = &resourceServer{identifier: in.Identifier, name: in.Name, scopes: in.Scopes}
	return resourceServerOutput{in}, nil
}

// https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_DescribeResourceServer.html
func (r *request) describeResourceServer(in resourceServerInput) (any, error) {
	p, err := r.findPool(in.UserPoolId)
	if err != nil {
		return nil, err
	}
	server, ok := p.resourceServers[in.Identifier]
	if !ok {
		return nil, resourceNotFound("Resource server %s does not exist in user pool %s.", in.Identifier, p.id)
	}
	return resourceServerOutput{resourceServerInput{UserPoolId: p.id, Identifier: server.identifier, Name: server.name, Scopes: server.scopes}}, nil
}

func (in resourceServerInput) check(p *pool) error {
	if !identifierPattern.MatchString(in.Identifier) || in.Name == "" || len(in.Scopes) > maxResourceServerScopes {
		return invalidParameter("A resource server needs an identifier, a name and at most %d scopes.", maxResourceServerScopes)
	}
	for _, scope := range in.Scopes {
		if !scopePattern.MatchString(scope.ScopeName) {
			return invalidParameter("1 validation error detected: Value '%s' at 'scopes' failed to satisfy constraint", scope.ScopeName)
		}
	}
	if _, exists := p.resourceServers[in.Identifier]; exists {
		return invalidParameter("%s already exists in user pool %s.", in.Identifier, p.id)
	}
	return nil
}

// hasScope reports whether a scope, such as "api/read", belongs to a resource server of the pool.
func (p *pool) hasScope(scope string) bool {
	cut := strings.LastIndex(scope, "/")
	if cut < 0 {
		return false
	}
	server, ok := p.resourceServers[scope[:cut]]
	if !ok {
		return false
	}
	for _, s := range server.scopes {
		if s.ScopeName == scope[cut+1:] {
			return true
		}
	}
	return false
}
