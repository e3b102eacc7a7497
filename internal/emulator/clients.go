// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
	"time"

	"vault-plugin-secrets-cognito/internal/emulator/control"
)

const (
	flowAdminPassword       = "ADMIN_USER_PASSWORD_AUTH"
	flowAdminPasswordLegacy = "ADMIN_NO_SRP_AUTH"
	flowPassword            = "USER_PASSWORD_AUTH"
	flowSRP                 = "USER_SRP_AUTH"
	flowRefresh             = "REFRESH_TOKEN_AUTH"
	flowRefreshAlias        = "REFRESH_TOKEN"

	allowPrefix        = "ALLOW_"
	allowAdminPassword = "ALLOW_ADMIN_USER_PASSWORD_AUTH"
	allowClientToken   = "ALLOW_CLIENT_TOKEN_AUTH"
	allowCustom        = "ALLOW_CUSTOM_AUTH"
	allowPassword      = "ALLOW_USER_PASSWORD_AUTH"
	allowRefresh       = "ALLOW_REFRESH_TOKEN_AUTH"
	allowSRP           = "ALLOW_USER_SRP_AUTH"

	oauthClientCredentials = "client_credentials"
	enabled                = "ENABLED"

	clientIDLength  = 26
	maxClientScopes = 50
	// maxPoolClients is the default quota of app clients per user pool.
	maxPoolClients = 1000
)

var (
	clientIDPattern   = regexp.MustCompile(`^[\w+]{1,128}$`)
	clientNamePattern = regexp.MustCompile(`^[\w\s+=,.@-]{1,128}$`)
)

// client is an app client.
type client struct {
	pool     *pool
	id       string
	settings clientSettings
	created  time.Time
	modified time.Time
	// secrets are the active ones; a client created without a secret never has any.
	secrets []clientSecret
	// lastSecretSecond is the number in the newest secret's id.
	lastSecretSecond int64
}

// clientSettings are the settings that are returned as they were sent.
type clientSettings struct {
	ClientName                      string
	AccessTokenValidity             *int                `json:",omitempty"`
	IdTokenValidity                 *int                `json:",omitempty"`
	RefreshTokenValidity            int                 `json:",omitempty"`
	TokenValidityUnits              *tokenValidityUnits `json:",omitempty"`
	AuthSessionValidity             *int                `json:",omitempty"`
	ExplicitAuthFlows               []string            `json:",omitempty"`
	AllowedOAuthFlows               []string            `json:",omitempty"`
	AllowedOAuthFlowsUserPoolClient bool
	AllowedOAuthScopes              []string              `json:",omitempty"`
	CallbackURLs                    []string              `json:",omitempty"`
	LogoutURLs                      []string              `json:",omitempty"`
	DefaultRedirectURI              string                `json:",omitempty"`
	SupportedIdentityProviders      []string              `json:",omitempty"`
	ReadAttributes                  []string              `json:",omitempty"`
	WriteAttributes                 []string              `json:",omitempty"`
	PreventUserExistenceErrors      string                `json:",omitempty"`
	EnableTokenRevocation           *bool                 `json:",omitempty"`
	RefreshTokenRotation            *refreshTokenRotation `json:",omitempty"`
}

type refreshTokenRotation struct {
	Feature                 string
	RetryGracePeriodSeconds int
}

type clientDescription struct {
	clientSettings
	UserPoolId       string
	ClientId         string
	ClientSecret     string `json:",omitempty"`
	CreationDate     epoch
	LastModifiedDate epoch
}

type createClientInput struct {
	clientSettings
	UserPoolId     string
	GenerateSecret bool
	ClientSecret   string
}

type updateClientInput struct {
	clientSettings
	clientInput
}

type clientInput struct {
	UserPoolId string
	ClientId   string
}

type clientOutput struct {
	UserPoolClient clientDescription
}

