// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package check

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	"vault-plugin-secrets-cognito/internal/cognito"
)

// concurrentLookups bounds the calls that one check makes at a time: the quotas are small, and the
// whole account shares them.
const concurrentLookups = 8

// AWS is the part of cognito.Service that a check uses.
type AWS interface {
	Identity(ctx context.Context, target cognito.Target) (string, error)
	MachineToken(ctx context.Context, request cognito.MachineTokenRequest) (cognito.MachineToken, error)
	Quotas(ctx context.Context, target cognito.Target) ([]cognito.Quota, error)
}

// Pool reads a user pool and changes nothing.
type Pool interface {
	Rules(ctx context.Context) (cognito.PoolRules, error)
	AllowsSoftwareTokens(ctx context.Context) (bool, error)
	Client(ctx context.Context, id string) (cognito.ClientRules, error)
	SecretCount(ctx context.Context, clientID string) (int, error)
	FindGroup(ctx context.Context, name string) error
	Domain(ctx context.Context, host string) (cognito.DomainState, error)
	User(ctx context.Context, username string) (cognito.UserState, error)
	GroupsOf(ctx context.Context, username string) ([]string, error)
	ScopesOf(ctx context.Context, resourceServer string) ([]string, error)
	CountAppClients(ctx context.Context, most int) (int, error)
	ClientSecretIDs(ctx context.Context, clientID string) ([]string, error)
}

var (
	_ AWS  = (*cognito.Service)(nil)
	_ Pool = (*cognito.Pool)(nil)
)

// Subject is what every check compares: a user pool and, unless its ID is empty, an app client.
type Subject struct {
	Target    cognito.Target
	AppClient cognito.AppClient
}

// lookups holds what a check read from AWS.
type lookups struct {
	Subject
	identity Result[string]
	rules    Result[cognito.PoolRules]
	client   Result[cognito.ClientRules]
	// secrets counts the app client's secrets. It is read only if the stored secret is not the one
	// that Cognito shows, or if there is neither.
	secrets Result[int]
}

func newLookups(s Subject) lookups {
	return lookups{
		Subject: s, identity: notRead[string](), rules: notRead[cognito.PoolRules](),
		client: notRead[cognito.ClientRules](), secrets: notRead[int](),
	}
}

// reader runs the calls of one check concurrently.
type reader struct {
	ctx   context.Context
	group errgroup.Group
}

func newReader(ctx context.Context) *reader {
	r := &reader{ctx: ctx}
	r.group.SetLimit(concurrentLookups)
	return r
}

// read starts a call whose result is stored in to before wait returns.
func read[T any](r *reader, to *Result[T], call func(context.Context) (T, error)) {
	r.group.Go(func() error {
		to.Value, to.Err = call(r.ctx)
		return nil
	})
}

func (r *reader) wait() {
	_ = r.group.Wait() // a failed call is a Result
}

// start reads what every check compares.
func (l *lookups) start(r *reader, aws AWS, pool Pool) {
	read(r, &l.identity, func(ctx context.Context) (string, error) { return aws.Identity(ctx, l.Target) })
	read(r, &l.rules, pool.Rules)
	if l.AppClient.ID != "" {
		r.group.Go(func() error {
			l.readClient(r.ctx, pool)
			return nil
		})
	}
}

func (l *lookups) readClient(ctx context.Context, pool Pool) {
	l.client = ResultOf(pool.Client(ctx, l.AppClient.ID))
	if !l.client.known() {
		return
	}
	client := l.client.Value
	if l.AppClient.Secret == "" && !client.HasSecret || l.AppClient.Secret != "" && !client.HasThisSecret(l.AppClient.Secret) {
		l.secrets = ResultOf(pool.SecretCount(ctx, l.AppClient.ID))
	}
}

// identityFails reports whether AWS rejects the engine's credentials. An error of STS itself says
// nothing about Cognito.
func (l *lookups) identityFails() bool {
	return !l.identity.known() && cognito.KindOf(l.identity.Err) == cognito.KindDenied &&
		cognito.DeniedAction(l.identity.Err) != "sts:GetCallerIdentity"
}

