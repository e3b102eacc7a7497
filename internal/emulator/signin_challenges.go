// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"encoding/json"
	"slices"
	"strings"
	"time"
)

const (
	newPasswordRequired = "NEW_PASSWORD_REQUIRED"

	responseNewPassword     = "NEW_PASSWORD"
	responseAttributePrefix = "userAttributes."

	sessionBytes = 150
)

// challenge is an open challenge of a user, stored by its session.
type challenge struct {
	name    string
	client  *client
	user    *user
	expires time.Time
	used    bool
	// verified is set in MFA_SETUP when the user has proved to have a software token.
	verified bool
	// srp is set in PASSWORD_VERIFIER.
	srp *srpExchange
}

type respondInput struct {
	clientInput
	ChallengeName      string
	ChallengeResponses map[string]string
	Session            string
}

func (r *request) adminRespondToAuthChallenge(in respondInput) (any, error) {
	c, err := r.findClient(in.clientInput)
	if err != nil {
		return nil, err
	}
	return r.respond(c, in)
}

func (r *request) respondToAuthChallenge(in respondInput) (any, error) {
	c, err := r.findClientAnywhere(in.ClientId)
	if err != nil {
		return nil, err
	}
	return r.respond(c, in)
}

// challengeUser opens a session for the answer to a challenge.
func (r *request) challengeUser(c *client, u *user, name string, parameters map[string]string) authOutput {
	parameters["USER_ID_FOR_SRP"] = u.username
	return authOutput{ChallengeName: name, ChallengeParameters: parameters, Session: r.openSession(c, u, name)}
}

func (r *request) openSession(c *client, u *user, name string) string {
	session := r.server.random.opaque(sessionBytes)
	r.storeChallenge(session, c, u, name)
	return session
}

func (r *request) storeChallenge(session string, c *client, u *user, name string) *challenge {
	asked := &challenge{
		name:    name,
		client:  c,
		user:    u,
		expires: r.now.Add(time.Duration(*c.settings.AuthSessionValidity) * time.Minute),
	}
	r.challenges[session] = asked
	return asked
}

func (r *request) challengeNewPassword(c *client, u *user) authOutput {
	return r.challengeUser(c, u, newPasswordRequired, map[string]string{
		"requiredAttributes": jsonText(prefixed(u.pool.schema.missing(u.attributes))),
		"userAttributes":     jsonText(u.attributes),
	})
}

func prefixed(names []string) []string {
	list := []string{}
	for _, name := range names {
		list = append(list, responseAttributePrefix+name)
	}
	return list
}

// jsonText encodes strings and maps and lists of them, which cannot fail.
func jsonText(v any) string {
	encoded, _ := json.Marshal(v)
	return string(encoded)
}

// respond leaves the session usable if the answer is refused.
func (r *request) respond(c *client, in respondInput) (any, error) {
	if in.ChallengeName == passwordVerifier {
		in.Session = in.ChallengeResponses[responseSecretBlock]
	}
	if err := requireParameters(map[string]string{"Session": in.Session}, "Session"); err != nil {
		return nil, err
	}
	if err := requireParameters(in.ChallengeResponses, parameterUsername); err != nil {
		return nil, err
	}
	name := in.ChallengeResponses[parameterUsername]
	if err := c.checkSecretHash(name, in.ChallengeResponses[parameterSecretHash]); err != nil {
		return nil, err
	}
	asked, err := r.findChallenge(c, in)
	if err != nil {
		return nil, err
	}
	if err := r.answerChallenge(asked, in.ChallengeResponses); err != nil {
		return nil, err
	}
	asked.used = true
	return r.afterChallenge(asked)
}

// findChallenge returns the challenge of a session if it was opened for the same client and user.
// The user is named by username here, not by an alias.
func (r *request) findChallenge(c *client, in respondInput) (*challenge, error) {
	asked, ok := r.challenges[in.Session]
	switch {
	case !ok, asked.client != c, asked.name != in.ChallengeName:
		return nil, notAuthorized("Invalid session for the user.")
	case asked.user.username != c.pool.fold(in.ChallengeResponses[parameterUsername]):
		return nil, notAuthorized("Invalid session for the user.")
	case asked.used:
		return nil, notAuthorized("Invalid session for the user, session can only be used once.")
	case !r.now.Before(asked.expires):
		return nil, notAuthorized("Invalid session for the user, session is expired.")
	case c.pool.users[c.pool.fold(asked.user.username)] != asked.user:
		return nil, userNotFound()
	case asked.user.disabled:
		return nil, userDisabled()
	default:
		return asked, nil
	}
}

func (r *request) answerChallenge(asked *challenge, responses map[string]string) error {
	switch asked.name {
	case newPasswordRequired:
		return r.answerNewPassword(asked.user, responses)
	case passwordVerifier:
		return r.answerPasswordVerifier(asked, responses)
	default:
		return r.answerMFA(asked, responses)
	}
}

// afterChallenge returns the next challenge after a password, or else the tokens.
func (r *request) afterChallenge(asked *challenge) (any, error) {
	if asked.name == newPasswordRequired || asked.name == passwordVerifier {
		return r.afterPassword(asked.client, asked.user)
	}
	return r.signInUser(asked.client, asked.user)
}

func (r *request) answerNewPassword(u *user, responses map[string]string) error {
	if err := requireParameters(responses, responseNewPassword); err != nil {
		return err
	}
	attributes := responseAttributes(responses)
	if err := u.checkResponseAttributes(attributes); err != nil {
		return err
	}
	if err := r.setPassword(u, responses[responseNewPassword]); err != nil {
		return err
	}
	u.replaceAttributes(attributes)
	u.status = statusConfirmed
	u.modified = r.now
	return nil
}

func responseAttributes(responses map[string]string) []attribute {
	var attributes []attribute
	for key, value := range responses {
		if name, ok := strings.CutPrefix(key, responseAttributePrefix); ok {
			attributes = append(attributes, attribute{Name: name, Value: value})
		}
	}
	slices.SortFunc(attributes, func(a, b attribute) int { return strings.Compare(a.Name, b.Name) })
	return attributes
}

// checkResponseAttributes demands the missing required attributes and refuses changes of existing
// ones.
func (u *user) checkResponseAttributes(attributes []attribute) error {
	for _, a := range attributes {
		if u.pool.schema[a.Name].Required && u.attributes[a.Name] != "" {
			return notAuthorized("Cannot modify an already provided %s", a.Name)
		}
	}
	if err := u.pool.schema.check(attributes); err != nil {
		return err
	}
	changed := withAttributes(u.attributes, attributes)
	if missing := u.pool.schema.missing(changed); len(missing) > 0 {
		return invalidParameter("Invalid attributes given, %s is missing", missing[0])
	}
	return u.checkAliases(changed)
}
