// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	factorPassword = "PASSWORD"
	factorWebAuthn = "WEB_AUTHN"

	maxPasskeys      = 20
	passkeyChallenge = 32
	publicKeyType    = "public-key"
)

// signInPolicy names the first factors that users may sign in with.
type signInPolicy struct {
	AllowedFirstAuthFactors []string
}

// webAuthnConfiguration is part of the pool's MFA configuration.
type webAuthnConfiguration struct {
	RelyingPartyId      string `json:",omitempty"`
	UserVerification    string `json:",omitempty"`
	FactorConfiguration string `json:",omitempty"`
}

// passkeys are the registered ones of a user. The emulator registers, lists and deletes passkeys;
// it checks neither attestations nor sign-ins with them.
type passkeys struct {
	// challenge belongs to the registration that the user last started.
	challenge  string
	registered []passkey
}

type passkey struct {
	id         string
	attachment string
	transports []string
	party      string
	created    time.Time
}

func (p passkeys) ids() []string {
	ids := []string{}
	for _, k := range p.registered {
		ids = append(ids, k.id)
	}
	return ids
}

// allowsPasskeys reports whether the pool allows passkeys as a first factor.
func (s poolSettings) allowsPasskeys() bool {
	return s.Policies != nil && s.Policies.SignInPolicy != nil &&
		slices.Contains(s.Policies.SignInPolicy.AllowedFirstAuthFactors, factorWebAuthn)
}

// complete checks the policy and adds Cognito's default.
func (p *signInPolicy) complete(tier string) (*signInPolicy, error) {
	if p == nil || len(p.AllowedFirstAuthFactors) == 0 {
		if tier == tierLite {
			return nil, nil //nolint:nilnil // pools of the Lite tier have no such policy
		}
		return &signInPolicy{AllowedFirstAuthFactors: []string{factorPassword}}, nil
	}
	for _, factor := range p.AllowedFirstAuthFactors {
		if !slices.Contains([]string{factorPassword, factorWebAuthn, "EMAIL_OTP", "SMS_OTP"}, factor) {
			return nil, invalidParameter("1 validation error detected: Value '%s' at 'signInPolicy.allowedFirstAuthFactors' failed to satisfy constraint", factor)
		}
		if factor != factorPassword && tier == tierLite {
			return nil, newException(codeFeatureNotInTier, "%s is not available in the %s tier.", factor, tier)
		}
	}
	if !slices.Contains(p.AllowedFirstAuthFactors, factorPassword) {
		return nil, invalidParameter("AllowedFirstAuthFactors has to include %s.", factorPassword)
	}
	return p, nil
}

// relyingParty returns the configured id, or else the pool's domain.
func (p *pool) relyingParty() (string, error) {
	switch {
	case !p.settings.allowsPasskeys():
		return "", newException("WebAuthnNotEnabledException", "The user pool does not have WebAuthn enabled.")
	case p.webAuthn != nil && p.webAuthn.RelyingPartyId != "":
		return p.webAuthn.RelyingPartyId, nil
	case p.domains.custom != "":
		return p.domains.custom, nil
	case p.domains.prefix != "":
		return p.domains.prefix + ".auth." + p.region + ".amazoncognito.com", nil
	default:
		return "", newException("WebAuthnConfigurationMissingException", "The user pool has neither a relying party id nor a domain.")
	}
}

type startRegistrationOutput struct {
	CredentialCreationOptions map[string]any
}

// startWebAuthnRegistration returns the options for navigator.credentials.create.
func (r *request) startWebAuthnRegistration(in accessTokenInput) (any, error) {
	u, err := r.userOf(in.AccessToken)
	if err != nil {
		return nil, err
	}
	party, err := u.pool.relyingParty()
	if err != nil {
		return nil, err
	}
	if len(u.passkeys.registered) >= maxPasskeys {
		return nil, newException(codeLimitExceeded, "A user has at most %d passkeys.", maxPasskeys)
	}
	u.passkeys.challenge = r.server.random.opaque(passkeyChallenge)
	return startRegistrationOutput{map[string]any{
		"challenge":        u.passkeys.challenge,
		"rp":               map[string]any{"id": party, "name": party},
		"user":             map[string]any{"id": base64.RawURLEncoding.EncodeToString([]byte(u.sub)), "name": u.username, "displayName": u.username},
		"pubKeyCredParams": []any{map[string]any{"type": publicKeyType, "alg": -7}, map[string]any{"type": publicKeyType, "alg": -257}},
		"timeout":          60_000,
		"authenticatorSelection": map[string]any{
			"requireResidentKey": true, "residentKey": "required", "userVerification": "preferred",
		},
	}}, nil
}

