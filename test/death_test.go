// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/counters"
	"vault-plugin-secrets-cognito/internal/emulator/control"
	"vault-plugin-secrets-cognito/internal/sandbox"
)

const (
	// waysOfDeath is how many lines TestDeath counts: six ways with files, seven with raft.
	waysOfDeath = 13

	// briefTTL is all that a lease can get: users whose lease Vault never stored
	// live as long, and a minute more.
	briefTTL = 20 * time.Second

	// restLimit is how long it may take until all is in order again: the lease of
	// a user that nobody heard of ends, and Vault looks once a minute.
	restLimit = 5 * time.Minute

	// hangLimit is longer than Vault lets any request take.
	hangLimit = 100 * time.Second

	// roundsAtOnce is how often it dies before it may rest.
	roundsAtOnce = 30
)

// way is a way to die in the middle of work.
type way struct {
	name string
	// atSignIn is for what does harm only when a user is on its way to its lease.
	atSignIn bool
	// die lets it happen and returns when Vault is back.
	die func() error
}

// TestDeath lets the plugin and Vault die while they create, revoke and rotate.
// Whatever was promised before has to hold afterwards.
func TestDeath(t *testing.T) {
	t.Parallel()
	for storage, raft := range map[string]bool{"file": false, "raft": true} {
		t.Run(storage, func(t *testing.T) {
			t.Parallel()
			server, err := sandbox.StartServer(t.Context(), sandbox.ServerOptions{
				VaultOptions: sandbox.VaultOptions{Binary: binaries.vault, PluginDir: filepath.Dir(binaries.fastPlugin), LogLevel: "trace"},
				DataDir:      t.TempDir(), Raft: raft,
			})
			require.NoError(t, err)
			t.Cleanup(server.Stop)
			require.NoError(t, server.RegisterPlugin(t.Context(), pluginName, ""))
			m := newMortal(t, server)
			m.liveThrough("Death", ", "+storage, m.waysOf(server, raft))
		})
	}
}

func (m *mortal) waysOf(server *sandbox.Server, raft bool) []way {
	ctx := m.Context()
	ways := []way{
		{name: "plugin killed", die: m.killPlugins},
		{name: "Vault killed", die: func() error { return server.Restart(ctx) }},
		{name: "Vault sealed", die: func() error { return errors.Join(m.client.Sys().SealWithContext(ctx), server.Unseal(ctx)) }},
		{name: "plugin reloaded", die: func() error {
			_, err := m.client.Sys().ReloadPluginWithContext(ctx, &api.ReloadPluginInput{Plugin: pluginName})
			return err
		}},
		{name: "clients gone", die: func() error { m.hangUp(); return nil }},
		{name: "clients gone at sign-in", atSignIn: true, die: func() error { m.hangUp(); return nil }},
	}
	if raft {
		ways = append(ways, way{name: "stepped down", die: func() error {
			return errors.Join(server.StepDown(ctx), server.Ready(ctx))
		}})
	}
	return ways
}

// killPlugins kills what runs of the plugin: after the death before there may be
// none, or two, or one that ends just now.
func (m *mortal) killPlugins() error {
	pids, err := m.vault.PluginPIDs(pluginName)
	for _, pid := range pids {
		if failure := syscall.Kill(pid, syscall.SIGKILL); !errors.Is(failure, syscall.ESRCH) {
			err = errors.Join(err, failure)
		}
	}
	return err
}

// mortal is a world that dies again and again, and what its clients were handed.
type mortal struct {
	*world
	seed    uint64
	random  *rand.Rand
	servers []*sandbox.Server
	roots   []*rootMount
	// rotated is the one of this round, or nil.
	rotated *rootMount
	// origin is the line of the table under which a user was seen first.
	origin map[string]*counters.Counter

	// hangUp makes the clients of a round go away.
	hangUp context.CancelFunc

	mu     sync.Mutex
	handed []*handedUser
	sum    map[string]*score
	hung   int
}

// score is how tasks of one way to die ended.
type score struct{ tasks, done int }

// handedUser is one that a client holds.
type handedUser struct {
	leaseID, username, password string
	// until is how long the lease lives at least.
	until time.Time
	// ending is set when a revocation begins, ended when it has succeeded.
	ending, ended bool
}

// rootMount is a mount with an IAM user of its own: after a rotation that died
// there can be no other before the roll-back.
type rootMount struct {
	*world
	user string
}

