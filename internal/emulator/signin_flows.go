// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

// Names of parameters and challenge responses.
const (
	parameterUsername     = "USERNAME"
	parameterPassword     = "PASSWORD"
	parameterSecretHash   = "SECRET_HASH"
	parameterRefreshToken = "REFRESH_TOKEN"
)

type initiateAuthInput struct {
	clientInput
	AuthFlow       string
	AuthParameters map[string]string
}

// authOutput holds tokens or a challenge.
type authOutput struct {
	AuthenticationResult *authenticationResult `json:",omitempty"`
	ChallengeName        string                `json:",omitempty"`
	ChallengeParameters  map[string]string
	Session              string `json:",omitempty"`
}

type authenticationResult struct {
	AccessToken  *token
	IdToken      *token
	RefreshToken string `json:",omitempty"`
	ExpiresIn    int
	TokenType    string

	NewDeviceMetadata *newDeviceMetadata `json:",omitempty"`
}

func (r *request) adminInitiateAuth(in initiateAuthInput) (any, error) {
	c, err := r.findClient(in.clientInput)
	if err != nil {
		return nil, err
	}
	switch in.AuthFlow {
	case flowAdminPassword, flowAdminPasswordLegacy:
		return r.signInByPassword(c, in)
	case flowSRP:
		return r.signInBySRP(c, in)
	case flowRefresh, flowRefreshAlias:
		return r.signInByRefreshToken(c, in)
	default:
		return nil, methodNotSupported()
	}
}

func (r *request) initiateAuth(in initiateAuthInput) (any, error) {
	c, err := r.findClientAnywhere(in.ClientId)
	if err != nil {
		return nil, err
	}
	switch in.AuthFlow {
	case flowPassword:
		return withoutMFAMethodNotFound(r.signInByPassword(c, in))
	case flowSRP:
		return r.signInBySRP(c, in)
	case flowRefresh, flowRefreshAlias:
		return r.signInByRefreshToken(c, in)
	default:
		return nil, methodNotSupported()
	}
}

// withoutMFAMethodNotFound replaces the exception that AWS's model does not list for InitiateAuth.
// The one it returns is a guess.
func withoutMFAMethodNotFound(out any, err error) (any, error) {
	if err != nil && asException(err).code == codeMFAMethodNotFound {
		return nil, invalidPoolConfiguration("The user pool requires MFA and has no MFA method.")
	}
	return out, err
}

// methodNotSupported is also the answer to Cognito's flows that the emulator does not have.
func methodNotSupported() error {
	return invalidParameter("Initiate Auth method not supported.")
}

// flowNotEnabled returns the refusal of a flow that the app client does not allow. Its text differs
// by flow, as people report it from AWS; no page has it.
func flowNotEnabled(flow string) error {
	switch flow {
	case flowPassword:
		return invalidParameter("%s flow not enabled for this client", flow)
	case flowSRP:
		return invalidParameter("%s is not enabled for the client.", flow)
	default:
		return invalidParameter("Auth flow not enabled for this client")
	}
}

func requireParameters(given map[string]string, names ...string) error {
	for _, name := range names {
		if given[name] == "" {
			return invalidParameter("Missing required parameter %s", name)
		}
	}
	return nil
}

// signInByPassword verifies the secret hash with the name as it was sent, even if that is an alias.
func (r *request) signInByPassword(c *client, in initiateAuthInput) (any, error) {
	if !c.allows(in.AuthFlow) {
		return nil, flowNotEnabled(in.AuthFlow)
	}
	if err := requireParameters(in.AuthParameters, parameterUsername, parameterPassword); err != nil {
		return nil, err
	}
	name := in.AuthParameters[parameterUsername]
	if err := c.checkSecretHash(name, in.AuthParameters[parameterSecretHash]); err != nil {
		return nil, err
	}
	u, err := r.userSigningIn(c, name)
	if err != nil {
		return nil, err
	}
	if err := u.checkPassword(in.AuthParameters[parameterPassword], r.now); err != nil {
		return nil, err
	}
	return r.afterPassword(c, u)
}

func (r *request) userSigningIn(c *client, name string) (*user, error) {
	u := r.visibleUser(c.pool, name)
	switch {
	case u == nil && c.hidesUnknownUsers():
		return nil, incorrectPassword()
	case u == nil:
		return nil, userNotFound()
	case u.disabled:
		return nil, userDisabled()
	case u.status == statusUnconfirmed:
		return nil, newException("UserNotConfirmedException", "User is not confirmed.")
	case u.status == statusExternalProvider:
		return nil, incorrectPassword()
	case u.status == statusResetRequired:
		return nil, newException("PasswordResetRequiredException", "Password reset required for the user")
	default:
		return u, r.invoke(c.pool, triggerPreAuthentication)
	}
}

func userDisabled() error {
	return notAuthorized("User is disabled.")
}

// afterPassword returns the user's next challenge, or the tokens.
func (r *request) afterPassword(c *client, u *user) (any, error) {
	if u.status == statusForceChangePassword {
		return r.challengeNewPassword(c, u), nil
	}
	if name := u.mfaChallenge(); name != "" {
		return r.challengeMFA(c, u, name)
	}
	return r.signInUser(c, u)
}

// signInByRefreshToken verifies the secret hash with the user's own username, never with an alias.
func (r *request) signInByRefreshToken(c *client, in initiateAuthInput) (any, error) {
	if !c.allows(flowRefresh) {
		return nil, flowNotEnabled(flowRefresh)
	}
	if err := requireParameters(in.AuthParameters, parameterRefreshToken); err != nil {
		return nil, err
	}
	t, err := r.findRefreshToken(c, in.AuthParameters[parameterRefreshToken])
	if err != nil {
		return nil, err
	}
	if err := c.checkSecretHash(t.signIn.user.username, in.AuthParameters[parameterSecretHash]); err != nil {
		return nil, err
	}
	if err := r.invoke(c.pool, triggerPreTokenGeneration); err != nil {
		return nil, err
	}
	return authOutput{AuthenticationResult: r.tokensOf(t.signIn), ChallengeParameters: map[string]string{}}, nil
}
