// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"regexp"
	"slices"
	"time"
)

const (
	maxClientSecrets      = 2
	generatedSecretLength = 51
)

var clientSecretPattern = regexp.MustCompile(`^[\w+]{24,64}$`)

// clientSecret is one secret of an app client. The original is the one that the client was created
// with.
type clientSecret struct {
	id       string
	value    string
	original bool
	created  time.Time
}

type secretDescriptor struct {
	ClientSecretId         string
	ClientSecretValue      string `json:",omitempty"`
	ClientSecretCreateDate epoch
}

type addSecretInput struct {
	clientInput
	ClientSecret string
}

type addSecretOutput struct {
	ClientSecretDescriptor secretDescriptor
}

type listSecretsOutput struct {
	ClientSecrets []secretDescriptor
}

type deleteSecretInput struct {
	clientInput
	ClientSecretId string
}

// addUserPoolClientSecret returns the value of the new secret only if it was generated here.
func (r *request) addUserPoolClientSecret(in addSecretInput) (any, error) {
	c, err := r.findClient(in.clientInput)
	if err != nil {
		return nil, err
	}
	if err := c.checkNewSecret(in.ClientSecret); err != nil {
		return nil, err
	}
	secret := clientSecret{id: c.newSecretID(r.now), value: in.ClientSecret, created: r.now}
	descriptor := secret.describe()
	if secret.value == "" {
		secret.value = r.newSecretValue()
		descriptor.ClientSecretValue = secret.value
	}
	c.secrets = append(c.secrets, secret)
	return addSecretOutput{descriptor}, nil
}

func (c *client) checkNewSecret(value string) error {
	switch {
	case !c.confidential():
		return invalidParameter("Client %s was created without a secret and cannot get one.", c.id)
	case value != "" && checkSecretPattern(value) != nil:
		return checkSecretPattern(value)
	case len(c.secrets) >= maxClientSecrets:
		return newException(codeLimitExceeded, "Client %s already has %d active secrets.", c.id, maxClientSecrets)
	default:
		return nil
	}
}

func checkSecretPattern(value string) error {
	if clientSecretPattern.MatchString(value) {
		return nil
	}
	return invalidParameter("1 validation error detected: Value at 'clientSecret' failed to satisfy constraint: " +
		`Member must have 24 to 64 characters of the pattern [\w+]+`)
}

func (r *request) newSecretValue() string {
	return r.server.random.text(lowerAlphanumeric, generatedSecretLength)
}

// newSecretID returns an id that ends in the present second, or the next unused one: an id is never
// used twice.
func (c *client) newSecretID(now time.Time) string {
	c.lastSecretSecond = max(now.Unix(), c.lastSecretSecond+1)
	return fmt.Sprintf("%s--%d", c.id, c.lastSecretSecond)
}

func (s clientSecret) describe() secretDescriptor {
	return secretDescriptor{ClientSecretId: s.id, ClientSecretCreateDate: epoch(s.created)}
}

func (r *request) listUserPoolClientSecrets(in clientInput) (any, error) {
	c, err := r.findClient(in)
	if err != nil {
		return nil, err
	}
	out := listSecretsOutput{ClientSecrets: []secretDescriptor{}}
	for _, secret := range c.secrets {
		out.ClientSecrets = append(out.ClientSecrets, secret.describe())
	}
	return out, nil
}

func (r *request) deleteUserPoolClientSecret(in deleteSecretInput) (any, error) {
	c, err := r.findClient(in.clientInput)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(c.secrets, func(s clientSecret) bool { return s.id == in.ClientSecretId })
	if i < 0 {
		return nil, resourceNotFound("Client secret %s does not exist.", in.ClientSecretId)
	}
	if len(c.secrets) == 1 {
		return nil, invalidParameter("The last secret of client %s cannot be deleted.", c.id)
	}
	c.secrets = slices.Delete(c.secrets, i, i+1)
	return empty{}, nil
}

// confidential reports whether the app client has a secret.
func (c *client) confidential() bool {
	return len(c.secrets) > 0
}

func (c *client) hasSecret(value string) bool {
	return slices.ContainsFunc(c.secrets, func(s clientSecret) bool {
		return subtle.ConstantTimeCompare([]byte(s.value), []byte(value)) == 1
	})
}

// checkSecret checks the secret in operations that send it as it is.
func (c *client) checkSecret(value string) error {
	switch {
	case c.confidential() && value == "":
		return notAuthorized("Client %s is configured with secret but client secret was not received", c.id)
	case !c.confidential() && value != "":
		return notAuthorized("Client %s is configured without secret but client secret was received", c.id)
	case c.confidential() && !c.hasSecret(value):
		return notAuthorized("Client secret does not match for the client: %s", c.id)
	default:
		return nil
	}
}

// checkSecretHash checks the HMAC of username and client id in operations that send SECRET_HASH.
func (c *client) checkSecretHash(username, hash string) error {
	switch {
	case c.confidential() && hash == "":
		return notAuthorized("Client %s is configured with secret but SECRET_HASH was not received", c.id)
	case !c.confidential() && hash == "":
		return nil
	case slices.ContainsFunc(c.secrets, func(s clientSecret) bool { return hmac.Equal([]byte(s.hash(username, c.id)), []byte(hash)) }):
		return nil
	default:
		return notAuthorized("Unable to verify secret hash for client %s", c.id)
	}
}

func (s clientSecret) hash(username, clientID string) string {
	mac := hmac.New(sha256.New, []byte(s.value))
	mac.Write([]byte(username + clientID))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
