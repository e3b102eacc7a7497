// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package test

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/counters"
	"vault-plugin-secrets-cognito/internal/sandbox"
)

// terms is how many leaders follow each other: of three servers one leads twice,
// and must have forgotten what it knew the first time.
const terms = 4

// clustered is a world of several servers of which one is active.
type clustered struct {
	*mortal
	cluster *sandbox.Cluster
}

// TestCluster is about three servers that share their data.
func TestCluster(t *testing.T) {
	t.Parallel()
	cluster, err := sandbox.StartCluster(t.Context(), sandbox.ServerOptions{
		VaultOptions: sandbox.VaultOptions{Binary: binaries.vault, PluginDir: filepath.Dir(binaries.fastPlugin), LogLevel: "trace"},
		DataDir:      t.TempDir(),
	}, 3)
	require.NoError(t, err)
	t.Cleanup(cluster.Stop)
	require.NoError(t, cluster.Members[0].RegisterPlugin(t.Context(), pluginName, ""))
	c := &clustered{newMortal(t, cluster.Members...), cluster}
	c.client = patient(c.client)
	c.writeFollower("api/read")

	c.askStandbys(counters.Open(t, "Cluster", "requests to a standby"))
	c.succeed(counters.Open(t, "Cluster", "changes seen by the next leader"))
	c.liveThrough("Cluster", "", c.ways())
}

// writeFollower writes a role for tokens that uses the secret of a static role.
func (w *world) writeFollower(scope string) {
	w.Helper()
	w.write("roles/follower", map[string]any{"static_role": "client", "cognito_pool_domain": w.Seed.Domain, "scopes": scope})
}

// patient makes a client wait while there is no leader, as Vault's clients do
// unless told otherwise: a busy machine may have an election that nobody asked for.
func patient(client *api.Client) *api.Client {
	client.SetMaxRetries(50)
	client.SetMinRetryWait(100 * time.Millisecond)
	client.SetMaxRetryWait(time.Second)
	return client
}

// askStandbys does everything through servers that are not active.
func (c *clustered) askStandbys(count *counters.Counter) {
	c.Helper()
	standbys := c.cluster.Standbys(c.Context())
	require.Len(c, standbys, 2)
	for n, standby := range standbys {
		pids, err := standby.PluginPIDs(pluginName)
		require.NoError(c, err)
		require.Empty(c, pids, "only the active one runs the plugin")

		w := c.at(standby)
		role := fmt.Sprintf("by-standby-%d", n)
		w.writeRole(role, nil)
		secret := w.read("creds/" + role)
		require.Len(c, c.strangers(), 1)
		w.revoke(secret.LeaseID)
		require.Empty(c, c.strangers())
		require.Equal(c, "api/read", w.read("creds/follower").Data["scope"])
		w.write("rotate-role/ann", nil)
		require.True(c, w.handsOutWhatWorks("ann"))
		out, err := standby.CLI(c.Context(), "read", "-field=username", c.mount+"/static-creds/ann")
		require.NoError(c, err)
		require.Equal(c, "ann", out)
		count.Tried(7)
	}
}

// succeed changes everything on one leader and looks at it on the next.
func (c *clustered) succeed(count *counters.Counter) {
	c.Helper()
	leader, err := c.cluster.Leader(c.Context())
	require.NoError(c, err)
	for term := range terms {
		word := c.at(leader).change(term)
		leader, err = c.cluster.StepDown(c.Context())
		require.NoError(c, err)
		c.at(leader).expect(word)
		count.Tried(7)
	}
	require.NoError(c, c.cluster.Ready(c.Context()))
	c.configure(map[string]any{"request_timeout": "10s"})
}

// at is the world as one server shows it.
func (c *clustered) at(server *sandbox.Server) *world {
	w := *c.world
	w.vault, w.client = server.Vault, patient(server.Client())
	return &w
}

// lastWord is what a leader left behind.
type lastWord struct {
	accessKey, group, scope string
	password, secret        string
	lease                   *api.Secret
}

// change writes the config, the roles and the values of static roles, and uses
// them all, so that the leader has them in its memory.
func (w *world) change(term int) lastWord {
	w.Helper()
	word := lastWord{
		accessKey: fmt.Sprintf("AKIATERM%d", term),
		group:     []string{"testers", "admins"}[term%2],
		scope:     []string{"api/write", "api/read"}[term%2],
	}
	w.expectToWork() // by the old values, which are in memory then
	w.configure(map[string]any{"aws_access_key_id": word.accessKey, "request_timeout": "10s"})
	w.writeRole("ci", map[string]any{"groups": word.group})
	w.writeFollower(word.scope)
	w.write("rotate-role/ann", nil)
	w.write("rotate-role/client", nil)
	word.password = w.read("static-creds/ann").Data["password"].(string)
	word.secret = w.read("static-creds/client").Data["app_client_secret"].(string)
	word.lease = w.expectToWork()
	return word
}

// expectToWork asks for one of everything and gives the user's lease.
func (w *world) expectToWork() *api.Secret {
	w.Helper()
	w.read("creds/follower")
	require.True(w, w.handsOutWhatWorks("ann"))
	require.True(w, w.handsOutWhatWorks("client"))
	return w.read("creds/ci")
}

// expect demands that a leader works by the last word of the one before.
func (w *world) expect(word lastWord) {
	w.Helper()
	require.Equal(w, word.password, w.read("static-creds/ann").Data["password"])
	require.Equal(w, word.secret, w.read("static-creds/client").Data["app_client_secret"])
	require.Equal(w, word.scope, w.read("creds/follower").Data["scope"])
	user := w.expectToWork()
	require.Equal(w, []any{word.group}, claimsOf(w.T, user.Data["access_token"])["cognito:groups"])
	calls := w.Calls().Of("AdminCreateUser")
	require.Equal(w, word.accessKey, calls[len(calls)-1].AccessKey)
	w.revoke(user.LeaseID)
	w.revoke(word.lease.LeaseID)
	require.False(w, contains(w.Users(), word.lease.Data["username"].(string)))
}

// ways are those in which a cluster loses one of its servers.
func (c *clustered) ways() []way {
	ctx := c.Context()
	return []way{
		{name: "leader killed", die: func() error {
			leader, err := c.cluster.Leader(ctx)
			if err != nil {
				return err
			}
			leader.Kill()
			_, err = c.cluster.Leader(ctx)
			return errors.Join(err, leader.Restart(ctx), c.cluster.Ready(ctx))
		}},
		{name: "leader stepped down", die: func() error {
			_, err := c.cluster.StepDown(ctx)
			return errors.Join(err, c.cluster.Ready(ctx))
		}},
		{name: "standby killed", die: func() error {
			standbys := c.cluster.Standbys(ctx)
			return errors.Join(standbys[c.random.IntN(len(standbys))].Restart(ctx), c.cluster.Ready(ctx))
		}},
	}
}
