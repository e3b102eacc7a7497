// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/helper/locksutil"
	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-cognito/internal/cache"
	"vault-plugin-secrets-cognito/internal/cognito/ratelimit"
)

// defaultWALMinAge is how long after a rotation of the root key the old key is deleted. It is
// longer than a request may take.
const defaultWALMinAge = 2 * time.Minute

// cleanTimeout bounds how long clean may take.
const cleanTimeout = 10 * time.Second

// Options differ between builds, not between mounts.
type Options struct {
	// Version is shown by Vault: semantic, with a leading v.
	Version string
	// WALMinAge replaces the minimum age of a WAL entry for its roll-back, and how long a record
	// may be "creating", for tests. Zero means two and five minutes.
	WALMinAge time.Duration
	// Now replaces the clock, for tests.
	Now func() time.Time
	// Elapsed replaces the monotonic clock, for tests. If only Now is replaced, it goes with Now.
	Elapsed func() time.Duration
	// Boot names where Elapsed starts. Processes with the same one have the same clock.
	Boot string
	// Suspended replaces the time for which the machine was suspended since its boot, for tests.
	Suspended func() time.Duration
	// Transport replaces the network under every call to AWS, for tests.
	Transport http.RoundTripper

	createGrace time.Duration
}

// backend is one mount. Several mounts live in one process and share nothing.
type backend struct {
	*framework.Backend

	now       func() time.Time
	transport http.RoundTripper
	limiters  ratelimit.Limiters
	metrics   *metrics
	// lifetime ends when Vault unloads the mount. All work in the background ends with it.
	lifetime context.Context
	end      context.CancelFunc
	// periodicTasks and walRollbacks are what Vault calls in the background.
	periodicTasks []periodicTask
	walRollbacks  map[string]walRollbackFunc

	// The config and its access key.
	connections *cache.Cache[string, *connection]
	// lastConnection is the newest connection, also while it is not cached.
	lastConnection atomic.Pointer[connection]
	configMu       *locksutil.LockEntry
	rootRetries    rootRetries
	rootTimes      atomic.Pointer[rotationTimes]

	// Roles.
	roles     *cache.Cache[string, *roleEntry]
	roleLocks []*locksutil.LockEntry

	// Issued records.
	creations    creations
	batches      openBatches
	recordLocks  keyedLocks
	issuedCounts issuedCounts
	census       census
	watch        *leaseWatch
	// createGrace is how long a record may be "creating" before its process counts as dead.
	createGrace time.Duration
	// issuedEnds has the function that ends the object of each kind of record.
	issuedEnds map[recordKind]issuedEndFunc
	// endedBeforeUnmount has the keys of the records that endAll ended. The revocations that follow
	// skip them.
	endedBeforeUnmount sync.Map
	leftRecords        leftRecords
	// memberLocks locks users whose memberships change, by memberPrefix.
	memberLocks keyedLocks
	// ownedUsers has functions that return the users of other features, which tidy must not delete.
	ownedUsers []ownedUsersFunc

	// Static roles.
	staticRoles  *cache.Cache[string, *staticRole]
	queue        staticQueue
	staticLocks  staticLocks
	staticTokens *cache.Cache[string, *staticTokens]
	signInCounts signInCounter

	// Library sets.
	librarySets   *cache.Cache[string, *librarySet]
	checkOuts     checkOutQueues
	libraryLocks  keyedLocks
	libraryWorker libraryWorker

	// Tokens of users.
	refusals *refusals
	// issuedNames caches the record ids that were found for usernames, by role and name.
	issuedNames *cache.Cache[string, string]
	// tokenSignIns locks the static roles whose user signs in through tokens/.
	tokenSignIns keyedLocks
}

// Factory makes the mounts of one build. Vault also calls it, without storage, to learn the version
// when the plugin is registered, so it does no I/O.
func Factory(options Options) logical.Factory {
	return func(ctx context.Context, conf *logical.BackendConfig) (logical.Backend, error) {
		if conf == nil {
			return nil, fmt.Errorf("the configuration passed into the backend is nil")
		}
		b := newBackend(options)
		if err := b.Setup(ctx, conf); err != nil {
			return nil, fmt.Errorf("setting up the backend: %w", err)
		}
		return b, nil
	}
}

func (o *Options) setDefaults() {
	o.createGrace = defaultCreateGrace
	if o.WALMinAge > 0 {
		o.createGrace = o.WALMinAge
	}
	if o.WALMinAge <= 0 {
		o.WALMinAge = defaultWALMinAge
	}
	if o.Now == nil {
		o.Now = time.Now
		o.Boot, o.Elapsed, o.Suspended = machineClock()
	}
	if o.Elapsed == nil {
		now, began := o.Now, o.Now()
		o.Elapsed = func() time.Duration { return now().Sub(began) }
	}
	if o.Suspended == nil {
		o.Suspended = func() time.Duration { return 0 }
	}
}

func newBackend(options Options) *backend {
	options.setDefaults()
	b := &backend{
		roleLocks: locksutil.CreateLocks(),
		configMu:  &locksutil.LockEntry{},
		now:       options.Now,
		transport: options.Transport,

		createGrace: options.createGrace,
		metrics:     newMetrics(options.Version, options.Now),
	}
	b.metrics.watch(b.metricSources())
	b.watch = newLeaseWatch(options)
	b.ownedUsers = []ownedUsersFunc{b.staticRoleUsers, b.libraryOwnedUsers}
	b.issuedEnds = map[recordKind]issuedEndFunc{
		kindUser:       b.endUserRecord,
		kindAppClient:  b.endAppClientRecord,
		kindMembership: b.endMembership,
		kindLibrary:    b.endLibraryRecord,
	}
	b.periodicTasks = []periodicTask{b.rotateDue, b.maintainLibraries, b.rotateRootWhenDue}
	b.walRollbacks = map[string]walRollbackFunc{walKindRootKey: b.rollbackRootKey}
	// The context of the factory ends when the factory returns.
	b.lifetime, b.end = context.WithCancel(context.Background())
	b.refusals = newRefusals(b.now)
	b.makeCaches()
	b.Backend = b.newFramework(options)
	return b
}