// newMortal needs a Vault with the plugin registered, of one server or more.
func newMortal(t *testing.T, servers ...*sandbox.Server) *mortal {
	t.Helper()
	seed := rand.Uint64()
	if text := os.Getenv("RELIABILITY_SEED"); text != "" {
		var err error
		seed, err = strconv.ParseUint(text, 10, 64)
		require.NoError(t, err)
	}
	t.Logf("RELIABILITY_SEED=%d", seed)
	m := &mortal{
		world: newWorldIn(t, servers[0].Vault), servers: servers, seed: seed, random: rand.New(rand.NewPCG(seed, 0)),
		origin: map[string]*counters.Counter{}, sum: map[string]*score{},
	}
	for _, server := range servers[1:] {
		watched(t, server.Vault)
	}
	m.configure(map[string]any{"request_timeout": "10s"})
	m.writeRole("brief", map[string]any{"ttl": briefTTL.String(), "max_ttl": briefTTL.String()})
	m.addUser("ann")
	m.ownPassword("ann", "ann")
	m.addUser("bob")
	m.ownItself("bob", "bob", "hush-First-1")
	m.ownSecret("client")
	return m
}

// rounds is how often each way is tried.
func (m *mortal) rounds() int {
	total := waysOfDeath
	if text := os.Getenv("RELIABILITY_ROUNDS"); text != "" {
		var err error
		total, err = strconv.Atoi(text)
		require.NoError(m, err)
	}
	return (total + waysOfDeath - 1) / waysOfDeath
}

// liveThrough dies in all ways, in an order of chance.
func (m *mortal) liveThrough(suite, where string, ways []way) {
	m.Helper()
	counts := make([]*counters.Counter, len(ways))
	var deck []int
	for i, way := range ways {
		counts[i] = counters.Open(m, suite, way.name+where)
		counts[i].Note(fmt.Sprintf("seed %d", m.seed))
		for range m.rounds() {
			deck = append(deck, i)
		}
	}
	m.random.Shuffle(len(deck), func(i, j int) { deck[i], deck[j] = deck[j], deck[i] })
	for n, i := range deck {
		if !m.round(counts[i], ways[i]) {
			break // what comes after tells nothing
		}
		if (n+1)%roundsAtOnce == 0 || n == len(deck)-1 {
			m.rest(counts)
		}
	}
	for i, way := range ways {
		if sum := m.sum[way.name]; sum != nil {
			counts[i].Note(fmt.Sprintf("%d of %d tasks cut short", sum.tasks-sum.done, sum.tasks))
		}
	}
	m.lookThroughLogs(counts[0])
}

// task is a piece of work that a death may interrupt.
type task func(context.Context, *api.Client) error

// round begins some work, dies in the middle, and sees what is left. It
// reports whether Vault came back.
func (m *mortal) round(count *counters.Counter, way way) bool {
	m.Helper()
	count.Tried(1)
	tasks := m.plan()
	when := m.chooseMoment(len(tasks), way.atSignIn)
	require.NoError(m, m.Control.SetLatency(m.Context(), control.Latency{DefaultMS: m.random.IntN(30)}))
	require.NoError(m, m.Control.ResetCalls(m.Context()))
	done := m.begin(tasks, way.name)
	m.await(when, done)
	if err := errors.Join(way.die(), m.awaitPlugin()); err != nil {
		count.Lost(counters.Panics, 1)
		count.Note(err.Error())
		return false
	}
	<-done
	require.NoError(m, m.Control.SetLatency(m.Context(), control.Latency{}))
	m.check(count, way.name)
	return true
}

// plan chooses what is under way when death comes.
func (m *mortal) plan() []task {
	tasks := []task{}
	for range 1 + m.random.IntN(3) {
		tasks = append(tasks, m.create)
	}
	for _, user := range m.living() {
		if m.random.IntN(4) == 0 {
			user.ending = true
			tasks = append(tasks, func(ctx context.Context, client *api.Client) error { return m.end(ctx, client, user) })
		}
	}
	for _, role := range []string{"ann", "bob", "client"} {
		if m.random.IntN(2) == 0 {
			tasks = append(tasks, writing(m.mount+"/rotate-role/"+role))
		}
	}
	m.rotated = nil
	if m.random.IntN(2) == 0 {
		m.rotated = m.freeRoot()
		tasks = append(tasks, writing(m.rotated.mount+"/config/rotate-root"))
	}
	return tasks
}

func writing(path string) task {
	return func(ctx context.Context, client *api.Client) error {
		_, err := client.Logical().WriteWithContext(ctx, path, nil)
		return err
	}
}

func (m *mortal) create(ctx context.Context, client *api.Client) error {
	asked := time.Now()
	secret, err := client.Logical().ReadWithContext(ctx, m.mount+"/creds/brief")
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.handed = append(m.handed, &handedUser{
		leaseID: secret.LeaseID, username: secret.Data["username"].(string), password: secret.Data["password"].(string), until: asked.Add(briefTTL),
	})
	return nil
}

