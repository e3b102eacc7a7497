// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"cmp"
	"regexp"
	"time"
)

const (
	mfaOff = "OFF"
	mfaOn  = "ON"

	tierLite       = "LITE"
	tierEssentials = "ESSENTIALS"

	active = "ACTIVE"
)

var poolIDPattern = regexp.MustCompile(`^[\w-]+_[0-9a-zA-Z]+$`)

// pool is a user pool with everything in it.
type pool struct {
	id       string
	arn      string
	region   string
	name     string
	created  time.Time
	modified time.Time
	settings poolSettings
	schema   schema
	domains  domains
	// replicas are the secondary regions of the pool.
	replicas []string
	// softwareTokens is whether the pool allows software tokens as a second factor.
	softwareTokens bool
	// smsMFA are the settings for text messages as a second factor, or nil without them.
	smsMFA   map[string]any
	webAuthn *webAuthnConfiguration

	clients         map[string]*client
	groups          map[string]*group
	resourceServers map[string]*resourceServer
	// users is keyed by folded username, aliases by every other folded sign-in name.
	users   map[string]*user
	aliases map[string]*user
	subs    map[string]*user
	// active are the monthly active users.
	active activeUsers
}

// poolSettings are the settings that are returned as they were sent.
type poolSettings struct {
	Policies               *policies              `json:",omitempty"`
	AliasAttributes        []string               `json:",omitempty"`
	UsernameAttributes     []string               `json:",omitempty"`
	AutoVerifiedAttributes []string               `json:",omitempty"`
	UsernameConfiguration  *usernameConfiguration `json:",omitempty"`
	MfaConfiguration       string                 `json:",omitempty"`
	UserPoolTier           string                 `json:",omitempty"`
	DeletionProtection     string                 `json:",omitempty"`
	UserPoolTags           map[string]string      `json:",omitempty"`
	AdminCreateUserConfig  map[string]any         `json:",omitempty"`
	AccountRecoverySetting *accountRecovery       `json:",omitempty"`
	DeviceConfiguration    *deviceConfiguration   `json:",omitempty"`
	LambdaConfig           map[string]any         `json:",omitempty"`
}

type policies struct {
	PasswordPolicy *passwordPolicy `json:",omitempty"`
	SignInPolicy   *signInPolicy   `json:",omitempty"`
}

type usernameConfiguration struct {
	CaseSensitive bool
}

type poolDescription struct {
	poolSettings
	Id                     string
	Arn                    string
	Name                   string
	CreationDate           epoch
	LastModifiedDate       epoch
	SchemaAttributes       []schemaAttribute
	EstimatedNumberOfUsers int
	Domain                 string `json:",omitempty"`
	CustomDomain           string `json:",omitempty"`
}

type createUserPoolInput struct {
	poolSettings
	PoolName string
	Schema   []schemaAttribute
}

type updateUserPoolInput struct {
	poolSettings
	poolInput
	PoolName string
}

type poolInput struct {
	UserPoolId string
}

type poolOutput struct {
	UserPool poolDescription
}

func (r *request) createUserPool(in createUserPoolInput) (any, error) {
	settings, err := in.poolSettings.complete()
	if err != nil {
		return nil, err
	}
	schema, err := newSchema(in.Schema)
	if err != nil {
		return nil, err
	}
	if in.PoolName == "" {
		return nil, invalidParameter("1 validation error detected: Value at 'poolName' failed to satisfy constraint: Member must not be null")
	}
	p := r.newPool(in.PoolName)
	p.settings = settings
	p.schema = schema
	r.pools[p.id] = p
	return poolOutput{p.describe()}, nil
}

func (r *request) newPool(name string) *pool {
	id := r.region + "_" + r.server.random.text(alphanumeric, 9)
	return &pool{
		id:              id,
		arn:             r.server.poolARN(r.region, id),
		region:          r.region,
		name:            name,
		created:         r.now,
		modified:        r.now,
		clients:         map[string]*client{},
		groups:          map[string]*group{},
		resourceServers: map[string]*resourceServer{},
		users:           map[string]*user{},
		aliases:         map[string]*user{},
		subs:            map[string]*user{},
		active:          activeUsers{},
	}
}

