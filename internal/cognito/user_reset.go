// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito

import (
	"context"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/pquerna/otp/totp"
)

// UpdateAttributes sets attributes of a user. Others stay as they are.
func (p *Pool) UpdateAttributes(ctx context.Context, username string, values map[string]string) error {
	if len(values) == 0 {
		return nil
	}
	_, err := p.api.AdminUpdateUserAttributes(ctx, &cip.AdminUpdateUserAttributesInput{
		UserPoolId: &p.target.UserPoolID, Username: &username, UserAttributes: attributes(values),
	})
	if err != nil {
		return fail(p.step("updating the attributes of user", username), err)
	}
	return nil
}

// DeleteAttributes deletes attributes of a user. Missing ones are no error.
func (p *Pool) DeleteAttributes(ctx context.Context, username string, names ...string) error {
	if len(names) == 0 {
		return nil
	}
	_, err := p.api.AdminDeleteUserAttributes(ctx, &cip.AdminDeleteUserAttributesInput{
		UserPoolId: &p.target.UserPoolID, Username: &username, UserAttributeNames: names,
	})
	if err != nil {
		return fail(p.step("deleting attributes of user", username), err)
	}
	return nil
}

// EnableUser lets a disabled user sign in again. An enabled one stays so.
func (p *Pool) EnableUser(ctx context.Context, username string) error {
	_, err := p.api.AdminEnableUser(ctx, &cip.AdminEnableUserInput{UserPoolId: &p.target.UserPoolID, Username: &username})
	if err != nil {
		return fail(p.step("enabling user", username), err)
	}
	return nil
}

// ForgetDevices deletes the remembered devices of a user, from which a second
// factor is not required.
func (p *Pool) ForgetDevices(ctx context.Context, username string) error {
	keys, err := p.deviceKeys(ctx, username)
	if err != nil {
		return err
	}
	for _, key := range keys {
		_, err := p.api.AdminForgetDevice(ctx, &cip.AdminForgetDeviceInput{UserPoolId: &p.target.UserPoolID, Username: &username, DeviceKey: &key})
		if err != nil && !hasCode(err, codeResourceNotFound) {
			return fail(p.step("forgetting a device of user", username), err)
		}
	}
	return nil
}

// codeNoDevices is what Cognito returns for pools that remember no devices.
const codeNoDevices = "InvalidUserPoolConfigurationException"

func (p *Pool) deviceKeys(ctx context.Context, username string) (keys []string, err error) {
	input := &cip.AdminListDevicesInput{UserPoolId: &p.target.UserPoolID, Username: &username, Limit: aws.Int32(pageSize)}
	for {
		out, err := p.api.AdminListDevices(ctx, input)
		if hasCode(err, codeNoDevices) {
			return nil, nil
		}
		if err != nil {
			return nil, fail(p.step("listing the devices of user", username), err)
		}
		for _, device := range out.Devices {
			keys = append(keys, aws.ToString(device.DeviceKey))
		}
		if aws.ToString(out.PaginationToken) == "" {
			return keys, nil
		}
		input.PaginationToken = out.PaginationToken
	}
}

// DisableMFA removes every second factor that a user has from its sign-in.
// Where the pool requires one, the next sign-in sets it up anew.
func (p *Pool) DisableMFA(ctx context.Context, username string) error {
	state, err := p.User(ctx, username)
	if err != nil {
		return err
	}
	input := &cip.AdminSetUserMFAPreferenceInput{
		UserPoolId: &p.target.UserPoolID, Username: &username,
		SoftwareTokenMfaSettings: &types.SoftwareTokenMfaSettingsType{},
	}
	// Cognito may refuse a setting of a factor that the pool does not have.
	if slices.Contains(state.MFA, "SMS_MFA") {
		input.SMSMfaSettings = &types.SMSMfaSettingsType{}
	}
	if slices.Contains(state.MFA, "EMAIL_OTP") {
		input.EmailMfaSettings = &types.EmailMfaSettingsType{}
	}
	if _, err := p.api.AdminSetUserMFAPreference(ctx, input); err != nil {
		return fail(p.step("disabling the second factors of user", username), err)
	}
	return nil
}

// ResetTOTP replaces the authenticator of a user, whose password must be known
// to the caller only. The session of the sign-in that it takes stays open.
func (p *Pool) ResetTOTP(ctx context.Context, app AppClient, login Login, metadata map[string]string) (*TOTP, error) {
	if err := p.DisableMFA(ctx, login.Username); err != nil {
		return nil, err
	}
	answer, err := p.initiate(ctx, p.step("signing in user", login.Username), app, login, metadata)
	if err != nil {
		return nil, err
	}
	request := UserRequest{AppClient: app, NewUser: NewUser{ClientMetadata: metadata}}
	authenticator, _, err := p.enroll(ctx, User{Username: login.Username}, request, answer)
	return authenticator, err
}

// codePeriod is how long a one-time code is valid.
const codePeriod = 30 * time.Second

// NextCode returns a one-time code of an authenticator for a period after the used one, and that
// period: Cognito accepts each code once, also that of the next period. A used of 0 is none.
func (p *Pool) NextCode(secret string, used int64) (code string, period int64, err error) {
	period = max(p.Period(), used+1)
	code, err = totp.GenerateCode(secret, time.Unix(period*int64(codePeriod/time.Second), 0))
	if err != nil {
		return "", 0, &Error{Step: "signing in with an authenticator", Kind: KindUnavailable, Detail: "making a one-time code failed"}
	}
	return code, period, nil
}

// Period returns the number of the present period of one-time codes.
func (p *Pool) Period() int64 {
	return p.service.now().Unix() / int64(codePeriod/time.Second)
}
