// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend_test

import (
	"encoding/json"
	"slices"
	"time"

	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/pquerna/otp/totp"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"vault-plugin-secrets-cognito/internal/emulator/control"
	"vault-plugin-secrets-cognito/internal/tally"
)

// leaseInHand is a user that was handed out.
type leaseInHand struct {
	secret *logical.Secret
	data   map[string]any
	// ending is a lease that Vault has begun to revoke, ended one whose
	// revocation succeeded.
	ending, ended bool
}

func (l *leaseInHand) username() string { return l.data["username"].(string) }

func (l *leaseInHand) disables() bool { return l.secret.InternalData["revocation"] == "disable" }

// receive takes a user over, unless the answer is lost on its way.
func (s *scene) receive(response *logical.Response) {
	if s.answersLost {
		return
	}
	lease := &leaseInHand{secret: response.Secret, data: response.Data}
	for _, field := range []string{"password", "refresh_token", "totp_secret"} {
		if secret, ok := response.Data[field].(string); ok {
			s.secrets = append(s.secrets, secret)
		}
	}
	s.leases = append(s.leases, lease)
}

func (s *scene) revoke(lease *leaseInHand) error {
	s.T.Helper()
	lease.ending = true
	_, err := s.tryLease(logical.RevokeOperation, lease.secret)
	lease.ended = lease.ended || err == nil && !s.answersLost
	return err
}

func (s *scene) renew(lease *leaseInHand) error {
	s.T.Helper()
	response, err := s.tryLease(logical.RenewOperation, lease.secret)
	if err == nil && response.Secret == nil {
		s.lose(tally.LeasesStuck, "a renewal without error extends nothing")
	}
	return err
}

// judgeLeases wants each user that was handed out to be of use, and its lease
// to come to its end.
func (s *scene) judgeLeases() {
	s.T.Helper()
	for _, lease := range s.leases {
		if !lease.ending {
			s.judgeUser(lease)
			if err := s.renew(lease); err != nil {
				s.lose(tally.LeasesStuck, "a renewal fails although all is well: %v", err)
			}
		}
		if err := s.revoke(lease); err != nil {
			s.lose(tally.LeasesStuck, "a revocation fails although all is well: %v", err)
		}
	}
}

// judgeUser tries what a user was handed out with, at Cognito itself.
func (s *scene) judgeUser(lease *leaseInHand) {
	s.T.Helper()
	i := slices.IndexFunc(s.Users(), func(u control.User) bool { return u.Username == lease.username() })
	if i < 0 {
		s.lose(tally.LeasesStuck, "user %q is gone before its time", lease.username())
		return
	}
	user := s.Users()[i]
	require.True(s.T, user.Enabled, "a user that was handed out is disabled")
	require.Equal(s.T, "CONFIRMED", user.Status)
	require.ElementsMatch(s.T, s.Read("roles/ci")["groups"], user.Groups)
	if !s.signsIn(lease) {
		s.lose(tally.PasswordsLost, "user %q cannot sign in with what was handed out", lease.username())
	}
	if token, ok := lease.data["access_token"].(string); ok {
		_, err := s.Admin.GetUser(s.T.Context(), &cip.GetUserInput{AccessToken: &token})
		require.NoError(s.T, err, "the access token that was handed out")
	}
}

// signsIn tries what a user was handed out with at Cognito.
func (s *scene) signsIn(lease *leaseInHand) bool {
	s.T.Helper()
	out, err := s.signIn(lease.username(), lease.data["password"].(string))
	secret, enrolled := lease.data["totp_secret"].(string)
	if err != nil || !enrolled {
		return err == nil && out.AuthenticationResult != nil
	}
	// The code of the moment was used up by the enrolment.
	code, err := totp.GenerateCode(secret, time.Now().Add(30*time.Second))
	require.NoError(s.T, err)
	_, err = s.Admin.AdminRespondToAuthChallenge(s.T.Context(), &cip.AdminRespondToAuthChallengeInput{
		UserPoolId: &s.Seed.UserPoolID, ClientId: &s.Seed.PublicClientID, ChallengeName: out.ChallengeName, Session: out.Session,
		ChallengeResponses: map[string]string{"USERNAME": lease.username(), "SOFTWARE_TOKEN_MFA_CODE": code},
	})
	return err == nil
}

func (s *scene) signIn(username, password string) (*cip.AdminInitiateAuthOutput, error) {
	s.T.Helper()
	return s.Admin.AdminInitiateAuth(s.T.Context(), &cip.AdminInitiateAuthInput{
		UserPoolId: &s.Seed.UserPoolID, ClientId: &s.Seed.PublicClientID, AuthFlow: types.AuthFlowTypeAdminUserPasswordAuth,
		AuthParameters: map[string]string{"USERNAME": username, "PASSWORD": password},
	})
}

// judgeUsers wants nobody to be in the pools but those who were there before
// and those with a lease.
func (s *scene) judgeUsers() {
	s.T.Helper()
	for _, user := range s.Users() {
		if slices.Contains(bystanders, user.Username) {
			continue
		}
		i := slices.IndexFunc(s.leases, func(l *leaseInHand) bool { return l.username() == user.Username })
		switch {
		case i < 0 && !user.Enabled && s.Read("roles/ci")["revocation"] == "disable":
		case i < 0:
			s.lose(tally.UsersLeft, "nobody was told of user %q", user.Username)
		case s.leases[i].ended && (user.Enabled || !s.leases[i].disables()):
			s.lose(tally.UsersLeft, "user %q has outlived its lease", user.Username)
		}
	}
}

