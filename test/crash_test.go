// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
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
	// crashModes is the number of ways in which TestCrashes ends something.
	crashModes = 7

	// briefTTL is the longest life of a lease: a user whose lease was never stored lives as long,
	// and one minute more.
	briefTTL = 20 * time.Second

	// settleLimit is how long it may take to clean up: the lease of a user that no client received
	// has to expire, and the engine looks once a minute.
	settleLimit = 5 * time.Minute

	// hangLimit is longer than the server lets any request take.
	hangLimit = 100 * time.Second

	// crashLibrarySize is the number of users that are lent out.
	crashLibrarySize = 3

	// roundsAtOnce is the number of crashes before everything is cleaned up and checked.
	roundsAtOnce = 30
)

// crashMode is one way to end something in the middle of work.
type crashMode struct {
	name string
	// atSignIn is set for a mode that only matters while a user is signed in before its lease is
	// stored.
	atSignIn bool
	// crash ends something and returns when the server is back.
	crash func() error
}

// TestCrashes ends the plugin and the server while they create, revoke and rotate. What clients
// were saw before must hold afterwards.
func TestCrashes(t *testing.T) {
	t.Parallel()
	server := startServer(t, sandbox.VaultOptions{PluginDir: filepath.Dir(binaries.fastPlugin), LogLevel: "trace"})
	c := newCrashEnv(t, server)
	c.runAll("Crashes", c.modes(server))
}

func (c *crashEnv) modes(server *sandbox.Server) []crashMode {
	ctx := c.Context()
	return []crashMode{
		{name: "plugin killed", crash: c.killPlugins},
		{name: "server killed", crash: func() error { return server.Restart(ctx) }},
		{name: "server sealed", crash: func() error { return errors.Join(c.client.Sys().SealWithContext(ctx), server.Unseal(ctx)) }},
		{name: "server stepped down", crash: func() error { return errors.Join(server.StepDown(ctx), server.Ready(ctx)) }},
		{name: "plugin reloaded", crash: func() error {
			_, err := c.client.Sys().ReloadPluginWithContext(ctx, &api.ReloadPluginInput{Plugin: pluginName})
			return err
		}},
		{name: "clients disconnected", crash: func() error { c.disconnect(); return nil }},
		{name: "clients disconnected at sign-in", atSignIn: true, crash: func() error { c.disconnect(); return nil }},
	}
}

// killPlugins kills all processes of the plugin. After another crash there may be none, two, or one
// that is just ending.
func (c *crashEnv) killPlugins() error {
	pids, err := c.vault.PluginPIDs(pluginName)
	for _, pid := range pids {
		if failure := syscall.Kill(pid, syscall.SIGKILL); !errors.Is(failure, syscall.ESRCH) {
			err = errors.Join(err, failure)
		}
	}
	return err
}

type crashEnv struct {
	*env
	seed    uint64
	random  *rand.Rand
	servers []*sandbox.Server
	roots   []*rootMount
	// rotated is the mount whose root key this round rotates, or nil.
	rotated *rootMount
	// origin maps a user to the counter of the round in which it was first seen.
	origin map[string]*counters.Counter

	// disconnect cancels the requests of this round.
	disconnect context.CancelFunc

	mu     sync.Mutex
	issued []*issuedUser
	sums   map[string]*taskSum
	hung   int
}

// taskSum counts the tasks of one crash mode and how many of them succeeded.
type taskSum struct{ tasks, done int }

// issuedUser is a user that a client received.
type issuedUser struct {
	leaseID, username, password string
	// until is the earliest time at which the lease can expire.
	until time.Time
	// ending is set when a revocation starts, ended when it has succeeded.
	ending, ended bool
	// lent is set for a user of a library set, which stays when its lease has ended.
	lent bool
}

// rootMount is a mount with its own IAM user: after a rotation that crashed, its key cannot be
// rotated again before the roll-back.
type rootMount struct {
	*env
	user string
}

