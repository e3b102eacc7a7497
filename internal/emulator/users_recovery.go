// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

const (
	recoverByEmail = "verified_email"
	recoverByPhone = "verified_phone_number"
	recoverByAdmin = "admin_only"

	confirmationCodeDigits   = 6
	confirmationCodeLifetime = time.Hour
	// confirmationAttempts is how many wrong codes are accepted before a new one must be requested.
	confirmationAttempts = 5
)

// accountRecovery says by which attributes users recover their account.
type accountRecovery struct {
	RecoveryMechanisms []recoveryMechanism
}

type recoveryMechanism struct {
	Name     string
	Priority int
}

// recovery is the code that the last reset or ForgotPassword sent to a user.
type recovery struct {
	code    string
	expires time.Time
	wrong   int
}

// codeDelivery says where a code was sent.
type codeDelivery struct {
	AttributeName  string
	DeliveryMedium string
	Destination    string
}

type codeDeliveryOutput struct {
	CodeDeliveryDetails codeDelivery
}

// checkAccountRecovery refuses settings that Cognito does not accept.
func (s poolSettings) checkAccountRecovery() error {
	if s.AccountRecoverySetting == nil {
		return nil
	}
	mechanisms := s.AccountRecoverySetting.RecoveryMechanisms
	for _, m := range mechanisms {
		switch {
		case !slices.Contains([]string{recoverByEmail, recoverByPhone, recoverByAdmin}, m.Name):
			return invalidParameter("1 validation error detected: Value '%s' at 'accountRecoverySetting' failed to satisfy constraint: "+
				"Member must satisfy enum value set: [verified_email, verified_phone_number, admin_only]", m.Name)
		case m.Name == recoverByAdmin && len(mechanisms) > 1:
			return invalidParameter("Account Recovery Setting cannot use admin_only setting with any other recovery mechanisms.")
		}
	}
	return nil
}

// recoveryAttributes returns the attributes that a code may be sent to, most important first. Pools
// without the setting prefer the phone number.
func (s poolSettings) recoveryAttributes() []string {
	if s.AccountRecoverySetting == nil {
		return []string{attributePhone, attributeEmail}
	}
	mechanisms := slices.SortedFunc(slices.Values(s.AccountRecoverySetting.RecoveryMechanisms),
		func(a, b recoveryMechanism) int { return cmp.Compare(a.Priority, b.Priority) })
	var names []string
	for _, m := range mechanisms {
		if m.Name != recoverByAdmin {
			names = append(names, strings.TrimPrefix(m.Name, "verified_"))
		}
	}
	return names
}

type forgotPasswordInput struct {
	ClientId   string
	Username   string
	SecretHash string
}

// forgotPassword pretends to send a code to an unknown user if the app client hides who exists.
func (r *request) forgotPassword(in forgotPasswordInput) (any, error) {
	c, u, err := r.recoveringUser(in)
	if err != nil {
		return nil, err
	}
	if u == nil && c.hidesUnknownUsers() {
		return codeDeliveryOutput{codeDelivery{AttributeName: attributeEmail, DeliveryMedium: "EMAIL", Destination: "u***@e***"}}, nil
	}
	if u == nil {
		return nil, userNotFound()
	}
	if u.disabled {
		return nil, userDisabled()
	}
	return r.sendRecoveryCode(u)
}

// recoveringUser returns the app client and the user of a request; the user is nil if it does not
// exist.
func (r *request) recoveringUser(in forgotPasswordInput) (*client, *user, error) {
	c, err := r.findClientAnywhere(in.ClientId)
	if err != nil {
		return nil, nil, err
	}
	if err := checkUsername(in.Username); err != nil {
		return nil, nil, err
	}
	if err := c.checkSecretHash(in.Username, in.SecretHash); err != nil {
		return nil, nil, err
	}
	return c, r.visibleUser(c.pool, in.Username), nil
}

// sendRecoveryCode sends a code to a verified attribute that the pool's account recovery allows.
// The control API shows the code.
func (r *request) sendRecoveryCode(u *user) (any, error) {
	attributes := u.pool.settings.recoveryAttributes()
	if len(attributes) == 0 {
		return nil, notAuthorized("Contact administrator to reset password.")
	}
	if u.status == statusForceChangePassword || u.status == statusExternalProvider {
		return nil, notAuthorized("User password cannot be reset in the current state.")
	}
	i := slices.IndexFunc(attributes, func(name string) bool { return u.attributes[name] != "" && verified(name, u.attributes) })
	if i < 0 {
		return nil, invalidParameter("Cannot reset password for the user as there is no registered/verified email or phone_number")
	}
	u.recovery = recovery{code: r.server.random.text(digits, confirmationCodeDigits), expires: r.now.Add(confirmationCodeLifetime)}
	r.countActive(u)
	return codeDeliveryOutput{deliveryTo(attributes[i], u.attributes[attributes[i]])}, nil
}

func deliveryTo(attribute, value string) codeDelivery {
	d := codeDelivery{AttributeName: attribute, DeliveryMedium: "EMAIL", Destination: value[:1] + "***"}
	if attribute == attributePhone {
		d.DeliveryMedium, d.Destination = "SMS", "+*******"+value[max(0, len(value)-4):]
	}
	return d
}

type confirmForgotPasswordInput struct {
	forgotPasswordInput
	ConfirmationCode string
	Password         string
}

func (r *request) confirmForgotPassword(in confirmForgotPasswordInput) (any, error) {
	c, u, err := r.recoveringUser(in.forgotPasswordInput)
	switch {
	case err != nil:
		return nil, err
	case u == nil && c.hidesUnknownUsers():
		return nil, recoveryCodeMismatch()
	case u == nil:
		return nil, userNotFound()
	case u.disabled:
		return nil, userDisabled()
	}
	if err := u.recovery.check(in.ConfirmationCode, r.now); err != nil {
		return nil, err
	}
	if err := r.setPassword(u, in.Password); err != nil {
		return nil, err
	}
	u.status = statusConfirmed
	u.recovery = recovery{}
	u.attempts = attempts{}
	return empty{}, nil
}

func recoveryCodeMismatch() error {
	return newException("CodeMismatchException", "Invalid verification code provided, please try again.")
}

func (c *recovery) check(code string, now time.Time) error {
	switch {
	case c.wrong >= confirmationAttempts:
		return newException(codeLimitExceeded, "Attempt limit exceeded, please try after some time.")
	case c.code == "" || !now.Before(c.expires):
		return newException("ExpiredCodeException", "Invalid code provided, please request a code again.")
	case c.code != code:
		c.wrong++
		return recoveryCodeMismatch()
	default:
		return nil
	}
}

// adminResetUserPassword makes the present password useless until the user confirms a code. It
// needs an account recovery that the user can use.
func (r *request) adminResetUserPassword(in userInput) (any, error) {
	u, err := r.findUser(in)
	if err != nil {
		return nil, err
	}
	if _, err := r.sendRecoveryCode(u); err != nil {
		return nil, err
	}
	u.status = statusResetRequired
	u.modified = r.now
	return empty{}, nil
}