// ownedThing is what a static role owns, or is to own.
type ownedThing struct {
	role map[string]any
	// present is a value that is in force where there is no static role.
	present string
	// mayEnd says that the role may be gone.
	mayEnd bool
}

// foreignSecret is a secret of the app client that somebody else made.
const foreignSecret = "hushForeignSecretOf32Characters1"

// bystanders are users that nobody issued.
var bystanders = []string{staticUser, "bob"}

// own makes a static role and takes note of what it owns.
func (s *scene) own(name, kind string, changes map[string]any) {
	s.T.Helper()
	s.plan(name, kind, changes)
	s.WriteOK("static-roles/"+name, s.statics[name].role)
	s.OK(logical.UpdateOperation, "rotate-role/"+name, nil)
	value, _, err := s.valueOf(name)
	require.NoError(s.T, err)
	s.statics[name].present, s.statics[name].mayEnd = value, false
}

// plan is for a static role that is still to be made.
func (s *scene) plan(name, kind string, changes map[string]any) {
	s.T.Helper()
	role := s.kinds()[kind]
	for field, value := range changes {
		role[field] = value
		if value == nil {
			delete(role, field)
		}
	}
	present := presentPassword
	if kind == aSecret {
		present = s.Seed.M2MClientSecret
	}
	s.statics[name] = &ownedThing{role: role, present: present, mayEnd: true}
}

// valueOf is what static-creds hands out, and whether it says that it is in doubt.
func (s *scene) valueOf(name string) (value string, inDoubt bool, err error) {
	s.T.Helper()
	response, err := s.try(logical.ReadOperation, "static-creds/"+name, nil)
	if err != nil {
		return "", false, err
	}
	for _, field := range []string{"password", "app_client_secret"} {
		if v, ok := response.Data[field].(string); ok {
			value = v
		}
	}
	s.secrets = append(s.secrets, value)
	inDoubt, _ = response.Data["in_doubt"].(bool)
	return value, inDoubt, nil
}

// accepts tells whether Cognito takes a value.
func (s *scene) accepts(thing *ownedThing, value string) bool {
	s.T.Helper()
	if thing.role["credential_type"] == "user_password" {
		_, err := s.signIn(thing.role["username"].(string), value)
		return err == nil
	}
	config := clientcredentials.Config{
		ClientID: s.Seed.M2MClientID, ClientSecret: value, TokenURL: s.Seed.Domain + "/oauth2/token", AuthStyle: oauth2.AuthStyleInParams,
	}
	_, err := config.Token(s.T.Context())
	return err == nil
}

// judgeStaticsAtOnce is for the moment at which all is well again: what is
// handed out has to serve, unless it says that it is being replaced. A secret
// has to serve in any case, because two of them are good at a time.
func (s *scene) judgeStaticsAtOnce() {
	s.T.Helper()
	for name, thing := range s.statics {
		value, inDoubt, err := s.valueOf(name)
		if err != nil {
			continue // there is none yet, or none any more
		}
		if value == "" {
			s.lose(tally.PasswordsLost, "static-creds/%s hands out nothing as if it were something", name)
			continue
		}
		if (!inDoubt || thing.role["credential_type"] == "app_client_secret") && !s.accepts(thing, value) {
			s.lose(tally.PasswordsLost, "what static-creds/%s hands out at once is not what Cognito takes", name)
		}
	}
}

// judgeStatics wants both ends to agree.
func (s *scene) judgeStatics() {
	s.T.Helper()
	if s.foreign && !s.accepts(s.statics["x"], foreignSecret) {
		s.lose(tally.PasswordsLost, "a secret that is not ours is gone")
	}
	for name, thing := range s.statics {
		shown := s.Read("static-roles/" + name)
		if shown == nil {
			if !thing.mayEnd || !s.accepts(thing, thing.present) {
				s.lose(tally.PasswordsLost, "static role %q is gone", name)
			}
			continue
		}
		value, inDoubt, err := s.valueOf(name)
		require.NoError(s.T, err)
		thing.present = value
		if !s.foreign { // else no rotation can succeed
			require.Equal(s.T, "", shown["last_error"])
			require.False(s.T, inDoubt)
		}
		if !s.accepts(thing, value) {
			s.lose(tally.PasswordsLost, "what static-creds/%s hands out is not what Cognito takes", name)
		}
	}
}

// learnSecrets takes note of what is in the storage and must not leave it,
// such as a password on its way.
func (s *scene) learnSecrets() {
	s.T.Helper()
	for name := range s.statics {
		entry, err := s.storage.Storage.Get(s.T.Context(), "static-roles/"+name)
		require.NoError(s.T, err)
		if entry == nil {
			continue
		}
		var role struct {
			Value   string
			Pending struct{ Value string }
		}
		require.NoError(s.T, json.Unmarshal(entry.Value, &role))
		s.secrets = append(s.secrets, role.Value, role.Pending.Value)
	}
	for _, key := range s.Keys() {
		s.secrets = append(s.secrets, key.Secret)
	}
}

// judgeRoot wants the IAM user to have the one access key that is stored.
func (s *scene) judgeRoot() {
	s.T.Helper()
	if !s.rotatesRoot {
		return
	}
	keys, stored := s.Keys(), storedConfig(s.T, s.Mount)
	if len(keys) != 1 || keys[0].ID != stored["aws_access_key_id"] || keys[0].Secret != stored["aws_secret_access_key"] {
		s.lose(tally.PasswordsLost, "the IAM user has %d access keys, and the config has %v", len(keys), stored["aws_access_key_id"])
	}
}