// newCrashEnv sets up a mount on one or more servers that have the plugin registered.
func newCrashEnv(t *testing.T, servers ...*sandbox.Server) *crashEnv {
	t.Helper()
	seed := rand.Uint64()
	if text := os.Getenv("RELIABILITY_SEED"); text != "" {
		var err error
		seed, err = strconv.ParseUint(text, 10, 64)
		require.NoError(t, err)
	}
	t.Logf("RELIABILITY_SEED=%d", seed)
	c := &crashEnv{
		env: newEnvOn(t, servers[0].Vault), servers: servers, seed: seed, random: rand.New(rand.NewPCG(seed, 0)),
		origin: map[string]*counters.Counter{}, sums: map[string]*taskSum{},
	}
	for _, server := range servers[1:] {
		watchLeaks(t, server.Vault)
	}
	c.configure(map[string]any{"request_timeout": "10s"})
	c.writeRole("brief", map[string]any{"ttl": briefTTL.String(), "max_ttl": briefTTL.String()})
	c.write("library/e2e", map[string]any{"role": "brief", "size": crashLibrarySize})
	c.awaitFree(crashLibrarySize)
	c.addUser("ann")
	c.ownPassword("ann", "ann")
	c.addUser("bob")
	c.ownPasswordSelfManaged("bob", "bob", "hush-First-1")
	c.ownSecret("client")
	return c
}

// rounds returns how often each mode is tried.
func (c *crashEnv) rounds() int {
	total := crashModes
	if text := os.Getenv("RELIABILITY_ROUNDS"); text != "" {
		var err error
		total, err = strconv.Atoi(text)
		require.NoError(c, err)
	}
	return (total + crashModes - 1) / crashModes
}

// runAll runs all modes in random order, each as often as rounds says.
func (c *crashEnv) runAll(suite string, modes []crashMode) {
	c.Helper()
	counts := make([]*counters.Counter, len(modes))
	var deck []int
	for i, mode := range modes {
		counts[i] = counters.Open(c, suite, mode.name)
		counts[i].Note(fmt.Sprintf("seed %d", c.seed))
		for range c.rounds() {
			deck = append(deck, i)
		}
	}
	c.random.Shuffle(len(deck), func(i, j int) { deck[i], deck[j] = deck[j], deck[i] })
	for n, i := range deck {
		if !c.round(counts[i], modes[i]) {
			break // later rounds would only fail, too
		}
		if (n+1)%roundsAtOnce == 0 || n == len(deck)-1 {
			c.settle(counts)
		}
	}
	for i, mode := range modes {
		if sum := c.sums[mode.name]; sum != nil {
			counts[i].Note(fmt.Sprintf("%d of %d tasks interrupted", sum.tasks-sum.done, sum.tasks))
		}
	}
	c.checkLogs(counts[0])
}

// task is a request that a crash may interrupt.
type task func(context.Context, *api.Client) error

// round starts some tasks, crashes in the middle, and checks the result. It reports whether the
// server came back.
func (c *crashEnv) round(count *counters.Counter, mode crashMode) bool {
	c.Helper()
	count.Tried(1)
	tasks := c.plan()
	when := c.chooseMoment(len(tasks), mode.atSignIn)
	require.NoError(c, c.Control.SetLatency(c.Context(), control.Latency{DefaultMS: c.random.IntN(30)}))
	require.NoError(c, c.Control.ResetCalls(c.Context()))
	done := c.begin(tasks, mode.name)
	c.await(when, done)
	if err := errors.Join(mode.crash(), c.awaitPlugin()); err != nil {
		count.Lost(counters.Panics, 1)
		count.Note(err.Error())
		return false
	}
	<-done
	require.NoError(c, c.Control.SetLatency(c.Context(), control.Latency{}))
	c.checkInvariants(count, mode.name)
	return true
}