// complete checks the settings of a new pool and adds Cognito's defaults.
func (s poolSettings) complete() (poolSettings, error) {
	if len(s.AliasAttributes) > 0 && len(s.UsernameAttributes) > 0 {
		return s, invalidParameter("Only one of the aliasAttributes or usernameAttributes can be set in a user pool.")
	}
	if s.UserPoolTier == "" {
		s.UserPoolTier = tierEssentials
	}
	if s.MfaConfiguration == "" {
		s.MfaConfiguration = mfaOff
	}
	if s.DeletionProtection == "" {
		s.DeletionProtection = "INACTIVE"
	}
	if err := s.checkAccountRecovery(); err != nil {
		return s, err
	}
	return s.completePolicies()
}

func (s poolSettings) completePolicies() (poolSettings, error) {
	policy, err := s.passwordPolicy().complete(s.UserPoolTier)
	if err != nil {
		return s, err
	}
	var signIn *signInPolicy
	if s.Policies != nil {
		signIn = s.Policies.SignInPolicy
	}
	signIn, err = signIn.complete(s.UserPoolTier)
	s.Policies = &policies{PasswordPolicy: &policy, SignInPolicy: signIn}
	return s, err
}

func (s poolSettings) passwordPolicy() passwordPolicy {
	if s.Policies == nil || s.Policies.PasswordPolicy == nil {
		return defaultPasswordPolicy()
	}
	return *s.Policies.PasswordPolicy
}

func (p *pool) describe() poolDescription {
	return poolDescription{
		poolSettings:           p.settings,
		Id:                     p.id,
		Arn:                    p.arn,
		Name:                   p.name,
		CreationDate:           epoch(p.created),
		LastModifiedDate:       epoch(p.modified),
		SchemaAttributes:       p.schema.describe(),
		EstimatedNumberOfUsers: len(p.users),
		Domain:                 p.domains.prefix,
		CustomDomain:           p.domains.custom,
	}
}

func (r *request) describeUserPool(in poolInput) (any, error) {
	p, err := r.findPool(in.UserPoolId)
	if err != nil {
		return nil, err
	}
	return poolOutput{p.describe()}, nil
}

// updateUserPool resets every setting that the request leaves out, except the name and those that
// cannot be changed.
func (r *request) updateUserPool(in updateUserPoolInput) (any, error) {
	p, err := r.findPool(in.UserPoolId)
	if err != nil {
		return nil, err
	}
	in.AliasAttributes, in.UsernameAttributes = p.settings.AliasAttributes, p.settings.UsernameAttributes
	in.UsernameConfiguration = p.settings.UsernameConfiguration
	settings, err := in.poolSettings.complete()
	if err != nil {
		return nil, err
	}
	p.settings = settings
	p.name = cmp.Or(in.PoolName, p.name)
	p.modified = r.now
	return empty{}, nil
}

// deleteUserPool also deletes the domain, whereas Cognito requires it to be deleted first.
func (r *request) deleteUserPool(in poolInput) (any, error) {
	p, err := r.findPool(in.UserPoolId)
	if err != nil {
		return nil, err
	}
	if p.settings.DeletionProtection == active {
		return nil, invalidParameter("The user pool cannot be deleted because deletion protection is activated. Deletion protection must be inactivated first.")
	}
	for _, u := range p.users {
		r.deleteSignIns(u)
	}
	for id := range p.clients {
		delete(r.clients, id)
	}
	delete(r.domains, p.domains.prefix)
	delete(r.domains, p.domains.custom)
	delete(r.pools, p.id)
	return empty{}, nil
}

// findPool returns a pool, or a replica of it, in the region that the request is signed for.
func (r *request) findPool(id string) (*pool, error) {
	if id == "" {
		return nil, invalidParameter("1 validation error detected: Value at 'userPoolId' failed to satisfy constraint: Member must not be null")
	}
	if !poolIDPattern.MatchString(id) {
		return nil, invalidParameter("1 validation error detected: Value '%s' at 'userPoolId' failed to satisfy constraint: "+
			`Member must satisfy regular expression pattern: [\w-]+_[0-9a-zA-Z]+`, id)
	}
	p, ok := r.pools[id]
	if !ok || !p.isIn(r.region) {
		return nil, resourceNotFound("User pool %s does not exist.", id)
	}
	return p, nil
}
