// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"cmp"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"vault-plugin-secrets-cognito/internal/cache"
)

// metricSources return what the gauges show when they are read. All of them read memory only. One
// that is nil, or reports false because its owner has not scanned its storage yet, leaves its
// gauges out.
type metricSources struct {
	records   func() (recordsState, bool)
	rotations func() ([]rotationState, bool)
	libraries func() ([]libraryState, bool)
	caches    func() []cacheState
	limits    func() map[string]float64
}

// recordsState is what the issued records amount to.
type recordsState struct {
	living []livingCount
	// due is how many records are past their deadline, and oldest for how long the oldest is.
	due    int
	oldest time.Duration
}

// livingCount is how many objects of a role are in one state.
type livingCount struct {
	kind, role, state string
	number            int
}

// rotationState is what the rotations of one kind amount to.
type rotationState struct {
	kind   string
	number int
	// overdue is how many should have been rotated before now, and longest for how long the oldest
	// of these.
	overdue int
	longest time.Duration
	// last is zero before the first rotation, and next if none is due ever.
	last, next time.Time
}

// libraryState is how the users of one library are used.
type libraryState struct {
	name               string
	free, lent, broken int
	// waiting is how many callers wait for a user, and longest how long the first of them has
	// waited.
	waiting int
	longest time.Duration
}

// cacheState is how much a cache was used, and whether for nothing.
type cacheState struct {
	name string
	cache.Stats
}

// gaugeReader reads the sources each time the metrics are read.
type gaugeReader struct {
	m       *metrics
	sources metricSources
	all     []*prometheus.Desc

	living, due, oldest                                *prometheus.Desc
	rotating, overdue, overdueSeconds, sinceLast, next *prometheus.Desc
	libraryUsers, libraryWaiting, libraryWait          *prometheus.Desc
	cacheRequests, cacheEntries                        *prometheus.Desc
	limit                                              *prometheus.Desc
}

// watch adds the gauges that are read from these sources.
func (m *metrics) watch(sources metricSources) {
	r := &gaugeReader{m: m, sources: sources}
	r.living = r.describe("living_objects", "Objects at Cognito that have a record of this mount, by its state.", "gauge", "kind", "role", "state")
	r.due = r.describe("records_due", "Records past their deadline, whose object is yet to be ended.", "gauge")
	r.oldest = r.describe("records_oldest_due_seconds", "How long the record that is past its deadline most is past it.", "gauge")
	r.rotating = r.describe("rotated_objects", "Passwords, client secrets and access keys that the engine rotates.", "gauge", "kind")
	r.overdue = r.describe("rotations_overdue", "Passwords, client secrets and access keys whose rotation is overdue.", "gauge", "kind")
	r.overdueSeconds = r.describe("rotations_overdue_seconds", "How long the rotation that is overdue most is overdue.", "gauge", "kind")
	r.sinceLast = r.describe("rotation_since_last_seconds", "Seconds since the last rotation that was done.", "gauge", "kind")
	r.next = r.describe("rotation_until_next_seconds", "Seconds until the next rotation is due; negative while one is overdue.", "gauge", "kind")
	r.libraryUsers = r.describe("library_users", "Users of a library that are free, lent or broken.", "gauge", "library", "state")
	r.libraryWaiting = r.describe("library_waiting", "Callers that wait for a user of a library.", "gauge", "library")
	r.libraryWait = r.describe("library_longest_wait_seconds", "How long the caller that waits longest for a user of a library has waited.", "gauge", "library")
	r.cacheRequests = r.describe("cache_requests_total", "Requests to the caches in memory: hit or miss.", "counter", "cache", "result")
	r.cacheEntries = r.describe("cache_entries", "Values in the caches in memory.", "gauge", "cache")
	r.limit = r.describe("quota_limit_per_second", "Calls to AWS that the engine allows itself in a second, by quota category.", "gauge", "category")
	m.registry.MustRegister(r)
}

func (r *gaugeReader) describe(name, help, kind string, labels ...string) *prometheus.Desc {
	desc := prometheus.NewDesc(r.m.define(name, help, kind, labels), help, labels, nil)
	r.all = append(r.all, desc)
	return desc
}

// Describe sends the descriptions of all gauges.
func (r *gaugeReader) Describe(to chan<- *prometheus.Desc) {
	for _, desc := range r.all {
		to <- desc
	}
}

