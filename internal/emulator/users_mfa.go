// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import "slices"

const (
	mfaSetup         = "MFA_SETUP"
	mfaSoftwareToken = "SOFTWARE_TOKEN_MFA"
	mfaSMS           = "SMS_MFA"
	mfaOptional      = "OPTIONAL"

	responseSoftwareTokenCode = "SOFTWARE_TOKEN_MFA_CODE"
)

// mfa holds the second factors of a user.
type mfa struct {
	software softwareToken
	// pending is a token that AssociateSoftwareToken returned; it replaces software once it is
	// verified.
	pending softwareToken
	// factors are the enabled ones; first is the preferred one.
	factors []string
	first   string
}

// enable enables a factor and prefers it if there is no other.
func (m *mfa) enable(factor string) {
	if !slices.Contains(m.factors, factor) {
		m.factors = append(m.factors, factor)
	}
	if m.first == "" {
		m.first = factor
	}
}

func (m *mfa) disable(factor string) {
	m.factors = slices.DeleteFunc(slices.Clone(m.factors), func(f string) bool { return f == factor })
	if m.first == factor {
		m.first = ""
	}
}

// mfaChallenge returns the challenge that follows the password, or "".
func (u *user) mfaChallenge() string {
	configuration := u.pool.settings.MfaConfiguration
	switch {
	case configuration == mfaOff:
		return ""
	case u.mfa.first != "":
		return u.mfa.first
	case len(u.mfa.factors) > 0:
		return u.mfa.factors[0]
	case configuration == mfaOn:
		return mfaSetup
	default:
		return ""
	}
}

// challengeMFA refuses a user who needs a factor in a pool that has none to set up. Apps report
// this exception from users without a factor; that the pool decides is a guess.
func (r *request) challengeMFA(c *client, u *user, name string) (any, error) {
	parameters := map[string]string{}
	if name == mfaSetup {
		factors := u.pool.factorsToSetUp()
		if len(factors) == 0 {
			return nil, newException(codeMFAMethodNotFound, "No MFA mechanism registered in the account.")
		}
		parameters["MFAS_CAN_SETUP"] = jsonText(factors)
	}
	return r.challengeUser(c, u, name, parameters), nil
}

func (p *pool) factorsToSetUp() []string {
	switch {
	case p.softwareTokens:
		return []string{mfaSoftwareToken}
	case p.smsMFA != nil:
		return []string{mfaSMS}
	default:
		return nil
	}
}

// answerMFA refuses every code for SMS_MFA, because the emulator sends none.
func (r *request) answerMFA(asked *challenge, responses map[string]string) error {
	switch asked.name {
	case mfaSetup:
		return asked.checkSetUp()
	case mfaSoftwareToken:
		if err := requireParameters(responses, responseSoftwareTokenCode); err != nil {
			return err
		}
		return asked.user.mfa.software.use(responses[responseSoftwareTokenCode], r.now)
	default:
		return codeMismatch()
	}
}

// checkSetUp demands the session that VerifySoftwareToken returned.
func (c *challenge) checkSetUp() error {
	if !c.verified {
		return invalidParameter("User has not set up software token mfa")
	}
	return nil
}

type factorSettings struct {
	Enabled      bool
	PreferredMfa bool
}

type mfaPreference struct {
	SMSMfaSettings           *factorSettings
	SoftwareTokenMfaSettings *factorSettings
}

type adminMFAPreferenceInput struct {
	userInput
	mfaPreference
}

func (r *request) adminSetUserMFAPreference(in adminMFAPreferenceInput) (any, error) {
	u, err := r.findUser(in.userInput)
	if err != nil {
		return nil, err
	}
	return empty{}, u.setMFAPreference(in.mfaPreference)
}

func (u *user) setMFAPreference(wanted mfaPreference) error {
	if wanted.SoftwareTokenMfaSettings.on() && !u.mfa.software.verified {
		return invalidParameter("User has not set up software token mfa")
	}
	if wanted.SMSMfaSettings.on() && u.attributes[attributePhone] == "" {
		return invalidParameter("User does not have delivery config set to turn on SMS_MFA")
	}
	u.mfa.prefer(mfaSoftwareToken, wanted.SoftwareTokenMfaSettings)
	u.mfa.prefer(mfaSMS, wanted.SMSMfaSettings)
	return nil
}

func (s *factorSettings) on() bool {
	return s != nil && s.Enabled
}

// prefer leaves a factor unchanged if the request has no settings for it.
func (m *mfa) prefer(factor string, settings *factorSettings) {
	switch {
	case settings == nil:
	case !settings.Enabled:
		m.disable(factor)
	default:
		m.enable(factor)
		if settings.PreferredMfa {
			m.first = factor
		}
	}
}

type associateInput struct {
	AccessToken string
	Session     string
}

type associateOutput struct {
	SecretCode string
	Session    string `json:",omitempty"`
}

// associateSoftwareToken returns the secret of a new software token to a user with an access token
// or an MFA_SETUP challenge. An existing token works until the new one is verified.
func (r *request) associateSoftwareToken(in associateInput) (any, error) {
	u, asked, err := r.userSettingUp(in)
	if err != nil {
		return nil, err
	}
	if !u.pool.softwareTokens {
		return nil, newException("SoftwareTokenMFANotFoundException", "Software token TOTP multi-factor authentication is not enabled for the user pool.")
	}
	u.mfa.pending = softwareToken{secret: r.newTokenSecret()}
	return associateOutput{SecretCode: u.mfa.pending.secret, Session: r.nextSession(asked, false)}, nil
}

type verifyInput struct {
	associateInput
	UserCode string
}

type verifyOutput struct {
	Status  string
	Session string `json:",omitempty"`
}

// verifySoftwareToken enables the token for a user with an MFA_SETUP challenge; a signed-in user
// must set a preference.
func (r *request) verifySoftwareToken(in verifyInput) (any, error) {
	u, asked, err := r.userSettingUp(in.associateInput)
	if err != nil {
		return nil, err
	}
	if u.mfa.pending.use(in.UserCode, r.now) != nil {
		return nil, newException("EnableSoftwareTokenMFAException", "Code mismatch")
	}
	u.mfa.software, u.mfa.pending = u.mfa.pending, softwareToken{}
	u.mfa.software.verified = true
	if asked != nil {
		u.mfa.enable(mfaSoftwareToken)
	}
	return verifyOutput{Status: "SUCCESS", Session: r.nextSession(asked, true)}, nil
}

// userSettingUp returns the user of an access token, or the user of an open MFA_SETUP challenge and
// the challenge.
func (r *request) userSettingUp(in associateInput) (*user, *challenge, error) {
	if in.Session == "" {
		u, err := r.userOf(in.AccessToken)
		return u, nil, err
	}
	asked, ok := r.challenges[in.Session]
	switch {
	case !ok, asked.name != mfaSetup, asked.used, !r.now.Before(asked.expires):
		return nil, nil, notAuthorized("Invalid session for the user.")
	default:
		return asked.user, asked, nil
	}
}

// nextSession replaces the session of an MFA_SETUP challenge, as each of its steps does.
func (r *request) nextSession(asked *challenge, verified bool) string {
	if asked == nil {
		return ""
	}
	asked.used = true
	session := r.openSession(asked.client, asked.user, mfaSetup)
	r.challenges[session].verified = verified
	return session
}

func codeMismatch() error {
	return newException("CodeMismatchException", "Invalid code received for user")
}
