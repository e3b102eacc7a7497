// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/prometheus/client_golang/prometheus"

	"vault-plugin-secrets-cognito/internal/cognito"
)

const (
	// metricsPrefix begins the name of every metric in the text formats.
	metricsPrefix = "vault_cognito_"

	// machineTokenPrice is the list price of one machine token in US dollars: the first tier, $2.25
	// per 1,000 successful requests up to 250,000 a month. https://aws.amazon.com/cognito/pricing/,
	// as of 2026-09-20.
	machineTokenPrice = 0.00225

	// metricRolesMax bounds how many names of roles, and how many of libraries, are label values.
	metricRolesMax = 2000
	// metricCodesMax bounds how many error codes and operations are label values.
	metricCodesMax = 100
	// metricOther stands for all values beyond these bounds. No name of a role has parentheses.
	metricOther = "(other)"
)

// Values of the label "step": what failed.
const (
	stepIssue     = "issue"
	stepRenew     = "renew"
	stepRevoke    = "revoke"
	stepReconcile = "reconcile"
	stepRotate    = "rotate"
	stepTokens    = "tokens"
	stepCheckOut  = "check_out"
	stepCheckIn   = "check_in"
	stepTick      = "tick"
)

// Values of the label "code" for failures without a code from AWS.
const (
	codeOK         = "ok"
	codeBadRequest = "bad_request"
	codeNoneFree   = "none_free"
	codeReached    = "limit_reached"
	codeLimit      = "rate_limit"
	codeNoAnswer   = cognito.CodeNoAnswer
	codeInternal   = "internal"
)

var (
	// requestBuckets are the upper bounds of the durations of whole requests, in seconds.
	requestBuckets = []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}
	// callBuckets are those of single calls to AWS.
	callBuckets = []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
	// waitBuckets are those of waits in a queue.
	waitBuckets = []float64{.001, .01, .1, .5, 1, 5, 10, 30, 60}
)

// metrics counts what one mount does on this node since its process started. Every method may be
// called on a nil *metrics, and by several goroutines.
type metrics struct {
	registry *prometheus.Registry
	began    time.Time
	now      func() time.Time
	families []metricFamily

	roles, operations, codes, categories labelValues

	issues, ended, failures, throttles, rotations, bought, cost, life *prometheus.CounterVec
	issueSeconds, revokeSeconds, callSeconds, waitSeconds             *prometheus.HistogramVec
	calls, refusals                                                   *prometheus.CounterVec
	tokenReads                                                        roleCounters
	lastTick                                                          *prometheus.GaugeVec
}

// metricFamily describes one metric for the schema of the path and for the documentation.
type metricFamily struct {
	name, help, kind string
	labels           []string
}

// newMetrics returns the metrics of a mount that have nothing counted yet.
func newMetrics(version string, now func() time.Time) *metrics {
	m := &metrics{
		registry:   prometheus.NewRegistry(),
		began:      now(),
		now:        now,
		roles:      labelValues{max: metricRolesMax},
		operations: labelValues{max: metricCodesMax},
		codes:      labelValues{max: metricCodesMax},
		categories: labelValues{max: metricCodesMax},
	}
	m.defineRequests()
	m.defineTokens()
	m.defineAWS()
	m.lastTick = m.gauge("last_tick_timestamp_seconds", "When the engine last did its periodic work, which Vault starts each minute, in seconds since 1970.")
	m.gauge("start_timestamp_seconds", "When this node began to count, in seconds since 1970.").WithLabelValues().Set(unixSeconds(m.began))
	m.gauge("build_info", "Always 1; the label is the version of the engine.", "version").WithLabelValues(version).Set(1)
	return m
}

func (m *metrics) defineRequests() {
	m.issues = m.counter("issued_total", "Objects that were issued.", "kind", "role")
	m.ended = m.counter("ended_total", "Objects that were ended: because of a lease, or of a record whose lease is unknown.", "kind", "cause")
	m.failures = m.counter("failures_total", "Failures, with the error code of AWS or a word of the engine.", "step", "code")
	m.rotations = m.counter("rotations_total", "Rotations of passwords, client secrets and the access key, done or failed.", "kind", "result")
	m.issueSeconds = m.histogram("issue_duration_seconds", "How long it took to issue an object.", requestBuckets, "kind")
	m.revokeSeconds = m.histogram("revoke_duration_seconds", "How long it took to end the object of a lease.", requestBuckets, "kind")
}

