// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package model

import (
	"context"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-cognito/internal/emulator/emulatortest"
)

// revocationAttempts are how often Vault tries to revoke a lease before it is irrevocable, and
// irrevocablePause how often it tries after that.
const (
	revocationAttempts = 6
	irrevocablePause   = 24 * time.Hour
)

// lease is a lease as Vault's expiration manager has it.
type lease struct {
	secret logical.Secret
	role   string
	// username, clientID, groups and existing, the groups from before, are those of the response,
	// if it has them.
	username, clientID string
	groups, existing   []string
	// issued and expires are by the wall clock; timer is when the lease expires by the monotonic
	// clock. They differ after the wall clock was set, until Vault is unsealed again.
	issued, expires time.Time
	timer           time.Duration
	// revoking is set from the first attempt to revoke the lease on; attempts failed, and the next
	// one is due.
	revoking bool
	attempts int
	next     time.Duration
	// stale leases came back with a snapshot after their object was deleted.
	stale bool
}

// core is the part of Vault that the engine depends on.
type core struct {
	*world
	// tuned are the TTLs of the mount, which the engine sees unless its calls fail.
	tuned  logical.StaticSystemView
	leases map[int]*lease
	count  int
}

func newCore(w *world) *core {
	c := &core{world: w, tuned: *w.system, leases: map[int]*lease{}}
	return c
}

// tune sets the mount's TTLs.
func (c *core) tune(ttl, most time.Duration) {
	c.tuned.DefaultLeaseTTLVal, c.tuned.MaxLeaseTTLVal = ttl, most
	c.showTTLs(true)
}

// showTTLs lets the engine's calls for the TTLs succeed or fail.
func (c *core) showTTLs(succeed bool) {
	c.system.DefaultLeaseTTLVal, c.system.MaxLeaseTTLVal = 0, 0
	if succeed {
		c.system.DefaultLeaseTTLVal, c.system.MaxLeaseTTLVal = c.tuned.DefaultLeaseTTLVal, c.tuned.MaxLeaseTTLVal
	}
	<-time.After(time.Second) // the engine caches them for a moment
}

// ttl is what Vault makes of a lease's TTLs. Vault's own code does it, by its own clock.
func (c *core) ttl(increment time.Duration, secret *logical.Secret, issued time.Time) (time.Duration, error) {
	if !issued.IsZero() {
		issued = issued.Add(-c.clockSet.get())
	}
	ttl, _, err := framework.CalculateTTL(&c.tuned, increment, secret.TTL, 0, secret.MaxTTL, 0, issued)
	return ttl, err
}

// issue makes a request for credentials of a role and returns the response. Vault stores the lease
// after a delay and after the machine was suspended, or never, because the client has gone away.
func (c *core) issue(request *logical.Request, role string, delay, suspended time.Duration, heard bool) (*logical.Response, error) {
	response, err := c.request(request)
	if err != nil {
		return nil, err
	}
	wait(delay)
	c.clockSet.add(suspended) // by as much as monotonic clocks fall behind
	c.suspended.add(suspended)
	if heard {
		c.register(role, response)
	}
	return response, nil
}

func (c *core) register(role string, response *logical.Response) {
	ttl, err := c.ttl(0, response.Secret, time.Time{})
	if err != nil {
		fail(c.tb, "Vault refuses the TTLs of a lease", err)
	}
	l := &lease{secret: *response.Secret, role: role, issued: c.now(), expires: c.now().Add(ttl), timer: c.elapsed() + ttl}
	l.username, _ = response.Data["username"].(string)
	l.clientID, _ = response.Data["app_client_id"].(string)
	l.groups, _ = response.Data["groups"].([]string)
	l.existing, _ = response.Data["already_member_of"].([]string)
	c.count++
	c.leases[c.count] = l
}

func (c *core) leaseRequest(op logical.Operation, l *lease) (*logical.Response, error) {
	secret := l.secret // the engine may change it
	secret.IssueTime = l.issued
	return c.request(&logical.Request{Operation: op, Path: "creds/" + l.role, Secret: &secret})
}

