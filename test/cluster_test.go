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
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/counters"
	"vault-plugin-secrets-cognito/internal/sandbox"
)

// terms is the number of leaders that follow each other. One of three members leads twice, and must
// not use what it cached the first time.
const terms = 4

// clusterEnv is an env on several servers of which one is active.
type clusterEnv struct {
	*env
	cluster *sandbox.Cluster
}

// TestCluster runs three servers that share their data. On Vault's community edition only the
// active one runs the plugin. On OpenBao the standbys run it, too, and forward what writes.
func TestCluster(t *testing.T) {
	t.Parallel()
	cluster, err := sandbox.StartCluster(t.Context(), sandbox.ServerOptions{
		VaultOptions: sandbox.VaultOptions{Binary: binaries.vault, PluginDir: filepath.Dir(binaries.fastPlugin), LogLevel: "trace"},
		DataDir:      t.TempDir(),
	}, 3)
	require.NoError(t, err)
	t.Cleanup(cluster.Stop)
	require.NoError(t, cluster.Members[0].RegisterPlugin(t.Context(), pluginName, ""))
	crashes := newCrashEnv(t, cluster.Members...)
	crashes.client = patient(crashes.client)
	c := &clusterEnv{crashes.env, cluster}
	c.writeFollower("api/read")

	c.checkStandbys(counters.Open(t, "Cluster", "requests to a standby"))
	c.checkTerms(counters.Open(t, "Cluster", "changes seen by the next leader"))
	c.checkLibraryAfterFailOver()
	crashes.runAll("Cluster", c.modes(crashes))
}

// writeFollower writes a role for tokens that uses the secret of a static role.
func (e *env) writeFollower(scope string) {
	e.Helper()
	e.write("roles/follower", map[string]any{"static_role": "client", "cognito_pool_domain": e.Seed.Domain, "scopes": scope})
}

// patient makes a client retry while there is no leader, as clients do by default: a busy machine
// may elect a new leader at any time.
func patient(client *api.Client) *api.Client {
	client.SetMaxRetries(50)
	client.SetMinRetryWait(100 * time.Millisecond)
	client.SetMaxRetryWait(time.Second)
	return client
}

// checkStandbys mounts the engine through each server that is not active, and sends a request to
// every path of it through the same server.
func (c *clusterEnv) checkStandbys(count *counters.Counter) {
	c.Helper()
	standbys := c.cluster.Standbys(c.Context())
	require.Len(c, standbys, 2)
	for _, standby := range standbys {
		e := newEnvOn(c.T, standby.Vault)
		e.client = patient(e.client)
		count.Tried(e.requestEveryPath())
		out, err := standby.CLI(c.Context(), "read", "-field=scope", e.mount+"/creds/machine")
		require.NoError(c, err)
		require.Equal(c, "api/read", out)

		pids, err := standby.PluginPIDs(pluginName)
		require.NoError(c, err)
		require.Equal(c, standby.Product().StandbysRunPlugins(), len(pids) > 0, "plugin processes of a standby: %v", pids)
	}
}

// checkTerms changes everything on one leader and checks it on the next.
func (c *clusterEnv) checkTerms(count *counters.Counter) {
	c.Helper()
	leader, err := c.cluster.Leader(c.Context())
	require.NoError(c, err)
	for term := range terms {
		state := c.at(leader).change(term)
		for _, standby := range c.cluster.Standbys(c.Context()) {
			c.at(standby).expectSoon(state)
			count.Tried(4)
		}
		leader, err = c.cluster.StepDown(c.Context())
		require.NoError(c, err)
		c.at(leader).expect(state)
		count.Tried(7)
	}
	require.NoError(c, c.cluster.Ready(c.Context()))
	c.configure(map[string]any{"request_timeout": "10s"})
	c.checkStandbyMetrics()
}

// checkStandbyMetrics reads the metrics of standbys that run the plugin. Those that were active had
// gauges, which would no longer be true, and alerts would go by them.
func (c *clusterEnv) checkStandbyMetrics() {
	c.Helper()
	for _, standby := range c.cluster.Standbys(c.Context()) {
		if !standby.Product().StandbysRunPlugins() {
			continue
		}
		metrics := c.at(standby).read("metrics").Data
		require.Contains(c, metrics, "start_timestamp_seconds")
		for _, gauge := range []string{"last_tick_timestamp_seconds", "living_objects", "records_due", "rotated_objects", "rotations_overdue", "library_users"} {
			require.NotContains(c, metrics, gauge)
		}
	}
}

