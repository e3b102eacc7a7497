// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
	"reflect"
	"regexp"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-cognito/internal/cognito"
)

// userPool is the part of cognito.Pool that issues, signs in and deletes users.
type userPool interface {
	SignIn(ctx context.Context, app cognito.AppClient, c cognito.Login, metadata map[string]string) (cognito.Tokens, error)
	SignInOnce(ctx context.Context, app cognito.AppClient, c cognito.Login, metadata map[string]string) (cognito.Tokens, error)
	Refresh(ctx context.Context, app cognito.AppClient, refreshToken, username string, metadata map[string]string) (cognito.Tokens, error)
	IssueUser(ctx context.Context, request cognito.UserRequest) (*cognito.IssuedUser, error)
	User(ctx context.Context, username string) (cognito.UserState, error)
	DisableUser(ctx context.Context, username string) error
	DeleteUser(ctx context.Context, username string) error
	DeleteNewUser(ctx context.Context, username string) error
	GroupsOf(ctx context.Context, username string) ([]string, error)
	JoinGroups(ctx context.Context, username string, groups []string) error
	LeaveGroups(ctx context.Context, username string, groups []string) (left int, err error)
	SignOutUser(ctx context.Context, username string) error
	CreateAppClient(ctx context.Context, client cognito.NewAppClient) (cognito.AppClient, error)
	DeleteAppClient(ctx context.Context, id string) error
	DeleteNewAppClient(ctx context.Context, id string) error
	FindAppClients(ctx context.Context, names ...string) (map[string][]string, error)
}

var _ userPool = (*cognito.Pool)(nil)

// connection is the mount's AWS service, built from its config.
type connection struct {
	*cognito.Service
	config *configEntry
	// The remaining fields are defaults of roles.
	region           string
	usernameTemplate string
	passwordPolicy   string
}

// connect returns the mount's connection, which is cached until the config changes.
func (b *backend) connect(ctx context.Context, req *logical.Request) (*connection, error) {
	return b.connections.Get(ctx, configStoragePath, nil, func(ctx context.Context) (*connection, error) {
		config, err := getConfig(ctx, req.Storage)
		if err != nil {
			return nil, err
		}
		next := &connection{config: config, region: config.Region, usernameTemplate: config.UsernameTemplate, passwordPolicy: config.PasswordPolicy}
		next.Service = b.serviceFor(req, config)
		b.lastConnection.Store(next)
		return next, nil
	})
}

// serviceFor returns the service of the last connection if only its access key was rotated since:
// its cached tokens stay. Otherwise it returns a new service.
func (b *backend) serviceFor(req *logical.Request, config *configEntry) *cognito.Service {
	last := b.lastConnection.Load()
	if last == nil || !config.isRotationOf(last.config) {
		settings := b.awsSettings(req, config)
		settings.Limiters = &b.limiters
		return cognito.New(b.lifetime, settings)
	}
	last.ReplaceAccessKey(config.AccessKeyID, config.SecretAccessKey)
	return last.Service
}

// isRotationOf reports whether a config differs from another one only in what a rotation changes.
func (c *configEntry) isRotationOf(other *configEntry) bool {
	if !c.LastVaultRotation.After(other.LastVaultRotation) { // a stale read must not bring the old key back
		return false
	}
	one, two := *c, *other
	for _, config := range []*configEntry{&one, &two} {
		config.AccessKeyID, config.SecretAccessKey = "", ""
		config.LastVaultRotation, config.NextVaultRotation = time.Time{}, time.Time{}
	}
	return reflect.DeepEqual(one, two)
}

// newService returns a service for a config, which need not be the stored one. It has limiters of
// its own, so it is for calls to STS and IAM only.
func (b *backend) newService(req *logical.Request, config *configEntry) *cognito.Service {
	return cognito.New(b.lifetime, b.awsSettings(req, config))
}

func (b *backend) awsSettings(req *logical.Request, config *configEntry) cognito.Settings {
	settings := config.settings(req.MountPoint)
	settings.OnRefreshFailure = b.logRefreshFailure
	settings.Observer = b.metrics.observer()
	settings.Transport = b.transport
	if config.IdentityTokenAudience != "" {
		settings.IdentityToken = func(ctx context.Context) (string, error) { return b.identityToken(ctx, config) }
	}
	return settings
}

// disconnect drops the mount's connection, and with it every cached token.
func (b *backend) disconnect() {
	b.lastConnection.Store(nil)
	b.connections.Drop(configStoragePath)
	b.staticTokens.Clear()
}

func (b *backend) logRefreshFailure(f cognito.RefreshFailure) {
	b.Logger().Warn("refreshing a machine token failed; the cached one is returned until it expires",
		"error", f.Err, "next_attempt", f.Again.Format(time.RFC3339), "expires", f.Expires.Format(time.RFC3339))
}

func (b *backend) userPool(ctx context.Context, req *logical.Request, target cognito.Target) (userPool, error) {
	aws, err := b.connect(ctx, req)
	if err != nil {
		return nil, err
	}
	return aws.Pool(ctx, target)
}

// notInSessionName matches what STS does not allow in a session name.
var notInSessionName = regexp.MustCompile(`[^\w+=,.@-]+`)

// sessionNameMax is the longest session name that STS allows.
const sessionNameMax = 64

// sessionName returns a session name that shows the mount in CloudTrail.
func sessionName(mountPoint string) string {
	name := "vault-" + notInSessionName.ReplaceAllString(strings.Trim(mountPoint, "/"), "-")
	return name[:min(len(name), sessionNameMax)]
}

// accountWait is how long the delivery of an object waits for the id of its AWS account.
const accountWait = 2 * time.Second

// place returns where an object is about to be created, and how AWS is reached there. The account
// may not be known yet.
func (c *connection) place(ctx context.Context, target cognito.Target) (place, error) {
	endpoint, err := c.Endpoint(ctx, target)
	p := newPlace(target)
	p.Account, p.Endpoint = c.KnownAccount(ctx, target), endpoint
	return p, err
}

// learnAccount asks for the account of a place if it is not known. A failure leaves it unknown.
func (c *connection) learnAccount(ctx context.Context, p *place) {
	if p.Account != "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, accountWait)
	defer cancel()
	p.Account = c.Account(ctx, p.target())
}

// reachesAsBefore returns the account and endpoint that a place is reached through now, and whether
// they are known to be those of when an object was created there.
func (c *connection) reachesAsBefore(ctx context.Context, p place) (account, endpoint string, same bool) {
	endpoint, err := c.Endpoint(ctx, p.target())
	account = c.Account(ctx, p.target())
	return account, endpoint, err == nil && account != "" && account == p.Account && endpoint == p.Endpoint
}
