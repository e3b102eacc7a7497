// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package sandbox

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"
)

// stableAfter is how long a new member must be healthy before it may vote. The default is ten
// seconds.
const stableAfter = "1s"

// errNoLeader is returned while no member is active.
var errNoLeader = errors.New("the cluster has no leader")

// Cluster is several servers that share their data: one is active, the others are standbys.
type Cluster struct {
	Members []*Server
}

// StartCluster starts size servers below o.DataDir and returns when each of them has a vote and
// takes writes. ctx bounds the start only.
func StartCluster(ctx context.Context, o ServerOptions, size int) (*Cluster, error) {
	c := &Cluster{}
	for i := range size {
		if err := c.add(ctx, o, i); err != nil {
			c.Stop()
			return nil, fmt.Errorf("member %d of the cluster: %w", i, err)
		}
	}
	if err := c.Members[0].await(ctx, c.allVote); err != nil {
		c.Stop()
		return nil, err
	}
	return c, nil
}

// add starts one more member. The first one starts the cluster that the others join.
func (c *Cluster) add(ctx context.Context, o ServerOptions, i int) error {
	m := member{keyFile: filepath.Join(o.DataDir, "keys.json")}
	if i > 0 {
		m.join = c.Members[0].Addr
	}
	o.DataDir = filepath.Join(o.DataDir, fmt.Sprint(i))
	server, err := startMember(ctx, o, m)
	if err != nil {
		return err
	}
	c.Members = append(c.Members, server)
	if i > 0 {
		return nil
	}
	_, err = server.client.Logical().WriteWithContext(ctx, "sys/storage/raft/autopilot/configuration", map[string]any{
		"server_stabilization_time": stableAfter,
	})
	return err
}

// allVote returns an error while a member has no vote and so could not replace the leader.
func (c *Cluster) allVote(ctx context.Context) error {
	state, err := c.Members[0].client.Sys().RaftAutopilotStateWithContext(ctx)
	if err != nil {
		return err
	}
	if voters := len(state.Voters); voters < len(c.Members) {
		return fmt.Errorf("%d of %d members vote", voters, len(c.Members))
	}
	return nil
}

// Leader waits until a member is active and returns it.
func (c *Cluster) Leader(ctx context.Context) (*Server, error) {
	return c.leaderBut(ctx, nil)
}

// StepDown makes the leader step down and returns the next one.
func (c *Cluster) StepDown(ctx context.Context) (*Server, error) {
	leader, err := c.Leader(ctx)
	if err != nil {
		return nil, err
	}
	if err := leader.StepDown(ctx); err != nil {
		return nil, err
	}
	return c.leaderBut(ctx, leader)
}

// leaderBut waits until a member other than former is active.
func (c *Cluster) leaderBut(ctx context.Context, former *Server) (*Server, error) {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		for _, server := range c.Members {
			if server != former && server.leads(ctx) {
				return server, nil
			}
		}
		select {
		case <-ctx.Done():
			return nil, errNoLeader
		case <-ticker.C:
		}
	}
}

// Ready waits until every member takes writes.
func (c *Cluster) Ready(ctx context.Context) error {
	for _, server := range c.Members {
		if err := server.Ready(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Standbys returns the unsealed members that are not active.
func (c *Cluster) Standbys(ctx context.Context) []*Server {
	var standbys []*Server
	for _, server := range c.Members {
		if health, err := server.health(ctx); err == nil && !health.Sealed && health.Standby {
			standbys = append(standbys, server)
		}
	}
	return standbys
}

// Stop ends all members.
func (c *Cluster) Stop() {
	for _, server := range c.Members {
		server.Stop()
	}
}