// Collect sends what the sources return.
func (r *gaugeReader) Collect(to chan<- prometheus.Metric) {
	send := func(desc *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	if state, known := call(r.sources.records); known {
		r.sendRecords(send, state)
	}
	if states, known := call(r.sources.rotations); known {
		r.sendRotations(send, states)
	}
	if states, known := call(r.sources.libraries); known {
		r.sendLibraries(send, states)
	}
	if r.sources.caches != nil {
		r.sendCaches(to, send, r.sources.caches())
	}
	if r.sources.limits != nil {
		for category, perSecond := range r.sources.limits() {
			send(r.limit, perSecond, category)
		}
	}
}

func call[T any](source func() (T, bool)) (state T, known bool) {
	if source == nil {
		return state, false
	}
	return source()
}

type sendFunc func(desc *prometheus.Desc, value float64, labels ...string)

// sendRecords adds up what roles beyond the bound of the label have. Each read bounds the names
// anew, in their order: names that are gone must not use up the bound.
func (r *gaugeReader) sendRecords(send sendFunc, state recordsState) {
	slices.SortFunc(state.living, func(a, b livingCount) int { return cmp.Compare(a.role, b.role) })
	roles := labelValues{max: metricRolesMax}
	bounded := make(map[livingCount]int, len(state.living))
	for _, count := range state.living {
		bounded[livingCount{kind: count.kind, role: roles.bound(count.role), state: count.state}] += count.number
	}
	for of, number := range bounded {
		send(r.living, float64(number), of.kind, of.role, of.state)
	}
	send(r.due, float64(state.due))
	send(r.oldest, state.oldest.Seconds())
}

func (r *gaugeReader) sendRotations(send sendFunc, states []rotationState) {
	now := r.m.now()
	for _, state := range states {
		send(r.rotating, float64(state.number), state.kind)
		send(r.overdue, float64(state.overdue), state.kind)
		send(r.overdueSeconds, state.longest.Seconds(), state.kind)
		if !state.last.IsZero() {
			send(r.sinceLast, now.Sub(state.last).Seconds(), state.kind)
		}
		if !state.next.IsZero() {
			send(r.next, state.next.Sub(now).Seconds(), state.kind)
		}
	}
}

// sendLibraries adds up what libraries beyond the bound of the label have, as sendRecords does.
func (r *gaugeReader) sendLibraries(send sendFunc, states []libraryState) {
	slices.SortFunc(states, func(a, b libraryState) int { return cmp.Compare(a.name, b.name) })
	names := labelValues{max: metricRolesMax}
	bounded := map[string]libraryState{}
	for _, state := range states {
		name := names.bound(state.name)
		sum := bounded[name]
		bounded[name] = libraryState{
			free: sum.free + state.free, lent: sum.lent + state.lent, broken: sum.broken + state.broken,
			waiting: sum.waiting + state.waiting, longest: max(sum.longest, state.longest),
		}
	}
	for name, state := range bounded {
		send(r.libraryUsers, float64(state.free), name, "free")
		send(r.libraryUsers, float64(state.lent), name, "lent")
		send(r.libraryUsers, float64(state.broken), name, "broken")
		send(r.libraryWaiting, float64(state.waiting), name)
		send(r.libraryWait, state.longest.Seconds(), name)
	}
}

func (r *gaugeReader) sendCaches(to chan<- prometheus.Metric, send sendFunc, states []cacheState) {
	for _, state := range states {
		to <- prometheus.MustNewConstMetric(r.cacheRequests, prometheus.CounterValue, float64(state.Hits), state.name, "hit")
		to <- prometheus.MustNewConstMetric(r.cacheRequests, prometheus.CounterValue, float64(state.Misses), state.name, "miss")
		send(r.cacheEntries, float64(state.Entries), state.name)
	}
}

// metricSources returns where the gauges of a mount are read.
func (b *backend) metricSources() metricSources {
	return metricSources{
		records:   func() (recordsState, bool) { return b.census.state(b.now()) },
		rotations: b.rotationStates,
		libraries: func() ([]libraryState, bool) { return b.checkOuts.states(b.now()) },
		caches:    b.cacheStates,
		limits:    b.rateLimits,
	}
}

// cacheStates returns the uses of the caches of the mount. The caches of a connection are empty
// again after a change of the config.
func (b *backend) cacheStates() []cacheState {
	states := []cacheState{
		{"connection", b.connections.Stats()}, {"roles", b.roles.Stats()}, {"static_roles", b.staticRoles.Stats()}, {"library_sets", b.librarySets.Stats()},
	}
	if aws, connected := b.connections.Peek(configStoragePath); connected {
		states = append(states, cacheState{"machine_tokens", aws.TokenCacheStats()}, cacheState{"client_secrets", aws.SecretCacheStats()})
	}
	return states
}

// rateLimits returns the limits of the quota categories, or nothing before the first request.
func (b *backend) rateLimits() map[string]float64 {
	aws, connected := b.connections.Peek(configStoragePath)
	if !connected {
		return nil
	}
	return aws.RateLimits()
}

// rotationRootKey is the kind of a rotation of the access key in config. The other kinds are the
// credential types of static roles.
const rotationRootKey = "root_access_key"

// rotationTimes are when something was rotated and is to be rotated next. A zero time is never.
type rotationTimes struct {
	kind       string
	last, next time.Time
	// missed is the first scheduled time since last whose window passed without a rotation.
	missed time.Time
}

// late returns for how long a rotation has been overdue, or 0.
func (t rotationTimes) late(now time.Time) time.Duration {
	due := t.next
	if !t.missed.IsZero() {
		due = t.missed
	}
	return max(0, now.Sub(due))
}

// rotationTimes returns those of the access key, or nil if the engine does not rotate it.
func (c *configEntry) rotationTimes() *rotationTimes {
	if !c.rotates() {
		return nil
	}
	return &rotationTimes{rotationRootKey, c.LastVaultRotation, c.NextVaultRotation, c.MissedRotation}
}

// rotationStates returns what the rotations of each kind amount to, once the static roles are
// loaded.
func (b *backend) rotationStates() ([]rotationState, bool) {
	if !b.queue.isLoaded() {
		return nil, false
	}
	byKind, now := map[string]*rotationState{}, b.now()
	b.queue.eachTimes(func(times rotationTimes) { addTimes(byKind, times, now) })
	if root := b.rootTimes.Load(); root != nil {
		addTimes(byKind, *root, now)
	}
	states := make([]rotationState, 0, len(byKind))
	for _, state := range byKind {
		states = append(states, *state)
	}
	return states, true
}

func addTimes(byKind map[string]*rotationState, times rotationTimes, now time.Time) {
	state := byKind[times.kind]
	if state == nil {
		state = &rotationState{kind: times.kind}
		byKind[times.kind] = state
	}
	state.number++
	if times.last.After(state.last) {
		state.last = times.last
	}
	if times.next.IsZero() {
		return
	}
	if state.next.IsZero() || times.next.Before(state.next) {
		state.next = times.next
	}
	if late := times.late(now); late > 0 {
		state.overdue++
		state.longest = max(state.longest, late)
	}
}
