// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package faults

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/pquerna/otp/totp"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"vault-plugin-secrets-cognito/internal/counters"
	"vault-plugin-secrets-cognito/internal/emulator/control"
)

// heldLease is a lease that Vault has.
type heldLease struct {
	secret *logical.Secret
	data   map[string]any
	// ending says that Vault began to revoke it, and ended that it succeeded.
	ending, ended bool
}

// The types of leases, as the engine names them.
const (
	userLease       = "user"
	clientLease     = "app_client"
	membershipLease = "group_membership"
)

func (l *heldLease) isOf(secretType string) bool {
	return l.secret.InternalData["secret_type"] == secretType
}

// issued reports whether the lease is of a user that the engine created.
func (l *heldLease) issued(username string) bool {
	return l.isOf(userLease) && l.username() == username
}

func (l *heldLease) username() string { return l.data["username"].(string) }

// clientID returns the app client of a lease of one.
func (l *heldLease) clientID() string { return l.data["app_client_id"].(string) }

func (l *heldLease) disables() bool { return l.secret.InternalData["revocation"] == "disable" }

// receive stores a lease, unless the response was lost.
func (e *env) receive(response *logical.Response) {
	if e.responsesLost {
		return
	}
	lease := &heldLease{secret: response.Secret, data: response.Data}
	for _, field := range []string{"password", "app_client_secret", "refresh_token", "totp_secret"} {
		if secret, ok := response.Data[field].(string); ok {
			e.secrets = append(e.secrets, secret)
		}
	}
	e.leases = append(e.leases, lease)
}

func (e *env) revoke(lease *heldLease) error {
	e.T.Helper()
	lease.ending = true
	_, err := e.tryLease(logical.RevokeOperation, lease.secret)
	lease.ended = lease.ended || err == nil && !e.responsesLost
	return err
}

func (e *env) renew(lease *heldLease) error {
	e.T.Helper()
	response, err := e.tryLease(logical.RenewOperation, lease.secret)
	if err == nil && response.Secret == nil {
		e.lose(counters.LeasesStuck, "a renewal without error extends nothing")
	}
	return err
}

// checkLeases requires that each returned user works, and that each lease can be renewed and
// revoked.
func (e *env) checkLeases() {
	e.T.Helper()
	for _, lease := range e.leases {
		if !lease.ending {
			e.checkObject(lease)
			if err := e.renew(lease); err != nil {
				e.lose(counters.LeasesStuck, "a renewal fails after the repair: %v", err)
			}
		}
		if err := e.revoke(lease); err != nil {
			e.lose(counters.LeasesStuck, "a revocation fails after the repair: %v", err)
		}
	}
}

// checkObject requires that what the lease is of is there and works.
func (e *env) checkObject(lease *heldLease) {
	e.T.Helper()
	switch {
	case lease.isOf(clientLease):
		e.checkClient(lease)
	case lease.isOf(membershipLease):
		e.checkMember(lease)
	default:
		e.checkUser(lease)
	}
}

// checkNothingLeft requires that nothing of the engine is at Cognito without a lease.
func (e *env) checkNothingLeft() {
	e.T.Helper()
	e.checkUsers()
	e.checkClients()
	e.checkMemberships()
}

// checkUser tries the returned credentials at Cognito.
func (e *env) checkUser(lease *heldLease) {
	e.T.Helper()
	i := slices.IndexFunc(e.Users(), func(u control.User) bool { return u.Username == lease.username() })
	if i < 0 {
		e.lose(counters.LeasesStuck, "user %q is gone before its time", lease.username())
		return
	}
	user := e.Users()[i]
	require.True(e.T, user.Enabled, "a user with a lease is disabled")
	require.Equal(e.T, "CONFIRMED", user.Status)
	require.ElementsMatch(e.T, e.Read("roles/ci")["groups"], user.Groups)
	if !e.signsIn(lease) {
		e.lose(counters.PasswordsLost, "user %q cannot sign in with the returned password", lease.username())
	}
	if token, ok := lease.data["access_token"].(string); ok {
		_, err := e.Admin.GetUser(e.T.Context(), &cip.GetUserInput{AccessToken: &token})
		require.NoError(e.T, err, "the returned access token")
	}
}