// plan chooses the tasks that the crash interrupts.
func (c *crashEnv) plan() []task {
	tasks := []task{}
	for range 1 + c.random.IntN(3) {
		tasks = append(tasks, c.create)
	}
	for range 1 + c.random.IntN(2) {
		tasks = append(tasks, c.borrow)
	}
	for _, user := range c.living() {
		if c.random.IntN(4) == 0 {
			user.ending = true
			tasks = append(tasks, func(ctx context.Context, client *api.Client) error { return c.revokeUser(ctx, client, user) })
		}
	}
	for _, role := range []string{"ann", "bob", "client"} {
		if c.random.IntN(2) == 0 {
			tasks = append(tasks, writeTask(c.mount+"/rotate-role/"+role))
		}
	}
	c.rotated = nil
	if c.random.IntN(2) == 0 {
		c.rotated = c.freeRoot()
		tasks = append(tasks, writeTask(c.rotated.mount+"/config/rotate-root"))
	}
	return tasks
}

func writeTask(path string) task {
	return func(ctx context.Context, client *api.Client) error {
		_, err := client.Logical().WriteWithContext(ctx, path, nil)
		return err
	}
}

func (c *crashEnv) create(ctx context.Context, client *api.Client) error {
	asked := time.Now()
	secret, err := client.Logical().ReadWithContext(ctx, c.mount+"/creds/brief")
	if err != nil {
		return err
	}
	c.remember(&issuedUser{leaseID: secret.LeaseID, username: nameIn(secret), password: passwordIn(secret), until: asked.Add(briefTTL)})
	return nil
}

// borrow checks out a user of a library set, if one is free.
func (c *crashEnv) borrow(ctx context.Context, client *api.Client) error {
	asked := time.Now()
	secret, err := client.Logical().WriteWithContext(ctx, c.mount+"/"+checkOutPath, nil)
	var refused *api.ResponseError
	if errors.As(err, &refused) && refused.StatusCode == http.StatusConflict {
		return nil
	}
	if err != nil {
		return err
	}
	c.remember(&issuedUser{leaseID: secret.LeaseID, username: nameIn(secret), password: passwordIn(secret), until: asked.Add(briefTTL), lent: true})
	return nil
}

func (c *crashEnv) remember(user *issuedUser) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.issued = append(c.issued, user)
}

func (c *crashEnv) revokeUser(ctx context.Context, client *api.Client, user *issuedUser) error {
	_, err := client.Logical().WriteWithContext(ctx, "sys/leases/revoke", map[string]any{"lease_id": user.leaseID, "sync": true})
	c.mu.Lock()
	defer c.mu.Unlock()
	user.ended = err == nil
	return err
}

// living returns the users whose lease has not expired and is not being revoked.
func (c *crashEnv) living() []*issuedUser {
	c.mu.Lock()
	defer c.mu.Unlock()
	var living []*issuedUser
	for _, user := range c.issued {
		if !user.ending && time.Now().Before(user.until) {
			living = append(living, user)
		}
	}
	return living
}

// begin starts all tasks at once. The channel is closed when all have ended.
func (c *crashEnv) begin(tasks []task, mode string) <-chan struct{} {
	if c.sums[mode] == nil {
		c.sums[mode] = &taskSum{}
	}
	sum := c.sums[mode]
	ctx, disconnect := context.WithCancel(c.Context())
	c.disconnect = disconnect
	var group sync.WaitGroup
	for _, task := range tasks {
		sum.tasks++
		client := c.servers[c.random.IntN(len(c.servers))].Client()
		group.Go(func() { c.try(ctx, client, task, sum) })
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer disconnect()
		group.Wait()
	}()
	return done
}

func (c *crashEnv) try(ctx context.Context, client *api.Client, task task, sum *taskSum) {
	ctx, cancel := context.WithTimeout(ctx, hangLimit)
	defer cancel()
	err := task(ctx, client)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err == nil:
		sum.done++
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		c.hung++
	}
}

// moment is when to crash.
type moment struct {
	// calls is the number of calls to AWS that have started, or with signIns the number of users
	// that have signed in: then the server is about to store their lease.
	calls   int
	signIns bool
	// pause is the time to wait after that.
	pause time.Duration
}

func (c *crashEnv) chooseMoment(tasks int, atSignIn bool) moment {
	if atSignIn || c.random.IntN(3) == 0 {
		return moment{calls: 1 + c.random.IntN(2), signIns: true, pause: time.Duration(c.random.IntN(6000)) * time.Microsecond}
	}
	return moment{calls: c.random.IntN(5 * tasks), pause: time.Duration(c.random.IntN(20)) * time.Millisecond}
}