func (r *request) createUserPoolClient(in createClientInput) (any, error) {
	p, err := r.findPool(in.UserPoolId)
	if err != nil {
		return nil, err
	}
	if err := in.checkSecret(); err != nil {
		return nil, err
	}
	settings, err := in.clientSettings.complete(p, in.confidential())
	if err != nil {
		return nil, err
	}
	if len(p.clients) >= maxPoolClients {
		return nil, newException(codeLimitExceeded, "User pool client limit exceeded: a user pool has at most %d app clients.", maxPoolClients)
	}
	c := &client{
		pool:     p,
		id:       r.server.random.text(lowerAlphanumeric, clientIDLength),
		settings: settings,
		created:  r.now,
		modified: r.now,
	}
	if in.confidential() {
		value := cmp.Or(in.ClientSecret, r.newSecretValue())
		c.secrets = []clientSecret{{original: true, id: c.newSecretID(r.now), value: value, created: r.now}}
	}
	p.clients[c.id] = c
	r.clients[c.id] = c
	return clientOutput{c.describe()}, nil
}

func (in createClientInput) confidential() bool {
	return in.GenerateSecret || in.ClientSecret != ""
}

// checkSecret refuses a chosen secret together with a generated one, and one that has the wrong
// form.
func (in createClientInput) checkSecret() error {
	switch {
	case in.GenerateSecret && in.ClientSecret != "":
		return invalidParameter("GenerateSecret and ClientSecret cannot be specified together.")
	case in.ClientSecret != "":
		return checkSecretPattern(in.ClientSecret)
	default:
		return nil
	}
}

type listClientsInput struct {
	UserPoolId string
	MaxResults *int
	NextToken  string
}

type listClientsOutput struct {
	UserPoolClients []clientSummary
	NextToken       string `json:",omitempty"`
}

type clientSummary struct {
	ClientId   string
	ClientName string
	UserPoolId string
}

func (r *request) listUserPoolClients(in listClientsInput) (any, error) {
	p, err := r.findPool(in.UserPoolId)
	if err != nil {
		return nil, err
	}
	clients, next, err := page(r.listedClients(p), in.MaxResults, in.NextToken)
	if err != nil {
		return nil, err
	}
	out := listClientsOutput{UserPoolClients: []clientSummary{}, NextToken: next}
	for _, c := range clients {
		out.UserPoolClients = append(out.UserPoolClients, clientSummary{ClientId: c.id, ClientName: c.settings.ClientName, UserPoolId: p.id})
	}
	return out, nil
}

// listedClients leaves out those that are too new for lists.
func (r *request) listedClients(p *pool) []*client {
	return slices.DeleteFunc(p.sortedClients(), func(c *client) bool { return c.created.Add(r.lateClients).After(r.now) })
}

// updateUserPoolClient resets every setting that the request leaves out, except the name.
func (r *request) updateUserPoolClient(in updateClientInput) (any, error) {
	c, err := r.findClient(in.clientInput)
	if err != nil {
		return nil, err
	}
	if in.ClientName == "" {
		in.ClientName = c.settings.ClientName
	}
	settings, err := in.clientSettings.complete(c.pool, c.confidential())
	if err != nil {
		return nil, err
	}
	c.settings = settings
	c.modified = r.now
	return clientOutput{c.describe()}, nil
}

func (r *request) describeUserPoolClient(in clientInput) (any, error) {
	c, err := r.findClient(in)
	if err != nil {
		return nil, err
	}
	return clientOutput{c.describe()}, nil
}

func (r *request) deleteUserPoolClient(in clientInput) (any, error) {
	c, err := r.findClient(in)
	if err != nil {
		return nil, err
	}
	delete(c.pool.clients, c.id)
	delete(r.clients, c.id)
	return empty{}, nil
}

