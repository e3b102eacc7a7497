// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
	"regexp"
	"strings"
	"sync"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-cognito/internal/cognito"
)

// userPool is the seam to Cognito for dynamic users: what may happen to them.
type userPool interface {
	IssueUser(ctx context.Context, request cognito.UserRequest) (*cognito.IssuedUser, error)
	User(ctx context.Context, username string) (cognito.UserState, error)
	DeleteUser(ctx context.Context, username string) error
	DeleteNewUser(ctx context.Context, username string) error
}

var _ userPool = (*cognito.Pool)(nil)

// connection is the mount's way to AWS, made of its config.
type connection struct {
	*cognito.Service
	// region is that of roles which name none.
	region string
}

// connectionCache keeps the connection until the config changes.
type connectionCache struct {
	mu         sync.Mutex
	generation uint64
	connection *connection
}

func (c *connectionCache) get() (*connection, uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.connection, c.generation
}

// keep stores a connection that was made of the config of a generation, unless
// the config has changed since.
func (c *connectionCache) keep(made *connection, generation uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.generation == generation {
		c.connection = made
	}
}

func (c *connectionCache) drop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.generation++
	c.connection = nil
}

// connect gives the mount's way to AWS. Reading the config happens outside the
// lock, so that a slow storage holds nobody up who has no need of it.
func (b *backend) connect(ctx context.Context, req *logical.Request) (*connection, error) {
	cached, generation := b.connection.get()
	if cached != nil {
		return cached, nil
	}
	config, err := getConfig(ctx, req.Storage)
	if err != nil {
		return nil, err
	}
	made := &connection{Service: cognito.New(config.settings(req.MountPoint)), region: config.Region}
	b.connection.keep(made, generation)
	return made, nil
}

func (b *backend) userPool(ctx context.Context, req *logical.Request, target cognito.Target) (userPool, error) {
	aws, err := b.connect(ctx, req)
	if err != nil {
		return nil, err
	}
	return aws.Pool(ctx, target)
}

// notInSessionName is what STS does not take in the name of a session.
var notInSessionName = regexp.MustCompile(`[^\w+=,.@-]+`)

// sessionNameMax is STS's limit on the name of a session.
const sessionNameMax = 64

// sessionName lets CloudTrail show which mount acted.
func sessionName(mountPoint string) string {
	name := "vault-" + notInSessionName.ReplaceAllString(strings.Trim(mountPoint, "/"), "-")
	return name[:min(len(name), sessionNameMax)]
}