// await waits for the moment, or until all tasks have ended.
func (c *crashEnv) await(when moment, done <-chan struct{}) {
	c.Helper()
	for c.progress(when.signIns) < when.calls {
		select {
		case <-done:
			return
		case <-time.After(time.Millisecond):
		}
	}
	<-time.After(when.pause)
}

func (c *crashEnv) progress(signIns bool) int {
	c.Helper()
	log := c.Calls()
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

// awaitPlugin waits until requests through each server reach the plugin again.
func (c *crashEnv) awaitPlugin() error {
	for _, server := range c.servers {
		if err := awaitPlugin(c.Context(), server.Client(), c.mount); err != nil {
			return err
		}
	}
	return nil
}

// checkInvariants checks what clients saw: users with a living lease can sign in, revoked users
// are gone, and static-creds returns values that work. A new user can be created.
func (c *crashEnv) checkInvariants(count *counters.Counter, mode string) {
	c.Helper()
	users := c.Users()
	for _, user := range users {
		if c.origin[user.Username] == nil {
			c.origin[user.Username] = count
		}
	}
	for _, user := range c.issued {
		if user.ended && !user.lent && containsUser(users, user.username) {
			c.lose(count, counters.UsersLeft, "%s: user %s exists after its revocation", mode, user.username)
		}
	}
	c.checkLent(count, mode)
	for _, user := range c.living() {
		if !c.passwordWorks(user.username, user.password) && time.Now().Before(user.until) {
			c.lose(count, counters.LeasesStuck, "%s: user %s is gone before its lease expired", mode, user.username)
		}
	}
	c.checkStatic(count, mode)
	if c.rotated != nil {
		c.checkRoot(count, mode, c.rotated)
	}
	count.Lost(counters.Panics, c.hung)
	c.hung = 0
	require.NoError(c, c.create(c.Context(), c.client), "after: %s", mode)
}

// checkLent checks that no lent user has two holders, and none that has ended.
func (c *crashEnv) checkLent(count *counters.Counter, mode string) {
	c.Helper()
	holders := map[string]int{}
	for _, user := range c.living() {
		if user.lent {
			holders[user.username]++
		}
	}
	for username, n := range holders {
		if n > 1 {
			c.lose(count, counters.PasswordsLost, "%s: user %s has %d holders", mode, username, n)
		}
	}
	for i, user := range c.issued {
		if user.lent && user.ended {
			if c.passwordWorks(user.username, user.password) {
				c.lose(count, counters.UsersLeft, "%s: the holder of user %s can sign in after the revocation", mode, user.username)
			}
			c.issued[i] = &issuedUser{username: user.username, ending: true} // each wrong sign-in counts at Cognito
		}
	}
}

func (c *crashEnv) lose(count *counters.Counter, loss counters.Loss, format string, args ...any) {
	c.Logf(format, args...)
	count.Lost(loss, 1)
}

func (c *crashEnv) checkStatic(count *counters.Counter, after string) {
	c.Helper()
	for _, role := range []string{"ann", "bob", "client"} {
		if !c.staticCredsHold(role) {
			c.lose(count, counters.PasswordsLost, "%s: static-creds/%s returns a value that Cognito rejects; the role says: %v", after, role, c.read("static-roles/"+role).Data)
		}
	}
}

// checkRoot checks that AWS accepts the key in the config.
func (c *crashEnv) checkRoot(count *counters.Counter, after string, root *rootMount) {
	c.Helper()
	secret, err := root.tryRead("creds/ci")
	if err != nil {
		c.lose(count, counters.PasswordsLost, "%s: the root key does not work: %v", after, err)
		return
	}
	root.revoke(secret.LeaseID)
}

// freeRoot returns a mount whose root key can be rotated.
func (c *crashEnv) freeRoot() *rootMount {
	c.Helper()
	for _, root := range c.roots {
		if len(c.keysOf(root)) == 1 {
			return root
		}
	}
	e := *c.env
	root := &rootMount{&e, fmt.Sprintf("vault-%d", len(c.roots))}
	e.mount = fmt.Sprintf("%s-root-%d", c.mount, len(c.roots))
	require.NoError(c, e.client.Sys().MountWithContext(c.Context(), e.mount, &api.MountInput{Type: pluginName}))
	for _, server := range c.servers {
		awaitMount(c.T, patient(server.Client()), e.mount)
	}
	key := fmt.Sprintf("AKIAROOT%d", len(c.roots))
	e.PlantKey(root.user, key, secretKey)
	e.configure(map[string]any{"aws_access_key_id": key, "iam_endpoint": e.Seed.Domain, "request_timeout": "10s"})
	e.writeRole("ci", nil)
	c.roots = append(c.roots, root)
	return root
}

func (c *crashEnv) keysOf(root *rootMount) []string {
	c.Helper()
	var ids []string
	for _, key := range c.Keys() {
		if key.User == root.user {
			ids = append(ids, key.ID)
		}
	}
	return ids
}

// settle revokes all leases and waits until everything is cleaned up: only the users of static
// roles are left, and every IAM user has one key.
func (c *crashEnv) settle(counts []*counters.Counter) {
	c.Helper()
	_, err := c.client.Logical().WriteWithContext(c.Context(), "sys/leases/revoke-prefix/"+c.mount, map[string]any{"sync": true})
	require.NoError(c, err)
	c.issued = nil
	settled := func() bool {
		return len(c.unownedUsers()) == 0 && len(c.unsettledRoots()) == 0 && c.countOf("available") == crashLibrarySize
	}
	for end := time.Now().Add(settleLimit); !settled() && time.Now().Before(end); {
		<-time.After(200 * time.Millisecond)
	}
	for _, user := range c.unownedUsers() {
		c.lose(c.origin[user.Username], counters.UsersLeft, "user %s is left", user.Username)
	}
	if status := c.read(libraryStatus).Data; c.countOf("available") != crashLibrarySize {
		c.lose(counts[0], counters.UsersLeft, "not all users of the library set are free again: %v", status)
	}
	for _, root := range c.unsettledRoots() {
		c.lose(counts[0], counters.PasswordsLost, "%s still has the keys %v", root.user, c.keysOf(root))
	}
	counts[0].Lost(counters.LeasesStuck, c.irrevocableLeases())
	for _, role := range []string{"ann", "bob", "client"} {
		if c.rotateAfterCrash(role, role == "bob") && !c.staticCredsWork(role) {
			c.lose(counts[0], counters.PasswordsLost, "static-creds/%s returns a value that Cognito rejects after cleaning up", role)
		}
	}
	c.checkStatic(counts[0], "after cleaning up")
	for _, root := range c.roots {
		c.checkRoot(counts[0], "after cleaning up", root)
	}
}

// unownedUsers returns the users that belong to no static role and no library set.
func (c *crashEnv) unownedUsers() []control.User {
	c.Helper()
	owned := c.read(libraryStatus).Data["users"].(map[string]any)
	var unowned []control.User
	for _, user := range c.Users() {
		if owned[user.Username] == nil && user.Username != "ann" && user.Username != "bob" {
			unowned = append(unowned, user)
		}
	}
	return unowned
}

func (c *crashEnv) unsettledRoots() []*rootMount {
	c.Helper()
	var unsettled []*rootMount
	for _, root := range c.roots {
		if keys := c.keysOf(root); len(keys) != 1 || root.read("config").Data["aws_access_key_id"] != keys[0] {
			unsettled = append(unsettled, root)
		}
	}
	return unsettled
}

func (c *crashEnv) checkLogs(count *counters.Counter) {
	c.Helper()
	for _, server := range c.servers {
		for _, word := range []string{"panic:", "fatal error:"} {
			if at := strings.Index(server.LogText(), word); at >= 0 {
				c.lose(count, counters.Panics, "panic in the log: %s", server.LogText()[at:min(at+2000, len(server.LogText()))])
			}
		}
	}
}