// brokenBy returns the name of the finding that explains why nothing in the pool could be read.
func (l *lookups) brokenBy() string {
	switch {
	case l.identityFails():
		return "aws_identity"
	case !l.rules.known() && cognito.DeniedAction(l.rules.Err) == "":
		return "user_pool"
	default:
		return ""
	}
}

func (l *lookups) checkIdentity() Finding {
	const name = "aws_identity"
	switch {
	case l.identity.known():
		return Passed(name, "The engine acts as "+l.identity.Value+".")
	case l.identityFails():
		return Failed(name, l.identity.Err.Error(), "Correct the AWS credentials or aws_assume_role_arn, in the config or in the role.")
	default:
		return lookupFailed(name, l.identity.Err, "Check the config.")
	}
}

// checkPool is also a failure if the pool did not answer, because nothing works then.
func (l *lookups) checkPool() Finding {
	const name = "user_pool"
	const remedy = "Correct user_pool_id or region in the role, or the endpoints in the config."
	switch {
	case l.rules.known():
		return Passed(name, "The user pool "+l.Target.UserPoolID+" exists.")
	case l.identityFails():
		return skipped(name, "aws_identity")
	case cognito.KindOf(l.rules.Err) == cognito.KindUnavailable && !cognito.IsInternalError(l.rules.Err):
		return Failed(name, sentence(l.rules.Err.Error()), remedy)
	default:
		return lookupFailed(name, l.rules.Err, remedy)
	}
}

func (l *lookups) checkClient() Finding {
	const name = "app_client"
	switch {
	case l.client.known():
		return Passed(name, "The app client "+l.AppClient.ID+" exists in the user pool.")
	case l.brokenBy() != "":
		return skipped(name, l.brokenBy())
	default:
		return lookupFailed(name, l.client.Err, "Correct app_client_id in the role: the user pool has no such app client.")
	}
}

// checkSecret compares the stored secret with the app client's. The finding for a subject without a
// stored secret is returned by without.
func (l *lookups) checkSecret(without func(name string, client cognito.ClientRules) Finding) Finding {
	const name = "client_secret"
	switch {
	case !l.client.known():
		return skipped(name, "app_client")
	case l.AppClient.Secret == "" && !l.client.Value.HasSecret && l.secrets.Value > 0:
		return Failed(name, fmt.Sprintf("Cognito shows none of the app client's secrets, of which there are %d, because the first one was deleted.", l.secrets.Value),
			"Write one of them to app_client_secret. A role for machine tokens can name a static role that owns the app client in static_role instead.")
	case l.AppClient.Secret == "":
		return without(name, l.client.Value)
	case l.client.Value.HasThisSecret(l.AppClient.Secret):
		return Passed(name, "app_client_secret is the app client's secret.")
	default:
		return l.checkHiddenSecret(name)
	}
}

// checkHiddenSecret handles a stored secret that is not the one that Cognito shows. Cognito shows
// the secret that the app client was created with, and an app client may have two.
func (l *lookups) checkHiddenSecret(name string) Finding {
	const remedy = "Write the app client's secret to app_client_secret, or an empty one if the app client has none."
	shown := 0
	if l.client.Value.HasSecret {
		shown = 1
	}
	switch {
	case !l.secrets.known() && cognito.KindOf(l.secrets.Err) != cognito.KindInvalid:
		return lookupFailed(name, l.secrets.Err, remedy)
	case l.secrets.Value > shown:
		return unknown(name, "The app client has a secret that Cognito does not show; app_client_secret may be that one.", "")
	case shown == 0:
		return Failed(name, "app_client_secret is set, but the app client has none.", remedy)
	default:
		return Failed(name, "app_client_secret is not the app client's secret.", remedy)
	}
}

// userClientWithoutSecret is the finding for an app client that users sign in through.
func userClientWithoutSecret(name string, client cognito.ClientRules) Finding {
	if client.HasSecret {
		return Failed(name, "The app client has a secret, but app_client_secret is not set.", "Write app_client_secret.")
	}
	return Passed(name, "The app client has no secret and needs none.")
}