// makeCaches makes the caches of the mount. The caches of a connection belong to cognito.Service.
func (b *backend) makeCaches() {
	b.connections = newEntryCache[connection](b.lifetime)
	b.roles = newEntryCache[roleEntry](b.lifetime)
	b.issuedNames = cache.New[string](cache.Options[string]{
		Lifetime: b.lifetime, Size: issuedNamesMax, Keep: func(id string) bool { return id != "" },
	})
	b.staticRoles = newEntryCache[staticRole](b.lifetime)
	b.librarySets = newEntryCache[librarySet](b.lifetime)
	b.staticTokens = newStaticTokens(b.lifetime)
}

// newFramework returns the description of the mount for the SDK.
func (b *backend) newFramework(options Options) *framework.Backend {
	return &framework.Backend{
		Help:           strings.TrimSpace(backendHelp),
		BackendType:    logical.TypeLogical,
		RunningVersion: options.Version,
		PathsSpecial: &logical.Paths{
			SealWrapStorage: []string{configStoragePath, roleStoragePrefix, staticRoleStoragePrefix, libraryStoragePrefix, framework.WALPrefix},
			LocalStorage:    []string{framework.WALPrefix, issuedStoragePrefix},
		},
		// The SDK tries the patterns in order, so the paths that are read most are first.
		Paths: framework.PathAppend(
			pathCreds(b),
			pathStaticCreds(b),
			pathTokens(b),
			pathConfig(b),
			pathRotateRoot(b),
			pathRoles(b),
			pathCheck(b),
			pathStaticRoles(b),
			pathLibrary(b),
			pathIssued(b),
			pathTidy(b),
			pathMetrics(b),
		),
		Secrets:           []*framework.Secret{secretUser(b), secretAppClient(b), secretMembership(b), secretLibrary(b)},
		InitializeFunc:    b.initialize,
		Invalidate:        b.invalidate,
		Clean:             b.clean,
		PeriodicFunc:      b.periodic,
		RotateCredential:  b.rotateCredential,
		WALRollback:       b.walRollback,
		WALRollbackMinAge: options.WALMinAge,
	}
}

// HandleRequest makes the last roll-back before an unmount include WAL entries of any age, because
// Vault deletes the storage of the mount right after it. It also removes secret values from errors
// of the framework.
func (b *backend) HandleRequest(ctx context.Context, req *logical.Request) (*logical.Response, error) {
	if req.Operation == logical.RollbackOperation && b.System().Tainted() {
		if req.Data == nil {
			req.Data = map[string]any{}
		}
		req.Data["immediate"] = true
	}
	response, err := b.Backend.HandleRequest(ctx, req)
	if req.Operation == logical.HelpOperation {
		describeForServer(response)
	}
	return b.replaceFieldErrors(req, response), err
}

// HandleExistenceCheck passes only the path to the framework. For a value of a wrong type the
// framework would return an error with the value, which may be a secret, and Vault would log it.
func (b *backend) HandleExistenceCheck(ctx context.Context, req *logical.Request) (checked, exists bool, err error) {
	pathOnly := *req
	pathOnly.Data = nil
	return b.Backend.HandleExistenceCheck(ctx, &pathOnly)
}

// initialize logs the version that serves the mount. Vault waits for it on every unseal, so it
// calls neither storage nor AWS.
func (b *backend) initialize(context.Context, *logical.InitializationRequest) error {
	b.Logger().Info("the Cognito secrets engine is ready", "version", b.RunningVersion)
	return nil
}

// invalidate drops what is cached of a storage entry that another node wrote.
func (b *backend) invalidate(_ context.Context, key string) {
	switch {
	case key == configStoragePath:
		b.connections.Drop(configStoragePath) // the last connection may only have another key
		b.staticTokens.Clear()
	case strings.HasPrefix(key, roleStoragePrefix):
		b.dropCachedRole(strings.TrimPrefix(key, roleStoragePrefix))
	case strings.HasPrefix(key, staticRoleStoragePrefix):
		name := staticNameOf(key)
		b.staticRoles.Drop(name)
		b.queue.reload(name)
	case strings.HasPrefix(key, librarySetStoragePrefix):
		b.librarySets.Drop(strings.TrimPrefix(key, librarySetStoragePrefix))
		b.checkOuts.reload()
	case strings.HasPrefix(key, libraryUserStoragePrefix):
		b.checkOuts.reload()
	}
}

// clean ends the work in the background. It first undoes the unfinished creations, because Vault
// may end the process after it.
func (b *backend) clean(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, cleanTimeout)
	defer cancel()
	b.creations.stop(ctx)
	b.end()
	b.libraryWorker.wait(ctx)
	b.disconnect()
}

const backendHelp = `
The Cognito secrets engine issues short-lived access to Amazon Cognito user
pools: users and app clients, created for one lease and deleted at its end,
group memberships for the duration of a lease, and machine tokens of app
clients, without the secret of the app client.

After mounting it, configure how it reaches AWS with the "config" path, say
what may be issued with the "roles/" paths, and issue it by reading "creds/".
`
