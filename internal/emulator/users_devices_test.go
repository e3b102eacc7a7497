// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/stretchr/testify/require"
)

// withDevices lets a pool remember devices.
func withDevices(prompt bool) func(*cognitoidentityprovider.CreateUserPoolInput) {
	return func(in *cognitoidentityprovider.CreateUserPoolInput) {
		in.DeviceConfiguration = &types.DeviceConfigurationType{DeviceOnlyRememberedOnUserPrompt: prompt}
	}
}

// device signs in again and returns the metadata of the device and an access token.
func (h *holder) device() (*types.NewDeviceMetadataType, *string) {
	h.t.Helper()
	tokens := h.mustSignIn(h.client, h.name)
	return tokens.NewDeviceMetadata, tokens.AccessToken
}

func (h *holder) confirmDevice(access, key *string) (*cognitoidentityprovider.ConfirmDeviceOutput, error) {
	return h.cognito.ConfirmDevice(h.ctx, &cognitoidentityprovider.ConfirmDeviceInput{
		AccessToken: access, DeviceKey: key, DeviceName: aws.String("laptop"),
		DeviceSecretVerifierConfig: &types.DeviceSecretVerifierConfigType{PasswordVerifier: aws.String("dmVyaWZpZXI="), Salt: aws.String("c2FsdA==")},
	})
}

func TestPoolWithoutDevicesNamesNone(t *testing.T) {
	h := newHolder(t, nil, nil)
	metadata, access := h.device()
	require.Nil(t, metadata)
	_, err := h.confirmDevice(access, aws.String("eu-west-1_x"))
	requireCode(t, err, "ResourceNotFoundException")
	_, err = h.cognito.ListDevices(h.ctx, &cognitoidentityprovider.ListDevicesInput{AccessToken: access})
	requireCode(t, err, "InvalidUserPoolConfigurationException")
	_, err = h.cognito.AdminListDevices(h.ctx, &cognitoidentityprovider.AdminListDevicesInput{UserPoolId: &h.pool, Username: &h.name})
	requireCode(t, err, "InvalidUserPoolConfigurationException")
}

func TestDevices(t *testing.T) {
	h := newHolder(t, withDevices(true), nil)
	metadata, access := h.device()
	another, _ := h.device()
	_, err := h.confirmDevice(access, another.DeviceKey)
	requireCode(t, err, "ResourceNotFoundException")
	out, err := h.confirmDevice(access, metadata.DeviceKey)
	require.NoError(t, err)
	require.True(t, out.UserConfirmationNecessary)
	_, err = h.confirmDevice(access, metadata.DeviceKey)
	requireCode(t, err, "DeviceKeyExistsException")
	require.Equal(t, []string{*metadata.DeviceKey}, h.user(h.pool, "ann").Devices)

	_, err = h.cognito.UpdateDeviceStatus(h.ctx, &cognitoidentityprovider.UpdateDeviceStatusInput{
		AccessToken: access, DeviceKey: metadata.DeviceKey, DeviceRememberedStatus: types.DeviceRememberedStatusTypeRemembered,
	})
	require.NoError(t, err)
	own, err := h.cognito.ListDevices(h.ctx, &cognitoidentityprovider.ListDevicesInput{AccessToken: access})
	require.NoError(t, err)
	admin, err := h.cognito.AdminListDevices(h.ctx, &cognitoidentityprovider.AdminListDevicesInput{UserPoolId: &h.pool, Username: &h.name})
	require.NoError(t, err)
	require.Equal(t, own.Devices, admin.Devices)
	require.Len(t, own.Devices, 1)
	require.Equal(t, "remembered", attributeMap(own.Devices[0].DeviceAttributes)["dev:device_remembered_status"])
}

func TestForgottenDevices(t *testing.T) {
	for name, forget := range map[string]func(h *holder, access, key *string) error{
		"the user forgets a device": func(h *holder, access, key *string) error {
			_, err := h.cognito.ForgetDevice(h.ctx, &cognitoidentityprovider.ForgetDeviceInput{AccessToken: access, DeviceKey: key})
			return err
		},
		"an administrator forgets a device": func(h *holder, _, key *string) error {
			_, err := h.cognito.AdminForgetDevice(h.ctx, &cognitoidentityprovider.AdminForgetDeviceInput{UserPoolId: &h.pool, Username: &h.name, DeviceKey: key})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHolder(t, withDevices(false), nil)
			metadata, access := h.device()
			_, err := h.confirmDevice(access, metadata.DeviceKey)
			require.NoError(t, err)
			require.NoError(t, forget(h, access, metadata.DeviceKey))
			require.Empty(t, h.user(h.pool, "ann").Devices)
			requireCode(t, forget(h, access, metadata.DeviceKey), "ResourceNotFoundException")
		})
	}
}
