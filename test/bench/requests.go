// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"

	"vault-plugin-secrets-cognito/internal/emulator/control"
)

// kind is a kind of request that is measured.
type kind string

// The kinds, by the role or path that they read.
const (
	kindBuiltIn    kind = "kv"
	kindFloor      kind = "floor"
	kindFloor1K    kind = "floor1k"
	kindFloorLease kind = "floor-lease"
	kindToken      kind = "token"
	kindPassword   kind = "password"
	kindSecret     kind = "secret"
	kindUncached   kind = "uncached"
	kindUser0      kind = "user0"
	kindUser2      kind = "user2"
	kindUser5      kind = "user5"
	kindRevoke     kind = "revoke"
	// The kinds of check-outs, by their library set.
	kindLent     kind = "lent"
	kindLentBare kind = "lent-bare"
	kindDirect   kind = "direct"
)

var (
	// quickKinds are answered from caches, slowKinds need AWS.
	quickKinds = []kind{kindBuiltIn, kindFloor, kindFloor1K, kindToken, kindPassword, kindSecret}
	slowKinds  = []kind{kindUncached, kindDirect, kindUser0, kindUser2, kindUser5}
	// lentKinds are check-outs, which end when no user is free.
	lentKinds = []kind{kindLent, kindLentBare}
	allKinds  = slices.Concat(quickKinds, slowKinds, []kind{kindRevoke, kindFloorLease}, lentKinds)

	titles = map[kind]string{
		kindBuiltIn:    "KV v1, built into Vault",
		kindFloor:      "a plugin that does nothing (the floor)",
		kindFloor1K:    "the same, with an answer as long as a token's",
		kindFloorLease: "a plugin that stores one entry and gives a lease",
		kindToken:      "creds/, a machine token from memory",
		kindPassword:   "static-creds/, a user's password",
		kindSecret:     "static-creds/, an app client's secret",
		kindUncached:   "creds/, a machine token with cache_tokens=false",
		kindDirect:     "a user made by the AWS SDK, without Vault",
		kindUser0:      "creds/, a user without groups",
		kindUser2:      "creds/, a user in 2 groups",
		kindUser5:      "creds/, a user in 5 groups",
		kindRevoke:     "sys/leases/revoke of a user, sync=true",
		kindLent:       "library/…/check-out of a user with tokens",
		kindLentBare:   "library/…/check-out with issue_tokens=false",
	}
)

// crowds lists the numbers of concurrent clients.
var crowds = []int{1, 16}

const (
	quickRounds = 24
	slowRounds  = 2
	// warmUpShare is the part of a slice that precedes it and is not counted: connections and
	// caches fill then.
	warmUpShare = 0.1
)

// subject is one kind of request with one number of clients.
type subject struct {
	kind    kind
	clients int
}

// meter measures requests and holds the results.
type meter struct {
	*setup

	processes processes
	leases    leases
	// direct holds users that were created without the server.
	direct leases
	// lent holds the check-outs that are under way.
	lent      leases
	bySubject map[subject]*samples
}

func measureRequests(ctx context.Context, w *setup, o options) (map[subject]*samples, error) {
	if err := w.setLatency(ctx, o.latency); err != nil {
		return nil, err
	}
	found, err := findProcesses(w)
	if err != nil {
		return nil, err
	}
	m := &meter{setup: w, processes: found, bySubject: map[subject]*samples{}}
	if err := m.rounds(ctx, quickKinds, quickRounds, o.duration/quickRounds, nil); err != nil {
		return nil, err
	}
	slice := o.duration / slowRounds
	after := func() error { return errors.Join(m.revokeAll(ctx, slice), m.lendAll(ctx, slice, o.latency)) }
	return m.bySubject, m.rounds(ctx, slowKinds, slowRounds, slice, after)
}

func (w *setup) setLatency(ctx context.Context, latency time.Duration) error {
	return w.control.SetLatency(ctx, control.Latency{DefaultMS: int(latency.Milliseconds())})
}

// rounds measures all subjects in turn, each round in another order, so that other load affects all
// alike.
func (m *meter) rounds(ctx context.Context, kinds []kind, rounds int, slice time.Duration, after func() error) error {
	for round := range rounds {
		for i := range kinds {
			for _, clients := range crowds {
				if err := m.measure(ctx, subject{kinds[(i+round)%len(kinds)], clients}, slice); err != nil {
					return err
				}
			}
		}
		if after == nil {
			continue
		}
		if err := after(); err != nil {
			return err
		}
	}
	return nil
}

// measure adds one slice to a subject.
func (m *meter) measure(ctx context.Context, s subject, slice time.Duration) error {
	request := m.request(s.kind)
	if s.kind != kindRevoke && s.kind != kindFloorLease && !slices.Contains(lentKinds, s.kind) { // these use up what there is
		warmUp := time.Duration(float64(slice) * warmUpShare)
		if _, _, err := drive(ctx, s.clients, warmUp, request); err != nil {
			return fmt.Errorf("%s: %w", titles[s.kind], err)
		}
	}
	if err := m.control.ResetCalls(ctx); err != nil {
		return err
	}
	before := m.processes.cpu(s.kind)
	took, busy, err := drive(ctx, s.clients, slice, request)
	if err != nil {
		return fmt.Errorf("%s: %w", titles[s.kind], err)
	}
	used := m.processes.cpu(s.kind).since(before)
	calls, err := m.control.Calls(ctx)
	if err != nil {
		return err
	}
	t := m.bySubject[s]
	if t == nil {
		t = &samples{}
		m.bySubject[s] = t
	}
	t.add(took, busy)
	t.calls += len(calls.Calls)
	t.cpu.add(used)
	return nil
}

