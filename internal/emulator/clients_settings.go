// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"slices"
	"time"
)

const (
	defaultAuthSessionMinutes = 3
	maxAuthSessionMinutes     = 15
	maxGracePeriodSeconds     = 60

	defaultJWTLifetime     = time.Hour
	minJWTLifetime         = 5 * time.Minute
	maxJWTLifetime         = 24 * time.Hour
	defaultRefreshLifetime = 30 * 24 * time.Hour
	minRefreshLifetime     = time.Hour
	maxRefreshLifetime     = 3650 * 24 * time.Hour
)

// tokenValidityUnits are "seconds", "minutes", "hours" or "days".
type tokenValidityUnits struct {
	AccessToken  string `json:",omitempty"`
	IdToken      string `json:",omitempty"`
	RefreshToken string `json:",omitempty"`
}

// lifetimes are how long each kind of token is valid.
type lifetimes struct {
	access  time.Duration
	id      time.Duration
	refresh time.Duration
}

// complete checks the settings of an app client and adds Cognito's defaults.
func (s clientSettings) complete(p *pool, confidential bool) (clientSettings, error) {
	s = s.withDefaults()
	for _, check := range []func() error{
		s.checkName,
		s.checkAuthFlows,
		s.checkLifetimes,
		s.checkAuthSession,
		func() error { return s.checkRotation(p) },
		func() error { return s.checkClientToken(confidential) },
		func() error { return s.checkOAuth(p, confidential) },
	} {
		if err := check(); err != nil {
			return s, err
		}
	}
	return s, nil
}

func (s clientSettings) withDefaults() clientSettings {
	if len(s.ExplicitAuthFlows) == 0 {
		s.ExplicitAuthFlows = s.defaultAuthFlows()
	}
	if s.EnableTokenRevocation == nil {
		on := true
		s.EnableTokenRevocation = &on
	}
	if s.AuthSessionValidity == nil {
		minutes := defaultAuthSessionMinutes
		s.AuthSessionValidity = &minutes
	}
	if s.RefreshTokenValidity == 0 {
		s.RefreshTokenValidity = int(defaultRefreshLifetime / unitOf(s.units().RefreshToken, 24*time.Hour))
	}
	return s
}

// defaultAuthFlows leaves out refresh token auth if refresh tokens rotate, because Cognito refuses
// both together.
func (s clientSettings) defaultAuthFlows() []string {
	if s.rotatesRefreshTokens() {
		return []string{allowCustom, allowSRP}
	}
	return []string{allowCustom, allowRefresh, allowSRP}
}

func (s clientSettings) checkName() error {
	switch {
	case s.ClientName == "":
		return invalidParameter("1 validation error detected: Value at 'clientName' failed to satisfy constraint: Member must not be null")
	case !clientNamePattern.MatchString(s.ClientName):
		return invalidParameter("1 validation error detected: Value '%s' at 'clientName' failed to satisfy constraint: "+
			`Member must have 1 to 128 characters of the pattern [\w\s+=,.@-]+`, s.ClientName)
	default:
		return nil
	}
}

func (s clientSettings) checkAuthFlows() error {
	known := []string{
		flowAdminPasswordLegacy, "CUSTOM_AUTH_FLOW_ONLY", flowPassword, allowAdminPassword, allowCustom, allowPassword,
		allowSRP, allowRefresh, "ALLOW_USER_AUTH", allowClientToken,
	}
	legacy := 0
	for _, flow := range s.ExplicitAuthFlows {
		if !slices.Contains(known, flow) {
			return invalidParameter("1 validation error detected: Value '%s' at 'explicitAuthFlows' failed to satisfy constraint", flow)
		}
		if isLegacyFlow(flow) {
			legacy++
		}
	}
	if legacy > 0 && legacy < len(s.ExplicitAuthFlows) {
		return invalidParameter("Legacy values of explicitAuthFlows cannot be mixed with those that begin with ALLOW_.")
	}
	return nil
}

func (s clientSettings) checkLifetimes() error {
	l := s.lifetimes()
	switch {
	case l.access < minJWTLifetime || l.access > maxJWTLifetime:
		return invalidParameter("Invalid range for token validity: access tokens are valid from 5 minutes to 1 day.")
	case l.id < minJWTLifetime || l.id > maxJWTLifetime:
		return invalidParameter("Invalid range for token validity: ID tokens are valid from 5 minutes to 1 day.")
	case l.refresh < minRefreshLifetime || l.refresh > maxRefreshLifetime:
		return invalidParameter("Invalid range for token validity: refresh tokens are valid from 60 minutes to 10 years.")
	case l.refresh < l.access || l.refresh < l.id:
		return invalidParameter("Refresh tokens have to be valid for longer than access and ID tokens.")
	default:
		return nil
	}
}

