// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import "slices"

type softwareTokenConfig struct {
	Enabled bool
}

type mfaConfig struct {
	MfaConfiguration              string
	SmsMfaConfiguration           map[string]any         `json:",omitempty"`
	SoftwareTokenMfaConfiguration *softwareTokenConfig   `json:",omitempty"`
	WebAuthnConfiguration         *webAuthnConfiguration `json:",omitempty"`
}

type setMFAConfigInput struct {
	poolInput
	mfaConfig
}

func (r *request) setUserPoolMfaConfig(in setMFAConfigInput) (any, error) {
	p, err := r.findPool(in.UserPoolId)
	if err != nil {
		return nil, err
	}
	if !slices.Contains([]string{mfaOff, mfaOn, mfaOptional}, in.MfaConfiguration) {
		return nil, invalidParameter("1 validation error detected: Value '%s' at 'mfaConfiguration' failed to satisfy constraint: "+
			"Member must satisfy enum value set: [OFF, ON, OPTIONAL]", in.MfaConfiguration)
	}
	p.settings.MfaConfiguration = in.MfaConfiguration
	p.softwareTokens = in.SoftwareTokenMfaConfiguration != nil && in.SoftwareTokenMfaConfiguration.Enabled
	p.smsMFA = in.SmsMfaConfiguration
	p.webAuthn = in.WebAuthnConfiguration
	p.modified = r.now
	return p.mfaConfig(), nil
}

func (r *request) getUserPoolMfaConfig(in poolInput) (any, error) {
	p, err := r.findPool(in.UserPoolId)
	if err != nil {
		return nil, err
	}
	return p.mfaConfig(), nil
}

func (p *pool) mfaConfig() mfaConfig {
	return mfaConfig{
		MfaConfiguration:              p.settings.MfaConfiguration,
		SmsMfaConfiguration:           p.smsMFA,
		SoftwareTokenMfaConfiguration: &softwareTokenConfig{Enabled: p.softwareTokens},
		WebAuthnConfiguration:         p.webAuthn,
	}
}
