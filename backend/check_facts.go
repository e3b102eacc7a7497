// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
	"errors"

	"golang.org/x/sync/errgroup"

	"vault-plugin-secrets-cognito/internal/cognito"
)

// lookUpsAtOnce bounds the calls of one check that are under way together: the
// quotas behind them are small, and the whole account shares them.
const lookUpsAtOnce = 8

// inspector is the seam to Cognito for checks: looking, and nothing else.
type inspector interface {
	Rules(ctx context.Context) (cognito.PoolRules, error)
	AllowsSoftwareTokens(ctx context.Context) (bool, error)
	Client(ctx context.Context, id string) (cognito.ClientRules, error)
	SecretCount(ctx context.Context, clientID string) (int, error)
	FindGroup(ctx context.Context, name string) error
	Domain(ctx context.Context, host string) (cognito.DomainState, error)
}

var _ inspector = (*cognito.Pool)(nil)

// lookup is what a look-up gave, or why it gave nothing.
type lookup[T any] struct {
	value T
	err   error
}

// errNotAsked is the error of a lookup that nobody asked for.
var errNotAsked = errors.New("not asked")

func (f lookup[T]) known() bool { return f.err == nil }

// lookups are what a check learnt from AWS.
type lookups struct {
	identity       lookup[string]
	rules          lookup[cognito.PoolRules]
	softwareTokens lookup[bool]
	client         lookup[cognito.ClientRules]
	secrets        lookup[int]
	domain         lookup[cognito.DomainState]
	// groups holds an error or nil for each group that was looked for.
	groups []error
}

func newLookups() *lookups {
	return &lookups{
		softwareTokens: lookup[bool]{err: errNotAsked},
		client:         lookup[cognito.ClientRules]{err: errNotAsked},
		secrets:        lookup[int]{err: errNotAsked},
		domain:         lookup[cognito.DomainState]{err: errNotAsked},
	}
}

// lookupGroup are the questions of one check, asked side by side.
type lookupGroup struct {
	context.Context
	group errgroup.Group
}

func newLookupGroup(ctx context.Context) *lookupGroup {
	l := &lookupGroup{Context: ctx}
	l.group.SetLimit(lookUpsAtOnce)
	return l
}

// ask begins a look-up, whose answer is there after wait.
func ask[T any](l *lookupGroup, into *lookup[T], look func(context.Context) (T, error)) {
	l.group.Go(func() error {
		into.value, into.err = look(l.Context)
		return nil
	})
}

func (l *lookupGroup) wait() {
	_ = l.group.Wait() // a look-up that fails is a lookup, not an error
}

// askCommon asks what a check of either type needs.
func (l *lookupGroup) askCommon(f *lookups, aws *connection, target cognito.Target, pool inspector, role *roleEntry) {
	ask(l, &f.identity, func(ctx context.Context) (string, error) { return aws.Identity(ctx, target) })
	ask(l, &f.rules, pool.Rules)
	if role.AppClientID == "" {
		return
	}
	ask(l, &f.client, func(ctx context.Context) (cognito.ClientRules, error) {
		client, err := pool.Client(ctx, role.AppClientID)
		if err == nil && role.AppClientSecret != "" && !client.HasThisSecret(role.AppClientSecret) {
			f.secrets.value, f.secrets.err = pool.SecretCount(ctx, role.AppClientID)
		}
		return client, err
	})
}

func (l *lookupGroup) askGroups(f *lookups, pool inspector, groups []string) {
	f.groups = make([]error, len(groups))
	for i, group := range groups {
		l.group.Go(func() error {
			f.groups[i] = pool.FindGroup(l.Context, group)
			return nil
		})
	}
}

// identityFails reports that AWS takes no call of the engine's. Trouble of
// STS's own says nothing of Cognito.
func (f *lookups) identityFails() bool {
	return !f.identity.known() && cognito.KindOf(f.identity.err) == cognito.KindDenied &&
		cognito.DeniedAction(f.identity.err) != "sts:GetCallerIdentity"
}

func (f *lookups) checkIdentity() finding {
	const name = "aws_identity"
	switch {
	case f.identity.known():
		return ok(name, "The engine acts as "+f.identity.value+".")
	case f.identityFails():
		return failed(name, f.identity.err.Error(), "Mend the AWS credentials, or the role to assume, in the mount's config or in the role.")
	default:
		return lookupFailed(name, f.identity.err, "See the mount's config.")
	}
}

// checkPool also fails when the pool did not answer: nothing works then.
func (f *lookups) checkPool(role *roleEntry) finding {
	const name = "user_pool"
	const remedy = "Mend user_pool_id or region in the role, or the endpoints in the mount's config."
	switch {
	case f.rules.known():
		return ok(name, "The user pool "+role.UserPoolID+" is there.")
	case f.identityFails():
		return skipped(name, "aws_identity")
	case cognito.KindOf(f.rules.err) == cognito.KindUnavailable:
		return failed(name, f.rules.err.Error(), remedy)
	default:
		return lookupFailed(name, f.rules.err, remedy)
	}
}

func (f *lookups) checkClient(role *roleEntry) finding {
	const name = "app_client"
	switch {
	case f.client.known():
		return ok(name, "The app client "+role.AppClientID+" is in the user pool.")
	case f.broken() != "":
		return skipped(name, f.broken())
	default:
		return lookupFailed(name, f.client.err, "Mend app_client_id in the role: the user pool has no such app client.")
	}
}

// broken names the finding that explains why nothing in the pool was found.
func (f *lookups) broken() string {
	switch {
	case f.identityFails():
		return "aws_identity"
	case !f.rules.known() && cognito.DeniedAction(f.rules.err) == "":
		return "user_pool"
	default:
		return ""
	}
}

// checkSecret compares the role's secret with the app client's.
func (f *lookups) checkSecret(role *roleEntry) finding {
	const name = "client_secret"
	client := f.client.value
	switch {
	case !f.client.known():
		return skipped(name, "app_client")
	case role.AppClientSecret == "":
		return checkMissingSecret(name, role, client)
	case client.HasThisSecret(role.AppClientSecret):
		return ok(name, "The role has the app client's secret.")
	default:
		return f.checkOtherSecret(name)
	}
}

func checkMissingSecret(name string, role *roleEntry, client cognito.ClientRules) finding {
	machine := role.CredentialType != credentialTypeUser
	switch {
	case machine && client.HasSecret:
		return ok(name, "The app client's secret is looked up in the user pool.")
	case machine:
		return failed(name, "The app client shows no secret, so it cannot get tokens of its own.",
			"Give the role an app client with a secret, or app_client_secret where Cognito does not show it.")
	case client.HasSecret:
		return failed(name, "The app client has a secret and the role has none.", "Write app_client_secret into the role.")
	default:
		return ok(name, "The app client has no secret, and needs none.")
	}
}

// checkOtherSecret is about a secret that Cognito does not show. It shows the
// one that the app client was made with, and an app client may have two.
func (f *lookups) checkOtherSecret(name string) finding {
	const remedy = "Write the app client's secret into the role, or an empty app_client_secret for one without."
	shown := 0
	if f.client.value.HasSecret {
		shown = 1
	}
	switch {
	case !f.secrets.known() && cognito.KindOf(f.secrets.err) != cognito.KindInvalid:
		return lookupFailed(name, f.secrets.err, remedy)
	case f.secrets.value > shown:
		return unknown(name, "The app client has a secret that Cognito does not show; the role's may be that one.", "")
	case shown == 0:
		return failed(name, "The role has a secret and the app client has none.", remedy)
	default:
		return failed(name, "The role's secret is not the app client's.", remedy)
	}
}