// request sends one request of a kind and checks that the answer is of that kind.
func (m *meter) request(k kind) func(context.Context) error {
	switch k {
	case kindUser0, kindUser2, kindUser5:
		return func(ctx context.Context) error { return m.issue(ctx, engineMount+"/creds/"+string(k)) }
	case kindRevoke:
		return m.revoke
	case kindLent, kindLentBare:
		return func(ctx context.Context) error { return m.checkOut(ctx, engineMount, k) }
	case kindFloorLease:
		return atMost(setSizes[engineMount], m.client.read(pathOf(k, engineMount)))
	case kindDirect:
		return m.makeDirectly
	default:
		return m.client.read(pathOf(k, engineMount))
	}
}

// pathOf returns the path that a kind reads.
func pathOf(k kind, engine string) string {
	switch k {
	case kindBuiltIn:
		return builtInMount + "/one"
	case kindFloor:
		return floorMount + "/nothing"
	case kindFloor1K:
		return floorMount + "/token"
	case kindFloorLease:
		return floorMount + "/lease"
	case kindPassword, kindSecret:
		return engine + "/static-creds/" + string(k)
	default:
		return engine + "/creds/" + string(k)
	}
}

func (m *meter) issue(ctx context.Context, path string) error {
	user, err := m.client.get(ctx, path)
	if err != nil {
		return err
	}
	if user.LeaseID == "" || user.Data["access_token"] == "" {
		return fmt.Errorf("%s: the answer has no lease or no token", path)
	}
	m.leases.add(user.LeaseID)
	return nil
}

func (m *meter) revoke(ctx context.Context) error {
	id, found := m.leases.take()
	if !found {
		return errNothingLeft
	}
	return m.client.revoke(ctx, id)
}

func (c *vaultClient) revoke(ctx context.Context, lease string) error {
	body, err := json.Marshal(map[string]any{"lease_id": lease, "sync": true})
	if err != nil {
		return err
	}
	return c.do(ctx, http.MethodPut, "sys/leases/revoke", bytes.NewBuffer(body), nil)
}

// revokeAll revokes the leases of a round: some of them by one client, the rest by many.
func (m *meter) revokeAll(ctx context.Context, slice time.Duration) error {
	if err := m.measure(ctx, subject{kindRevoke, crowds[0]}, slice); err != nil {
		return err
	}
	if err := m.measure(ctx, subject{kindRevoke, crowds[1]}, time.Hour); err != nil {
		return err
	}
	if err := m.deleteDirect(ctx); err != nil {
		return err
	}
	users, err := m.control.Users(ctx, m.emulator.Seed.UserPoolID)
	if err != nil {
		return err
	}
	if owned := ownedUsers; len(users) != owned {
		return fmt.Errorf("%d users are in the pool after all leases were revoked, and not the %d that were there before", len(users), owned)
	}
	return nil
}

// makeDirectly creates a user with the three sequential calls that the engine makes.
func (m *meter) makeDirectly(ctx context.Context) error {
	seed := m.emulator.Seed
	username, password := "direct-"+rand.Text(), "Bench-Second-2"
	if err := m.addUser(ctx, username); err != nil {
		return err
	}
	m.direct.add(username)
	_, err := m.cognito.AdminSetUserPassword(ctx, &cip.AdminSetUserPasswordInput{
		UserPoolId: &seed.UserPoolID, Username: &username, Password: &password, Permanent: true,
	})
	if err != nil {
		return err
	}
	_, err = m.cognito.AdminInitiateAuth(ctx, &cip.AdminInitiateAuthInput{
		UserPoolId: &seed.UserPoolID, ClientId: &seed.PublicClientID, AuthFlow: types.AuthFlowTypeAdminUserPasswordAuth,
		AuthParameters: map[string]string{"USERNAME": username, "PASSWORD": password},
	})
	return err
}

func (m *meter) deleteDirect(ctx context.Context) error {
	usernames := m.direct.takeAll()
	return each(ctx, len(usernames), func(ctx context.Context, i int) error {
		_, err := m.cognito.AdminDeleteUser(ctx, &cip.AdminDeleteUserInput{UserPoolId: &m.emulator.Seed.UserPoolID, Username: &usernames[i]})
		return err
	})
}

// leases returns the leases that are not yet revoked.
type leases struct {
	mu  sync.Mutex
	ids []string
}

func (l *leases) add(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ids = append(l.ids, id)
}

func (l *leases) take() (id string, found bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.ids) == 0 {
		return "", false
	}
	last := len(l.ids) - 1
	id, l.ids = l.ids[last], l.ids[:last]
	return id, true
}

func (l *leases) takeAll() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := l.ids
	l.ids = nil
	return all
}

var errNoProcess = errors.New("the process was not found")