func (m *metrics) defineTokens() {
	m.tokenReads.vec = m.counter("token_reads_total", "Machine tokens that were returned, from the cache or new.", "role")
	m.bought = m.counter("tokens_bought_total", "Machine tokens that Cognito issued.", "role")
	m.cost = m.counter("token_cost_dollars_total", "Cost of the machine tokens that Cognito issued, at the list price, in US dollars.", "role")
	m.life = m.counter("token_life_seconds_total",
		"Sum of the lives of the machine tokens that Cognito issued; its rate is how many of them are valid at a time.", "role")
}

func (m *metrics) defineAWS() {
	m.calls = m.counter("aws_calls_total", "Calls to AWS, each attempt counted, with the error code of AWS or ok.", "operation", "code")
	m.callSeconds = m.histogram("aws_call_duration_seconds", "How long calls to AWS took.", callBuckets, "operation")
	m.throttles = m.counter("throttles_total", "Calls to AWS that AWS throttled.", "operation")
	m.waitSeconds = m.histogram("quota_wait_seconds", "How long calls to AWS waited for the engine's own limit of their quota category.", waitBuckets, "category")
	m.refusals = m.counter("quota_refusals_total", "Calls to AWS that were not made because of the engine's own limit of their quota category.", "category")
}

func (m *metrics) define(name, help, kind string, labels []string) string {
	m.families = append(m.families, metricFamily{name, help, kind, labels})
	return metricsPrefix + name
}

func (m *metrics) counter(name, help string, labels ...string) *prometheus.CounterVec {
	vec := prometheus.NewCounterVec(prometheus.CounterOpts{Name: m.define(name, help, "counter", labels), Help: help}, labels)
	m.registry.MustRegister(vec)
	return vec
}

func (m *metrics) gauge(name, help string, labels ...string) *prometheus.GaugeVec {
	vec := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: m.define(name, help, "gauge", labels), Help: help}, labels)
	m.registry.MustRegister(vec)
	return vec
}

func (m *metrics) histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	options := prometheus.HistogramOpts{Name: m.define(name, help, "histogram", labels), Help: help, Buckets: buckets}
	vec := prometheus.NewHistogramVec(options, labels)
	m.registry.MustRegister(vec)
	return vec
}

// issued records the outcome of a request for an object of a role.
func (m *metrics) issued(kind, role string, took time.Duration, err error) {
	if m == nil {
		return
	}
	if err != nil {
		m.failed(stepIssue, err)
		return
	}
	m.issues.WithLabelValues(kind, m.roles.bound(role)).Inc()
	m.issueSeconds.WithLabelValues(kind).Observe(took.Seconds())
}

// revoked records the outcome of the end of a lease.
func (m *metrics) revoked(kind string, took time.Duration, err error) {
	if m == nil {
		return
	}
	if err != nil {
		m.failed(stepRevoke, err)
		return
	}
	m.ended.WithLabelValues(kind, "lease").Inc()
	m.revokeSeconds.WithLabelValues(kind).Observe(took.Seconds())
}

// reconciled records the outcome of ending an object whose lease is not known.
func (m *metrics) reconciled(kind string, err error) {
	if m == nil {
		return
	}
	if err != nil {
		m.failed(stepReconcile, err)
		return
	}
	m.ended.WithLabelValues(kind, "record").Inc()
}

// failed records a failure of a step. The code of a nil error is not recorded.
func (m *metrics) failed(step string, err error) {
	if m == nil || err == nil {
		return
	}
	m.failures.WithLabelValues(step, m.codes.bound(failureCode(err))).Inc()
}

// tokenRead records that a machine token was returned. It is on the hottest path of the engine.
func (m *metrics) tokenRead(role string) {
	if m == nil {
		return
	}
	m.tokenReads.of(&m.roles, role).Inc()
}

// tokenBought records that Cognito made a machine token that lives so long.
func (m *metrics) tokenBought(role string, life time.Duration) {
	if m == nil {
		return
	}
	if role == "" { // the proof of a rotated client secret, which belongs to no role
		role = metricOther
	}
	role = m.roles.bound(role)
	m.bought.WithLabelValues(role).Inc()
	m.cost.WithLabelValues(role).Add(machineTokenPrice)
	m.life.WithLabelValues(role).Add(max(0, life.Seconds()))
}

// awsCall records one attempt of a call to AWS. The code is AWS's, or empty after a success.
func (m *metrics) awsCall(operation, code string, took time.Duration, throttled bool) {
	if m == nil {
		return
	}
	if code == "" {
		code = codeOK
	}
	operation = m.operations.bound(operation)
	m.calls.WithLabelValues(operation, m.codes.bound(code)).Inc()
	m.callSeconds.WithLabelValues(operation).Observe(took.Seconds())
	if throttled {
		m.throttles.WithLabelValues(operation).Inc()
	}
}

