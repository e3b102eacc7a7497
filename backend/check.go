// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"cmp"
	"context"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-cognito/internal/check"
	"vault-plugin-secrets-cognito/internal/cognito"
)

// passwordSamples is how many passwords of a policy are compared with the pool's: a policy may meet
// it by chance only.
const passwordSamples = 10

// subject is one of the subjects of internal/check.
type subject interface {
	Run(ctx context.Context, aws check.AWS, pool check.Pool) []check.Finding
}

// checkRole returns what would stop a role from working. A role with an invalid field is not
// compared with its pool.
func (b *backend) checkRole(ctx context.Context, req *logical.Request, name string, role *roleEntry, aws *connection) []check.Finding {
	if err := role.validate(aws.region); err != nil {
		return []check.Finding{check.Failed("role", err.Error(), "Correct the field and write the role again.")}
	}
	valid := append([]check.Finding{check.Passed("role", "The role's fields are valid.")}, role.access().checkRegion(aws.region)...)
	if role.CredentialType == credentialTypeUser {
		return append(valid, runCheck(ctx, aws, role.target(aws.region), b.userSubject(ctx, req, name, role, aws))...)
	}
	if role.CredentialType == credentialTypeAppClient {
		return append(valid, runCheck(ctx, aws, role.target(aws.region), check.Issuer{
			Target: role.target(aws.region), Domain: role.CognitoPoolDomain, Scopes: role.Scopes,
		})...)
	}
	if role.CredentialType == credentialTypeGroupMembership {
		return append(valid, runCheck(ctx, aws, role.target(aws.region), b.memberSubject(req, role, aws))...)
	}
	request, err := b.roleTokenRequest(ctx, req, aws, name, role)
	if err != nil {
		return []check.Finding{check.Failed("role", err.Error(), "Correct static_role, or the static role that it names.")}
	}
	return append(valid, runCheck(ctx, aws, request.Target, check.Machine{Request: request})...)
}

// checkLibrary returns what would stop a library set from lending users, or let a holder keep one.
func (b *backend) checkLibrary(ctx context.Context, req *logical.Request, name string, aws *connection) ([]check.Finding, error) {
	set, err := b.existingLibrarySet(ctx, req.Storage, name)
	if err != nil {
		return nil, err
	}
	role, _, err := b.usableRole(ctx, req, set.Role)
	if err != nil {
		return []check.Finding{check.Failed("role", err.Error(), "Correct the role of the set.")}, nil
	}
	users, err := usersOf(ctx, req.Storage, name, set)
	if err != nil {
		return nil, err
	}
	subject := check.Library{Role: b.userSubject(ctx, req, set.Role, role, aws), Wanted: set.wanted(), Broken: map[string]string{}}
	for _, u := range users {
		switch {
		case u.State == libraryAvailable:
			subject.Free++
		case u.State == libraryLent:
			subject.Lent++
		case u.LastError != "":
			subject.Broken[u.shownName()] = u.LastError
		}
	}
	valid := check.Passed("role", "The role's fields are valid.")
	return append([]check.Finding{valid}, runCheck(ctx, aws, role.target(aws.region), subject)...), nil
}

// checkStaticRole returns what would stop the rotations of a static role.
func checkStaticRole(ctx context.Context, role *staticRole, aws *connection, now time.Time) []check.Finding {
	if err := role.validate(aws.region); err != nil {
		return []check.Finding{check.Failed("role", err.Error(), "Correct the field and write the static role again.")}
	}
	rotation := check.Rotation{LastError: role.LastError, Started: role.State == staticSetting || role.State == staticProving, Next: role.NextRotation, Retry: latest(role.nextAttempt(now), now)}
	findings := append([]check.Finding{rotation.Finding()}, role.access().checkRegion(aws.region)...)
	return append(findings, runCheck(ctx, aws, role.target(aws.region), role.subject(aws.region))...)
}

// runCheck compares a subject with its pool. A target without pool or region has none to read.
func runCheck(ctx context.Context, aws *connection, target cognito.Target, of subject) []check.Finding {
	if target.UserPoolID == "" || target.Region == "" {
		return of.Run(ctx, aws, nil)
	}
	pool, err := aws.Pool(ctx, target)
	if err != nil {
		return []check.Finding{check.Failed("aws_identity", err.Error(), "Check the AWS settings of Vault's process.")}
	}
	return of.Run(ctx, aws, pool)
}

// userSubject renders one sample user of the role.
func (b *backend) userSubject(ctx context.Context, req *logical.Request, name string, role *roleEntry, aws *connection) check.User {
	data := b.templateData(req, name, role.UserPoolID)
	username := check.ResultOf(role.username(aws, data))
	data.Username = username.Value
	return check.User{
		Subject:    check.Subject{Target: role.target(aws.region), AppClient: role.appClient()},
		Groups:     role.Groups,
		SignsIn:    !role.NoTokens || role.mfa() == mfaTOTP,
		TOTP:       role.mfa() == mfaTOTP,
		Lease:      cmp.Or(role.TTL, b.System().DefaultLeaseTTL()),
		Username:   username,
		Attributes: check.ResultOf(role.attributes(data)),
		Passwords:  check.ResultOf(b.samplePasswords(ctx, role.passwordPolicy(aws))),
	}
}

// memberSubject names the user if it is the same for all callers, or if the caller of the check has
// one.
func (b *backend) memberSubject(req *logical.Request, role *roleEntry, aws *connection) check.Member {
	member := check.Member{Subject: check.Subject{Target: role.target(aws.region)}, Groups: role.Groups, Template: role.Username}
	name, err := b.memberName(req, role)
	if err == nil || !role.hasMemberTemplate() {
		member.Username, member.Template = name, ""
	}
	return member
}

func (b *backend) samplePasswords(ctx context.Context, policy string) ([]string, error) {
	var passwords []string
	for range passwordSamples {
		password, err := b.newPasswordBy(ctx, policy)
		if err != nil {
			return nil, err
		}
		passwords = append(passwords, password)
	}
	return passwords, nil
}

// subject returns what the static role owns, as plain values.
func (r *staticRole) subject(defaultRegion string) subject {
	target := r.target(defaultRegion)
	if r.CredentialType == staticTypePassword {
		return check.StaticPassword{
			Subject:  check.Subject{Target: target, AppClient: r.appClient()},
			Username: r.user(), SelfManaged: r.SelfManaged,
		}
	}
	return check.StaticSecret{
		Target: target, ClientID: r.AppClientID, SecretID: r.SecretID, PreviousID: r.PreviousID,
		Request: cognito.MachineTokenRequest{
			Domain: r.CognitoPoolDomain, AppClient: cognito.AppClient{ID: r.AppClientID, Secret: r.Value}, Scopes: r.Scopes,
			SecretPool: r.secretPool(defaultRegion),
		},
	}
}