func (c *core) renew(l *lease, increment time.Duration) {
	if l.revoking || l.timer <= c.elapsed() {
		return
	}
	response, err := c.leaseRequest(logical.RenewOperation, l)
	if err == nil && response != nil && response.Secret != nil {
		c.extend(l, increment, response.Secret)
	}
}

// extend is the end of a renewal.
func (c *core) extend(l *lease, increment time.Duration, secret *logical.Secret) {
	ttl, err := c.ttl(increment, secret, l.issued)
	if err != nil || ttl <= 0 {
		return
	}
	l.expires, l.timer = c.now().Add(ttl), c.elapsed()+ttl
}

// revoke makes one attempt to revoke a lease.
func (c *core) revoke(id int) {
	l := c.leases[id]
	l.revoking = true
	if _, err := c.leaseRequest(logical.RevokeOperation, l); err == nil {
		delete(c.leases, id)
		return
	}
	c.postpone(l)
}

func (c *core) postpone(l *lease) {
	l.attempts++
	l.next = c.elapsed() + time.Minute
	if l.attempts >= revocationAttempts {
		l.next = c.elapsed() + irrevocablePause
	}
}

// lapse revokes the leases that are due.
func (c *core) lapse() {
	for _, id := range c.ids() {
		l := c.leases[id]
		if l.revoking && l.next <= c.elapsed() || !l.revoking && l.timer <= c.elapsed() {
			c.revoke(id)
		}
	}
}

// ids are those of all leases, in order.
func (c *core) ids() []int {
	var ids []int
	for id := 1; id <= c.count; id++ {
		if c.leases[id] != nil {
			ids = append(ids, id)
		}
	}
	return ids
}

// tick is what Vault does each minute.
func (c *core) tick() {
	c.lapse()
	_, _ = c.request(&logical.Request{Operation: logical.RollbackOperation})
}

// pass lets time pass, with ticks at a distance, and checks the invariants after each.
func (c *core) pass(d, distance time.Duration, check func()) {
	for ; d > 0; d -= distance {
		wait(min(d, distance))
		c.tick()
		check()
	}
}

// resume lets the timers go by the wall clock, as after an unseal.
func (c *core) resume() {
	for _, l := range c.leases {
		l.timer = c.elapsed() + l.expires.Sub(c.now())
	}
}

// isLiving reports whether the object of a lease must exist.
func (c *core) isLiving(l *lease) bool {
	return !l.revoking && !l.stale && l.timer > c.elapsed()
}

// olderPlugin is the plugin of 2021, as far as it concerns the leases of this one: it renews them
// without a look at any record, and revokes them by deleting the user.
type olderPlugin struct {
	*core
	api *cip.Client
}

func (c *core) olderPlugin() *olderPlugin {
	return &olderPlugin{c, cip.New(cip.Options{
		Region: emulatortest.Region, BaseEndpoint: aws.String(emulatortest.Endpoint), Retryer: aws.NopRetryer{},
		HTTPClient:  &http.Client{Transport: emulatortest.Transport(c.cognito)},
		Credentials: credentials.NewStaticCredentialsProvider("AKIAOLDER", "secret", ""),
	})}
}

func (o *olderPlugin) renew(l *lease, ttl, most, increment time.Duration) {
	if !l.revoking && l.timer > o.elapsed() {
		o.extend(l, increment, &logical.Secret{LeaseOptions: logical.LeaseOptions{TTL: ttl, MaxTTL: most}})
	}
}

// pass lets time pass, in which leases lapse.
func (o *olderPlugin) pass(d time.Duration) {
	wait(d)
	for _, id := range o.ids() {
		if l := o.leases[id]; l.timer <= o.elapsed() {
			o.revoke(id, l)
		}
	}
}

func (o *olderPlugin) revoke(id int, l *lease) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	l.revoking = true
	if _, err := o.api.AdminDeleteUser(ctx, &cip.AdminDeleteUserInput{UserPoolId: &o.seed.UserPoolID, Username: &l.username}); err != nil {
		o.postpone(l)
		return
	}
	delete(o.leases, id)
}
