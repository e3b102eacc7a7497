// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"slices"
	"strings"
	"time"
)

const (
	scopeUserAdmin = "aws.cognito.signin.user.admin"
	tokenUseAccess = "access"
	tokenUseID     = "id"
	bearer         = "Bearer"
)

// signIn is one authentication of a user. Revoking it revokes all its tokens.
type signIn struct {
	client    *client
	user      *user
	eventID   string
	originJTI string
	at        time.Time
	// expires is the expiry of all its refresh tokens; rotation does not extend it.
	expires time.Time
	revoked bool
	// deviceKey is the key of a device that the user may confirm.
	deviceKey string
	// refreshTokens are the values of its refresh tokens.
	refreshTokens []string
}

// claims are the claims of a JWT.
type claims map[string]any

// signInUser completes a successful authentication.
func (r *request) signInUser(c *client, u *user) (any, error) {
	if err := r.invoke(c.pool, triggerPostAuthentication, triggerPreTokenGeneration); err != nil {
		return nil, err
	}
	s := &signIn{
		client:    c,
		user:      u,
		eventID:   r.server.random.uuid(),
		originJTI: r.server.random.uuid(),
		at:        r.now,
		expires:   r.now.Add(r.lifetimesOf(c).refresh),
	}
	r.signIns[s.eventID] = s
	u.signIns = append(u.signIns, s)
	result := r.tokensOf(s)
	result.RefreshToken = r.newRefreshToken(s)
	result.NewDeviceMetadata = r.newDevice(s)
	return authOutput{AuthenticationResult: result, ChallengeParameters: map[string]string{}}, nil
}

// tokensOf returns new access and ID tokens with the user's present groups and attributes.
func (r *request) tokensOf(s *signIn) *authenticationResult {
	r.countActive(s.user)
	valid := r.lifetimesOf(s.client)
	return &authenticationResult{
		AccessToken: r.sign(r.accessClaims(s, valid.access)),
		IdToken:     r.sign(r.idClaims(s, valid.id)),
		ExpiresIn:   int(valid.access.Seconds()),
		TokenType:   bearer,
	}
}

func (r *request) sign(c claims) *token {
	return &token{keys: r.server.keys, claims: c}
}

// userClaims returns the claims that both tokens of a user have.
func (r *request) userClaims(s *signIn, use string, valid time.Duration) claims {
	c := claims{
		"sub":       s.user.sub,
		"iss":       r.server.issuerOf(s.client.pool),
		"event_id":  s.eventID,
		"token_use": use,
		"auth_time": s.at.Unix(),
		"iat":       r.now.Unix(),
		"exp":       r.now.Add(valid).Unix(),
	}
	if s.client.revokesTokens() {
		c["jti"] = r.server.random.uuid()
		c["origin_jti"] = s.originJTI
	}
	if groups := s.user.groupNames(); len(groups) > 0 {
		c["cognito:groups"] = groups
	}
	return c
}

func (r *request) accessClaims(s *signIn, valid time.Duration) claims {
	c := r.userClaims(s, tokenUseAccess, valid)
	c["client_id"] = s.client.id
	c["username"] = s.user.username
	c["scope"] = scopeUserAdmin
	return c
}

func (r *request) idClaims(s *signIn, valid time.Duration) claims {
	c := r.userClaims(s, tokenUseID, valid)
	c["aud"] = s.client.id
	c["cognito:username"] = s.user.username
	for name, value := range s.user.attributes {
		if s.client.mayRead(name) {
			c[name] = claimValue(name, value)
		}
	}
	if roles := s.user.roleARNs(); len(roles) > 0 {
		c["cognito:roles"] = roles
		c["cognito:preferred_role"] = roles[0]
	}
	return c
}

func (c *client) mayRead(attribute string) bool {
	return len(c.settings.ReadAttributes) == 0 || slices.Contains(c.settings.ReadAttributes, attribute)
}

// claimValue returns a boolean for email_verified and phone_number_verified, and a string for all
// others.
func claimValue(name, value string) any {
	if name == attributeEmailVerified || name == attributePhoneVerified {
		return strings.EqualFold(value, "true")
	}
	return value
}

// roleARNs returns the IAM roles of the user's groups, lowest precedence first.
func (u *user) roleARNs() []string {
	var groups []*group
	for _, name := range u.groupNames() {
		if g := u.pool.groups[name]; g.roleARN != "" {
			groups = append(groups, g)
		}
	}
	slices.SortStableFunc(groups, func(a, b *group) int { return a.rank() - b.rank() })
	roles := make([]string, 0, len(groups))
	for _, g := range groups {
		roles = append(roles, g.roleARN)
	}
	return roles
}

// rank sorts groups without a precedence last.
func (g *group) rank() int {
	if g.precedence == nil {
		return 1 << 31
	}
	return *g.precedence
}

// issuerOf returns the issuer of a pool's tokens.
func (s *Server) issuerOf(p *pool) string {
	if s.issuer != "" {
		return s.issuer + "/" + p.id
	}
	return "https://cognito-idp." + p.region + ".amazonaws.com/" + p.id
}

// revokeSignIns revokes the user's tokens at Cognito.
func (u *user) revokeSignIns() {
	for _, s := range u.signIns {
		s.revoked = true
	}
}

// sessions counts the sign-ins whose refresh tokens still work.
func (u *user) sessions(now time.Time) int {
	n := 0
	for _, s := range u.signIns {
		if !u.disabled && !s.revoked && now.Before(s.expires) {
			n++
		}
	}
	return n
}

// deleteSignIns deletes the sign-ins of a deleted user.
func (r *request) deleteSignIns(u *user) {
	for _, s := range u.signIns {
		delete(r.signIns, s.eventID)
		for _, value := range s.refreshTokens {
			delete(r.refreshTokens, value)
		}
	}
	u.signIns = nil
}