// waited records how long a call waited for the engine's own limit of a quota category, and whether
// it was refused in the end.
func (m *metrics) waited(category string, took time.Duration, refused bool) {
	if m == nil {
		return
	}
	category = m.categories.bound(category)
	m.waitSeconds.WithLabelValues(category).Observe(took.Seconds())
	if refused {
		m.refusals.WithLabelValues(category).Inc()
	}
}

// observer records what happens in internal/cognito.
func (m *metrics) observer() cognito.Observer {
	return cognito.Observer{
		Call:  func(call cognito.Call) { m.awsCall(call.Operation, call.Code, call.Took, call.Throttled) },
		Wait:  m.waited,
		Token: m.tokenBought,
	}
}

// rotated records the outcome of a rotation.
func (m *metrics) rotated(kind string, err error) {
	if m == nil {
		return
	}
	result := "done"
	if err != nil {
		result = "failed"
		m.failed(stepRotate, err)
	}
	m.rotations.WithLabelValues(kind, result).Inc()
}

// ticked records that Vault made the engine do its periodic work.
func (m *metrics) ticked(err error) {
	if m == nil {
		return
	}
	m.failed(stepTick, err)
	m.lastTick.WithLabelValues().Set(unixSeconds(m.now()))
}

// dropRole makes room for the names of other roles. What was counted of this one is gone.
func (m *metrics) dropRole(name string) {
	if m == nil {
		return
	}
	label := prometheus.Labels{"role": name}
	m.tokenReads.drop(name)
	for _, vec := range []*prometheus.CounterVec{m.issues, m.bought, m.cost, m.life} {
		vec.DeletePartialMatch(label)
	}
	m.roles.drop(name)
}

// failureCode returns AWS's code of an error, or a word of the engine for one that has none.
func failureCode(err error) string {
	var user *userError
	var aws *cognito.Error
	switch {
	case errors.As(err, &user):
		return codeBadRequest
	case !errors.As(err, &aws):
		return statusWord(err)
	case aws.Code != "":
		return aws.Code
	case aws.Kind == cognito.KindThrottled:
		return codeLimit
	case aws.Kind == cognito.KindUnavailable:
		return codeNoAnswer
	default:
		return codeBadRequest
	}
}

// statusWord returns the word for an error of the engine that has a status of its own.
func statusWord(err error) string {
	var coded logical.HTTPCodedError
	if !errors.As(err, &coded) {
		return codeInternal
	}
	switch coded.Code() {
	case http.StatusConflict: // of a library set
		return codeNoneFree
	case http.StatusTooManyRequests: // max_issued, or too many wrong passwords
		return codeReached
	default:
		return codeInternal
	}
}

func unixSeconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

// labelValues bounds the values of a label: the first max different ones are kept.
type labelValues struct {
	max  int
	mu   sync.RWMutex
	seen map[string]struct{}
}

// bound returns a value as the label has it.
func (l *labelValues) bound(value string) string {
	l.mu.RLock()
	_, known := l.seen[value]
	l.mu.RUnlock()
	if known {
		return value
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, known := l.seen[value]; !known && len(l.seen) >= l.max {
		return metricOther
	}
	if l.seen == nil {
		l.seen = map[string]struct{}{}
	}
	l.seen[value] = struct{}{}
	return value
}

func (l *labelValues) drop(value string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.seen, value)
}

// roleCounters caches the counter of each role: looking one up by its label costs more than adding
// to it.
type roleCounters struct {
	vec   *prometheus.CounterVec
	known sync.Map // of prometheus.Counter by the name of the role
	// changes is locked while a counter is made or dropped, so that none that was dropped is known.
	changes sync.Mutex
}

func (c *roleCounters) of(roles *labelValues, role string) prometheus.Counter {
	if found, ok := c.known.Load(role); ok {
		return found.(prometheus.Counter)
	}
	c.changes.Lock()
	defer c.changes.Unlock()
	label := roles.bound(role)
	counter := c.vec.WithLabelValues(label)
	if label == role {
		c.known.Store(role, counter)
	}
	return counter
}

func (c *roleCounters) drop(role string) {
	c.changes.Lock()
	defer c.changes.Unlock()
	c.known.Delete(role)
	c.vec.DeleteLabelValues(role)
}