type completeRegistrationInput struct {
	AccessToken string
	Credential  credential
}

// credential is what navigator.credentials.create returned, in its JSON form.
type credential struct {
	ID         string `json:"id"`
	Type       string `json:"type"`
	Attachment string `json:"authenticatorAttachment"`
	Response   struct {
		ClientDataJSON string   `json:"clientDataJSON"`
		Transports     []string `json:"transports"`
	} `json:"response"`
}

type clientData struct {
	Type      string `json:"type"`
	Challenge string `json:"challenge"`
	Origin    string `json:"origin"`
}

func (r *request) completeWebAuthnRegistration(in completeRegistrationInput) (any, error) {
	u, err := r.userOf(in.AccessToken)
	if err != nil {
		return nil, err
	}
	party, err := u.pool.relyingParty()
	if err != nil {
		return nil, err
	}
	if err := in.Credential.check(u.passkeys, party); err != nil {
		return nil, err
	}
	u.passkeys.challenge = ""
	u.passkeys.registered = append(u.passkeys.registered, passkey{
		id: in.Credential.ID, attachment: in.Credential.Attachment, transports: in.Credential.Response.Transports,
		party: party, created: r.now,
	})
	return empty{}, nil
}

// check compares the credential with the registration that the user started.
func (c credential) check(p passkeys, party string) error {
	var data clientData
	decoded, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(c.Response.ClientDataJSON, "="))
	if err != nil || json.Unmarshal(decoded, &data) != nil || c.ID == "" {
		return invalidParameter("The credential is not a response to a WebAuthn registration.")
	}
	origin, err := url.Parse(data.Origin)
	switch {
	case c.Type != publicKeyType || data.Type != "webauthn.create":
		return newException("WebAuthnCredentialNotSupportedException", "The credential type %s is not supported.", c.Type)
	case p.challenge == "" || p.challenge != data.Challenge:
		return newException("WebAuthnChallengeNotFoundException", "The challenge does not belong to a registration of this user.")
	case err != nil || origin.Hostname() != party && !strings.HasSuffix(origin.Hostname(), "."+party):
		return newException("WebAuthnOriginNotAllowedException", "The origin %s is not allowed for the relying party %s.", data.Origin, party)
	default:
		return nil
	}
}

type listPasskeysInput struct {
	AccessToken string
	MaxResults  *int
	NextToken   string
}

type passkeyDescription struct {
	CredentialId            string
	FriendlyCredentialName  string
	RelyingPartyId          string
	AuthenticatorAttachment string `json:",omitempty"`
	AuthenticatorTransports []string
	CreatedAt               epoch
}

type listPasskeysOutput struct {
	Credentials []passkeyDescription
	NextToken   string `json:",omitempty"`
}

func (r *request) listWebAuthnCredentials(in listPasskeysInput) (any, error) {
	u, err := r.userOf(in.AccessToken)
	if err != nil {
		return nil, err
	}
	keys, next, err := page(u.passkeys.registered, in.MaxResults, in.NextToken)
	if err != nil {
		return nil, err
	}
	out := listPasskeysOutput{Credentials: []passkeyDescription{}, NextToken: next}
	for _, k := range keys {
		out.Credentials = append(out.Credentials, k.describe())
	}
	return out, nil
}

func (k passkey) describe() passkeyDescription {
	d := passkeyDescription{
		CredentialId: k.id, FriendlyCredentialName: "Passkey", RelyingPartyId: k.party, AuthenticatorAttachment: k.attachment,
		AuthenticatorTransports: k.transports, CreatedAt: epoch(k.created),
	}
	if d.AuthenticatorTransports == nil {
		d.AuthenticatorTransports = []string{}
	}
	return d
}

type deletePasskeyInput struct {
	AccessToken  string
	CredentialId string
}

// deleteWebAuthnCredential needs the user's access token: Cognito has no such operation for
// administrators.
func (r *request) deleteWebAuthnCredential(in deletePasskeyInput) (any, error) {
	u, err := r.userOf(in.AccessToken)
	if err != nil {
		return nil, err
	}
	i := slices.Index(u.passkeys.ids(), in.CredentialId)
	if i < 0 {
		return nil, resourceNotFound("The passkey does not exist.")
	}
	u.passkeys.registered = slices.Delete(u.passkeys.registered, i, i+1)
	return empty{}, nil
}