func (m *mortal) end(ctx context.Context, client *api.Client, user *handedUser) error {
	_, err := client.Logical().WriteWithContext(ctx, "sys/leases/revoke", map[string]any{"lease_id": user.leaseID, "sync": true})
	m.mu.Lock()
	defer m.mu.Unlock()
	user.ended = err == nil
	return err
}

// living are the users whose lease nobody has asked to end.
func (m *mortal) living() []*handedUser {
	m.mu.Lock()
	defer m.mu.Unlock()
	var living []*handedUser
	for _, user := range m.handed {
		if !user.ending && time.Now().Before(user.until) {
			living = append(living, user)
		}
	}
	return living
}

// begin does all tasks at once. The channel is closed when none is left.
func (m *mortal) begin(tasks []task, how string) <-chan struct{} {
	if m.sum[how] == nil {
		m.sum[how] = &score{}
	}
	sum := m.sum[how]
	ctx, hangUp := context.WithCancel(m.Context())
	m.hangUp = hangUp
	var group sync.WaitGroup
	for _, task := range tasks {
		sum.tasks++
		client := m.servers[m.random.IntN(len(m.servers))].Client()
		group.Go(func() { m.try(ctx, client, task, sum) })
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer hangUp()
		group.Wait()
	}()
	return done
}

func (m *mortal) try(ctx context.Context, client *api.Client, task task, sum *score) {
	ctx, cancel := context.WithTimeout(ctx, hangLimit)
	defer cancel()
	err := task(ctx, client)
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case err == nil:
		sum.done++
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		m.hung++
	}
}

// moment is when to die.
type moment struct {
	// calls to AWS have begun, or, when it is signIns, that many users signed in:
	// then Vault is about to store their lease.
	calls   int
	signIns bool
	// pause comes after that.
	pause time.Duration
}

func (m *mortal) chooseMoment(tasks int, atSignIn bool) moment {
	if atSignIn || m.random.IntN(3) == 0 {
		return moment{calls: 1 + m.random.IntN(2), signIns: true, pause: time.Duration(m.random.IntN(6000)) * time.Microsecond}
	}
	return moment{calls: m.random.IntN(5 * tasks), pause: time.Duration(m.random.IntN(20)) * time.Millisecond}
}

// await waits for a moment, or for all to be done.
func (m *mortal) await(when moment, done <-chan struct{}) {
	m.Helper()
	for m.progress(when.signIns) < when.calls {
		select {
		case <-done:
			return
		case <-time.After(time.Millisecond):
		}
	}
	<-time.After(when.pause)
}

func (m *mortal) progress(signIns bool) int {
	m.Helper()
	log := m.Calls()
	if !signIns {
		return len(log.Calls)
	}
	answered := 0
	for _, call := range log.Of("AdminInitiateAuth") {
		if call.End != 0 && strings.HasPrefix(call.Resource, "vault-brief-") {
			answered++
		}
	}
	return answered
}

// awaitPlugin waits until requests reach the plugin again, through each server.
func (m *mortal) awaitPlugin() error {
	for _, server := range m.servers {
		if err := awaitPlugin(m.Context(), server.Client(), m.mount); err != nil {
			return err
		}
	}
	return nil
}

// check holds Vault to what it said: who holds a lease signs in, who was
// revoked does not, and what a static role hands out works. Then life goes on.
func (m *mortal) check(count *counters.Counter, how string) {
	m.Helper()
	users := m.Users()
	for _, user := range users {
		if m.origin[user.Username] == nil {
			m.origin[user.Username] = count
		}
	}
	for _, user := range m.handed {
		if user.ended && contains(users, user.username) {
			m.lose(count, counters.UsersLeft, "%s: user %s outlived its revocation", how, user.username)
		}
	}
	for _, user := range m.living() {
		if !m.passwordWorks(user.username, user.password) && time.Now().Before(user.until) {
			m.lose(count, counters.LeasesStuck, "%s: user %s is gone before its time", how, user.username)
		}
	}
	m.checkStatic(count, how)
	if m.rotated != nil {
		m.checkRoot(count, how, m.rotated)
	}
	count.Lost(counters.Panics, m.hung)
	m.hung = 0
	require.NoError(m, m.create(m.Context(), m.client), "after: %s", how)
}

func (m *mortal) lose(count *counters.Counter, loss counters.Loss, format string, args ...any) {
	m.Logf(format, args...)
	count.Lost(loss, 1)
}