// signsIn reports whether Cognito accepts the returned credentials.
func (e *env) signsIn(lease *heldLease) bool {
	e.T.Helper()
	out, err := e.signIn(lease.username(), lease.data["password"].(string))
	secret, enrolled := lease.data["totp_secret"].(string)
	if err != nil || !enrolled {
		return err == nil && out.AuthenticationResult != nil
	}
	// The present code was used by the enrolment.
	code, err := totp.GenerateCode(secret, time.Now().Add(30*time.Second))
	require.NoError(e.T, err)
	_, err = e.Admin.AdminRespondToAuthChallenge(e.T.Context(), &cip.AdminRespondToAuthChallengeInput{
		UserPoolId: &e.Seed.UserPoolID, ClientId: &e.Seed.PublicClientID, ChallengeName: out.ChallengeName, Session: out.Session,
		ChallengeResponses: map[string]string{"USERNAME": lease.username(), "SOFTWARE_TOKEN_MFA_CODE": code},
	})
	return err == nil
}

func (e *env) signIn(username, password string) (*cip.AdminInitiateAuthOutput, error) {
	e.T.Helper()
	return e.Admin.AdminInitiateAuth(e.T.Context(), &cip.AdminInitiateAuthInput{
		UserPoolId: &e.Seed.UserPoolID, ClientId: &e.Seed.PublicClientID, AuthFlow: types.AuthFlowTypeAdminUserPasswordAuth,
		AuthParameters: map[string]string{"USERNAME": username, "PASSWORD": password},
	})
}

// checkUsers requires that the pools have no users but those from before and those with a lease.
func (e *env) checkUsers() {
	e.T.Helper()
	for _, user := range e.Users() {
		if slices.Contains(otherUsers, user.Username) || e.lending != nil { // see checkLibrary
			continue
		}
		i := slices.IndexFunc(e.leases, func(l *heldLease) bool { return l.issued(user.Username) })
		switch {
		case i < 0 && !user.Enabled && e.Read("roles/ci")["revocation"] == "disable":
		case i < 0:
			e.lose(counters.UsersLeft, "user %q has no lease", user.Username)
		case e.leases[i].ended && (user.Enabled || !e.leases[i].disables()):
			e.lose(counters.UsersLeft, "user %q is still there after its lease was revoked", user.Username)
		}
	}
}

// checkClient requires that the returned app client gets a token.
func (e *env) checkClient(lease *heldLease) {
	e.T.Helper()
	config := clientcredentials.Config{
		ClientID: lease.clientID(), ClientSecret: lease.data["app_client_secret"].(string),
		TokenURL: lease.data["token_endpoint"].(string), AuthStyle: oauth2.AuthStyleInParams,
	}
	if _, err := config.Token(e.T.Context()); err != nil {
		e.lose(counters.LeasesStuck, "app client %q gets no token: %v", lease.clientID(), err)
	}
}

// checkClients requires that the pool has no app clients of the engine but those with a lease.
func (e *env) checkClients() {
	e.T.Helper()
	out, err := e.Admin.ListUserPoolClients(e.T.Context(), &cip.ListUserPoolClientsInput{UserPoolId: &e.Seed.UserPoolID, MaxResults: aws.Int32(60)})
	require.NoError(e.T, err)
	for _, client := range out.UserPoolClients {
		held := slices.ContainsFunc(e.leases, func(l *heldLease) bool {
			return !l.ended && l.isOf(clientLease) && l.clientID() == *client.ClientId
		})
		if strings.HasPrefix(*client.ClientName, "vault-") && !held {
			e.lose(counters.UsersLeft, "app client %q has no lease", *client.ClientName)
		}
	}
}

// staticObject is what a static role owns.
type staticObject struct {
	role map[string]any
	// present is the value in force while there is no static role.
	present string
	// mayEnd says that the role may not exist.
	mayEnd bool
}

// foreignSecret is a secret of the app client that the engine did not make.
const foreignSecret = "hushForeignSecretOf32Characters1"

// otherUsers are users that the engine did not issue.
var otherUsers = []string{staticUser, "bob"}

// own creates a static role.
func (e *env) own(name, kind string, changes map[string]any) {
	e.T.Helper()
	e.plan(name, kind, changes)
	e.WriteOK("static-roles/"+name, e.statics[name].role)
	e.OK(logical.UpdateOperation, "rotate-role/"+name, nil)
	value, _, err := e.valueOf(name)
	require.NoError(e.T, err)
	e.statics[name].present, e.statics[name].mayEnd = value, false
}