// findClient returns an app client of a pool in the region of the request.
func (r *request) findClient(in clientInput) (*client, error) {
	p, err := r.findPool(in.UserPoolId)
	if err != nil {
		return nil, err
	}
	if err := checkClientID(in.ClientId); err != nil {
		return nil, err
	}
	c, ok := p.clients[in.ClientId]
	if !ok {
		return nil, resourceNotFound("User pool client %s does not exist.", in.ClientId)
	}
	return c, nil
}

// findClientAnywhere returns an app client for operations that name no pool.
func (r *request) findClientAnywhere(id string) (*client, error) {
	if err := checkClientID(id); err != nil {
		return nil, err
	}
	c, ok := r.clients[id]
	if !ok {
		return nil, resourceNotFound("User pool client %s does not exist.", id)
	}
	return c, nil
}

func checkClientID(id string) error {
	if !clientIDPattern.MatchString(id) {
		return invalidParameter("1 validation error detected: Value at 'clientId' failed to satisfy constraint: " +
			`Member must satisfy regular expression pattern: [\w+]+`)
	}
	return nil
}

// describe includes the secret that the client was created with while that is active, and never
// another one.
func (c *client) describe() clientDescription {
	d := clientDescription{
		clientSettings:   c.settings,
		UserPoolId:       c.pool.id,
		ClientId:         c.id,
		CreationDate:     epoch(c.created),
		LastModifiedDate: epoch(c.modified),
	}
	for _, secret := range c.secrets {
		if secret.original {
			d.ClientSecret = secret.value
		}
	}
	return d
}

// sortedClients returns the app clients of the pool by id.
func (p *pool) sortedClients() []*client {
	clients := make([]*client, 0, len(p.clients))
	for _, c := range p.clients {
		clients = append(clients, c)
	}
	slices.SortFunc(clients, func(a, b *client) int { return strings.Compare(a.id, b.id) })
	return clients
}

// report returns the app client as the control API shows it.
func (c *client) report() control.AppClient {
	report := control.AppClient{
		UserPoolID: c.pool.id,
		ClientID:   c.id,
		Name:       c.settings.ClientName,
		Scopes:     slices.Clone(c.settings.AllowedOAuthScopes),
		Secrets:    []control.ClientSecret{},
		Created:    c.created.UTC(),
	}
	for _, secret := range c.secrets {
		report.Secrets = append(report.Secrets, control.ClientSecret{ID: secret.id, Value: secret.value})
	}
	return report
}

// allows reports whether users may sign in by a flow.
func (c *client) allows(flow string) bool {
	switch flow {
	case flowAdminPassword, flowAdminPasswordLegacy:
		return c.hasFlow(allowAdminPassword) || c.hasFlow(flowAdminPasswordLegacy)
	case flowPassword:
		return c.hasFlow(allowPassword) || c.hasFlow(flowPassword)
	case flowSRP:
		return c.hasFlow(allowSRP)
	default: // flowRefresh
		return !c.rotatesRefreshTokens() && (c.hasFlow(allowRefresh) || c.hasLegacyFlows())
	}
}

func (c *client) hasFlow(flow string) bool {
	return slices.Contains(c.settings.ExplicitAuthFlows, flow)
}

func (c *client) hasLegacyFlows() bool {
	return slices.ContainsFunc(c.settings.ExplicitAuthFlows, isLegacyFlow)
}

func isLegacyFlow(flow string) bool {
	return !strings.HasPrefix(flow, allowPrefix)
}

func (c *client) rotatesRefreshTokens() bool {
	return c.settings.rotatesRefreshTokens()
}

func (s clientSettings) rotatesRefreshTokens() bool {
	return s.RefreshTokenRotation != nil && s.RefreshTokenRotation.Feature == enabled
}

func (c *client) revokesTokens() bool {
	return c.settings.EnableTokenRevocation == nil || *c.settings.EnableTokenRevocation
}

func (c *client) hidesUnknownUsers() bool {
	return c.settings.PreventUserExistenceErrors == enabled
}