func (m *mortal) checkStatic(count *counters.Counter, how string) {
	m.Helper()
	for _, role := range []string{"ann", "bob", "client"} {
		if !m.handsOutWhatWorks(role) {
			m.lose(count, counters.PasswordsLost, "%s: static-creds/%s hands out what Cognito refuses; it says: %v", how, role, m.read("static-roles/"+role).Data)
		}
	}
}

// checkRoot demands that the key in the config is one that AWS takes.
func (m *mortal) checkRoot(count *counters.Counter, how string, root *rootMount) {
	m.Helper()
	secret, err := root.tryRead("creds/ci")
	if err != nil {
		m.lose(count, counters.PasswordsLost, "%s: the root key does not work: %v", how, err)
		return
	}
	root.revoke(secret.LeaseID)
}

// freeRoot is a mount whose root key can be rotated.
func (m *mortal) freeRoot() *rootMount {
	m.Helper()
	for _, root := range m.roots {
		if len(m.keysOf(root)) == 1 {
			return root
		}
	}
	w := *m.world
	root := &rootMount{&w, fmt.Sprintf("vault-%d", len(m.roots))}
	w.mount = fmt.Sprintf("%s-root-%d", m.mount, len(m.roots))
	require.NoError(m, w.client.Sys().MountWithContext(m.Context(), w.mount, &api.MountInput{Type: pluginName}))
	key := fmt.Sprintf("AKIAROOT%d", len(m.roots))
	w.PlantKey(root.user, key, secretKey)
	w.configure(map[string]any{"aws_access_key_id": key, "iam_endpoint": w.Seed.Domain, "request_timeout": "10s"})
	w.writeRole("ci", nil)
	m.roots = append(m.roots, root)
	return root
}

func (m *mortal) keysOf(root *rootMount) []string {
	m.Helper()
	var ids []string
	for _, key := range m.Keys() {
		if key.User == root.user {
			ids = append(ids, key.ID)
		}
	}
	return ids
}

// rest revokes all leases and waits until Vault has cleaned up after all those
// deaths: nobody but the owned users is left, and every IAM user has one key.
func (m *mortal) rest(counts []*counters.Counter) {
	m.Helper()
	_, err := m.client.Logical().WriteWithContext(m.Context(), "sys/leases/revoke-prefix/"+m.mount, map[string]any{"sync": true})
	require.NoError(m, err)
	m.handed = nil
	settled := func() bool { return len(m.strangers()) == 0 && len(m.rootsInDoubt()) == 0 }
	for end := time.Now().Add(restLimit); !settled() && time.Now().Before(end); {
		<-time.After(200 * time.Millisecond)
	}
	for _, user := range m.strangers() {
		m.lose(m.origin[user.Username], counters.UsersLeft, "user %s is left", user.Username)
	}
	for _, root := range m.rootsInDoubt() {
		m.lose(counts[0], counters.PasswordsLost, "%s still has the keys %v", root.user, m.keysOf(root))
	}
	counts[0].Lost(counters.LeasesStuck, m.irrevocable())
	for _, role := range []string{"ann", "bob", "client"} {
		m.write("rotate-role/"+role, nil)
	}
	m.checkStatic(counts[0], "after the rest")
	for _, root := range m.roots {
		m.checkRoot(counts[0], "after the rest", root)
	}
}

// strangers are the users that nobody owns.
func (m *mortal) strangers() []control.User {
	m.Helper()
	var strangers []control.User
	for _, user := range m.Users() {
		if user.Username != "ann" && user.Username != "bob" {
			strangers = append(strangers, user)
		}
	}
	return strangers
}

func (m *mortal) rootsInDoubt() []*rootMount {
	m.Helper()
	var inDoubt []*rootMount
	for _, root := range m.roots {
		if keys := m.keysOf(root); len(keys) != 1 || root.read("config").Data["aws_access_key_id"] != keys[0] {
			inDoubt = append(inDoubt, root)
		}
	}
	return inDoubt
}

// irrevocable is how many leases Vault has given up on.
func (m *mortal) irrevocable() int {
	m.Helper()
	answer, err := m.client.Logical().ReadWithDataWithContext(m.Context(), "sys/leases/count", url.Values{"type": {"irrevocable"}})
	require.NoError(m, err)
	n, err := strconv.Atoi(fmt.Sprint(answer.Data["lease_count"]))
	require.NoError(m, err)
	return n
}

func (m *mortal) lookThroughLogs(count *counters.Counter) {
	m.Helper()
	for _, server := range m.servers {
		for _, word := range []string{"panic:", "fatal error:"} {
			if at := strings.Index(server.LogText(), word); at >= 0 {
				m.lose(count, counters.Panics, "the log says: %s", server.LogText()[at:min(at+2000, len(server.LogText()))])
			}
		}
	}
}