// plan prepares a static role that is created later.
func (e *env) plan(name, kind string, changes map[string]any) {
	e.T.Helper()
	role := e.kinds()[kind]
	for field, value := range changes {
		role[field] = value
		if value == nil {
			delete(role, field)
		}
	}
	present := presentPassword
	if kind == aSecret {
		present = e.Seed.M2MClientSecret
	}
	e.statics[name] = &staticObject{role: role, present: present, mayEnd: true}
}

// valueOf returns what static-creds returns, and whether it is in doubt.
func (e *env) valueOf(name string) (value string, inDoubt bool, err error) {
	e.T.Helper()
	response, err := e.try(logical.ReadOperation, "static-creds/"+name, nil)
	if err != nil {
		return "", false, err
	}
	for _, field := range []string{"password", "app_client_secret"} {
		if v, ok := response.Data[field].(string); ok {
			value = v
		}
	}
	e.secrets = append(e.secrets, value)
	inDoubt, _ = response.Data["in_doubt"].(bool)
	return value, inDoubt, nil
}

// accepts reports whether Cognito accepts a value.
func (e *env) accepts(object *staticObject, value string) bool {
	e.T.Helper()
	if object.role["credential_type"] == "user_password" {
		_, err := e.signIn(object.role["username"].(string), value)
		return err == nil
	}
	config := clientcredentials.Config{
		ClientID: e.Seed.M2MClientID, ClientSecret: value, TokenURL: e.Seed.Domain + "/oauth2/token", AuthStyle: oauth2.AuthStyleInParams,
	}
	_, err := config.Token(e.T.Context())
	return err == nil
}

// checkStaticsAtOnce is for the moment of the repair: a returned value must work unless it is said
// to be in doubt. A secret must work in any case, because two are valid at a time.
func (e *env) checkStaticsAtOnce() {
	e.T.Helper()
	for name, object := range e.statics {
		value, inDoubt, err := e.valueOf(name)
		if err != nil {
			continue // there is none
		}
		if value == "" {
			e.lose(counters.PasswordsLost, "static-creds/%s returns an empty value", name)
			continue
		}
		if (!inDoubt || object.role["credential_type"] == "app_client_secret") && !e.accepts(object, value) {
			e.lose(counters.PasswordsLost, "Cognito rejects what static-creds/%s returns at once", name)
		}
	}
}

// checkStatics requires that Cognito accepts what static-creds returns.
func (e *env) checkStatics() {
	e.T.Helper()
	if e.foreign && !e.accepts(e.statics["x"], foreignSecret) {
		e.lose(counters.PasswordsLost, "a secret that the engine did not make is gone")
	}
	for name, object := range e.statics {
		shown := e.Read("static-roles/" + name)
		if shown == nil {
			if !object.mayEnd || !e.accepts(object, object.present) {
				e.lose(counters.PasswordsLost, "static role %q is gone", name)
			}
			continue
		}
		value, inDoubt, err := e.valueOf(name)
		require.NoError(e.T, err)
		object.present = value
		if !e.foreign { // else no rotation can succeed
			require.Equal(e.T, "", shown["last_error"])
			require.False(e.T, inDoubt)
		}
		if !e.accepts(object, value) {
			e.lose(counters.PasswordsLost, "Cognito rejects what static-creds/%s returns", name)
		}
	}
}

// learnSecrets learns what is in storage and must not be shown, such as a pending password.
func (e *env) learnSecrets() {
	e.T.Helper()
	for name := range e.statics {
		entry, err := e.storage.Storage.Get(e.T.Context(), "static-roles/"+name)
		require.NoError(e.T, err)
		if entry == nil {
			continue
		}
		var role struct {
			Value   string
			Pending struct{ Value string }
		}
		require.NoError(e.T, json.Unmarshal(entry.Value, &role))
		e.secrets = append(e.secrets, role.Value, role.Pending.Value)
	}
	for _, key := range e.Keys() {
		e.secrets = append(e.secrets, key.Secret)
	}
}

// checkRoot requires that the IAM user has the one access key that is stored.
func (e *env) checkRoot() {
	e.T.Helper()
	if !e.rotatesRoot {
		return
	}
	keys, stored := e.Keys(), e.storedConfig()
	if len(keys) != 1 || keys[0].ID != stored["aws_access_key_id"] || keys[0].Secret != stored["aws_secret_access_key"] {
		e.lose(counters.PasswordsLost, "the IAM user has %d access keys, and the config has %v", len(keys), stored["aws_access_key_id"])
	}
}