// checkLibraryAfterFailOver requires that the next leader lends what is free, and resets nothing:
// its gap of seconds is no restored snapshot.
func (c *clusterEnv) checkLibraryAfterFailOver() {
	c.Helper()
	resets := c.passwordCalls("vault-brief-")
	require.NotZero(c, resets)
	leader, err := c.cluster.StepDown(c.Context())
	require.NoError(c, err)
	next := c.at(leader)
	for range crashLibrarySize {
		require.True(c, next.holds(next.checkOut(next.client, map[string]any{"wait": 10})))
	}
	require.Equal(c, resets, c.passwordCalls("vault-brief-"))
	require.NoError(c, c.cluster.Ready(c.Context()))
	for name := range next.read(libraryStatus).Data["users"].(map[string]any) {
		next.write(manageCheckIn, map[string]any{"usernames": name})
	}
	next.awaitFree(crashLibrarySize)
}

// at returns the env as seen through one server.
func (c *clusterEnv) at(server *sandbox.Server) *env {
	e := *c.env
	e.vault, e.client = server.Vault, patient(server.Client())
	return &e
}

// termState is what a leader stored.
type termState struct {
	accessKey, group, scope string
	password, secret        string
	lease                   *api.Secret
}

// change writes the config, the roles and the values of static roles, and uses all of them, so that
// the leader has them in its caches.
func (e *env) change(term int) termState {
	e.Helper()
	state := termState{
		accessKey: fmt.Sprintf("AKIATERM%d", term),
		group:     []string{"testers", "admins"}[term%2],
		scope:     []string{"api/write", "api/read"}[term%2],
	}
	e.requireAllWork() // and so the old values are cached
	e.configure(map[string]any{"aws_access_key_id": state.accessKey, "request_timeout": "10s"})
	e.writeRole("ci", map[string]any{"groups": state.group})
	e.writeFollower(state.scope)
	e.write("rotate-role/ann", nil)
	e.write("rotate-role/client", nil)
	state.password = e.read("static-creds/ann").Data["password"].(string)
	state.secret = e.read("static-creds/client").Data["app_client_secret"].(string)
	state.lease = e.requireAllWork()
	return state
}

// requireAllWork reads one of everything and returns the lease of a user.
func (e *env) requireAllWork() *api.Secret {
	e.Helper()
	e.read("creds/follower")
	require.True(e, e.staticCredsWork("ann"))
	require.True(e, e.staticCredsWork("client"))
	return e.read("creds/ci")
}

// expectSoon checks that a standby soon returns what the leader stored, and not what it has cached.
func (e *env) expectSoon(state termState) {
	e.Helper()
	require.EventuallyWithT(e, func(c *assert.CollectT) {
		for path, want := range map[string]map[string]any{
			"static-creds/ann":    {"password": state.password},
			"static-creds/client": {"app_client_secret": state.secret},
			"creds/follower":      {"scope": state.scope},
			"roles/ci":            {"groups": []any{state.group}},
		} {
			secret, err := e.tryRead(path)
			if assert.NoError(c, err, path) {
				for field, value := range want {
					assert.Equal(c, value, secret.Data[field], path)
				}
			}
		}
	}, staleLimit, 20*time.Millisecond)
}

// expect checks that a leader uses what the previous one stored.
func (e *env) expect(state termState) {
	e.Helper()
	require.Equal(e, state.password, e.read("static-creds/ann").Data["password"])
	require.Equal(e, state.secret, e.read("static-creds/client").Data["app_client_secret"])
	require.Equal(e, state.scope, e.read("creds/follower").Data["scope"])
	user := e.requireAllWork()
	require.Equal(e, []any{state.group}, claimsOf(e.T, user.Data["access_token"])["cognito:groups"])
	calls := e.Calls().Of("AdminCreateUser")
	require.Equal(e, state.accessKey, calls[len(calls)-1].AccessKey)
	e.revoke(user.LeaseID)
	e.revoke(state.lease.LeaseID)
	require.False(e, containsUser(e.Users(), state.lease.Data["username"].(string)))
}

// modes returns the ways in which the cluster loses one of its members.
func (c *clusterEnv) modes(crashes *crashEnv) []crashMode {
	ctx := c.Context()
	return []crashMode{
		{name: "leader killed", crash: func() error {
			leader, err := c.cluster.Leader(ctx)
			if err != nil {
				return err
			}
			leader.Kill()
			_, err = c.cluster.Leader(ctx)
			return errors.Join(err, leader.Restart(ctx), c.cluster.Ready(ctx))
		}},
		{name: "leader stepped down", crash: func() error {
			_, err := c.cluster.StepDown(ctx)
			return errors.Join(err, c.cluster.Ready(ctx))
		}},
		{name: "standby killed", crash: func() error {
			standbys := c.cluster.Standbys(ctx)
			return errors.Join(standbys[crashes.random.IntN(len(standbys))].Restart(ctx), c.cluster.Ready(ctx))
		}},
	}
}