func (s clientSettings) checkAuthSession() error {
	minutes := *s.AuthSessionValidity
	if minutes < defaultAuthSessionMinutes || minutes > maxAuthSessionMinutes {
		return invalidParameter("1 validation error detected: Value '%d' at 'authSessionValidity' failed to satisfy constraint: "+
			"Member must be from %d to %d", minutes, defaultAuthSessionMinutes, maxAuthSessionMinutes)
	}
	return nil
}

func (s clientSettings) checkRotation(p *pool) error {
	if !s.rotatesRefreshTokens() {
		return nil
	}
	grace := s.RefreshTokenRotation.RetryGracePeriodSeconds
	switch {
	case p.settings.UserPoolTier == tierLite:
		return newException(codeFeatureNotInTier, "Refresh token rotation is not available in the %s tier.", tierLite)
	case slices.Contains(s.ExplicitAuthFlows, allowRefresh):
		return invalidParameter("%s cannot be allowed when refresh token rotation is enabled.", allowRefresh)
	case grace < 0 || grace > maxGracePeriodSeconds:
		return invalidParameter("The retry grace period is %d seconds; it has to be from 0 to %d.", grace, maxGracePeriodSeconds)
	default:
		return nil
	}
}

func (s clientSettings) checkClientToken(confidential bool) error {
	switch {
	case !slices.Contains(s.ExplicitAuthFlows, allowClientToken):
		return nil
	case len(s.ExplicitAuthFlows) > 1:
		return invalidParameter("%s cannot be combined with other authentication flows.", allowClientToken)
	case !confidential:
		return invalidParameter("%s needs an app client with a secret.", allowClientToken)
	default:
		return nil
	}
}

func (s clientSettings) checkOAuth(p *pool, confidential bool) error {
	machine := slices.Contains(s.AllowedOAuthFlows, oauthClientCredentials)
	switch {
	case len(s.AllowedOAuthScopes) > maxClientScopes:
		return newException(codeLimitExceeded, "An app client can have at most %d scopes.", maxClientScopes)
	case s.AllowedOAuthFlowsUserPoolClient && (len(s.AllowedOAuthFlows) == 0 || len(s.AllowedOAuthScopes) == 0):
		return newException(codeInvalidOAuthFlow, "AllowedOAuthFlows and AllowedOAuthScopes are required if user pool client is allowed to use OAuth flows.")
	case machine && len(s.AllowedOAuthFlows) > 1:
		return newException(codeInvalidOAuthFlow, "client_credentials flow can not be selected along with code flow or implicit flow.")
	case machine && !confidential:
		return newException(codeInvalidOAuthFlow, "client_credentials flow can not be selected if client does not have a client secret.")
	default:
		return s.checkScopes(p, machine)
	}
}

func (s clientSettings) checkScopes(p *pool, machine bool) error {
	for _, scope := range s.AllowedOAuthScopes {
		if !p.hasScope(scope) && (machine || !isStandardScope(scope)) {
			return newException("ScopeDoesNotExistException", "Invalid scope requested: %s", scope)
		}
	}
	return nil
}

func isStandardScope(scope string) bool {
	return slices.Contains([]string{"openid", "email", "phone", "profile", scopeUserAdmin}, scope)
}

func (s clientSettings) units() tokenValidityUnits {
	if s.TokenValidityUnits == nil {
		return tokenValidityUnits{}
	}
	return *s.TokenValidityUnits
}

func (s clientSettings) lifetimes() lifetimes {
	units := s.units()
	return lifetimes{
		access:  lifetime(s.AccessTokenValidity, unitOf(units.AccessToken, time.Hour)),
		id:      lifetime(s.IdTokenValidity, unitOf(units.IdToken, time.Hour)),
		refresh: time.Duration(s.RefreshTokenValidity) * unitOf(units.RefreshToken, 24*time.Hour),
	}
}

func lifetime(count *int, unit time.Duration) time.Duration {
	if count == nil || *count == 0 {
		return defaultJWTLifetime
	}
	return time.Duration(*count) * unit
}

func unitOf(name string, fallback time.Duration) time.Duration {
	units := map[string]time.Duration{"seconds": time.Second, "minutes": time.Minute, "hours": time.Hour, "days": 24 * time.Hour}
	if unit, ok := units[name]; ok {
		return unit
	}
	return fallback
}

// lifetimesOf returns the lifetimes of the app client's settings, unless the control API overrides
// them.
func (r *request) lifetimesOf(c *client) lifetimes {
	l := c.settings.lifetimes()
	override := r.tokenValidity[c.id]
	for _, o := range []struct {
		seconds int
		to      *time.Duration
	}{{override.AccessSeconds, &l.access}, {override.IDSeconds, &l.id}, {override.RefreshSeconds, &l.refresh}} {
		if o.seconds > 0 {
			*o.to = time.Duration(o.seconds) * time.Second
		}
	}
	return l
}

func (s clientSettings) mayUseClientCredentials() bool {
	return s.AllowedOAuthFlowsUserPoolClient && slices.Contains(s.AllowedOAuthFlows, oauthClientCredentials)
}
