// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import "slices"

// deviceConfiguration switches the remembering of devices on.
type deviceConfiguration struct {
	ChallengeRequiredOnNewDevice     bool
	DeviceOnlyRememberedOnUserPrompt bool
}

// device is a device that a user has confirmed. The emulator lists and forgets devices; it does not
// let them replace a second factor (DEVICE_SRP_AUTH).
type device struct {
	key        string
	name       string
	remembered bool
	created    epoch
	modified   epoch
}

// newDeviceMetadata names a device at the sign-in, so that the app can confirm it.
type newDeviceMetadata struct {
	DeviceKey      string
	DeviceGroupKey string
}

type deviceDescription struct {
	DeviceKey                   string
	DeviceAttributes            []attribute
	DeviceCreateDate            epoch
	DeviceLastModifiedDate      epoch
	DeviceLastAuthenticatedDate epoch
}

// newDevice returns the metadata of a new device in pools that remember devices, or nil.
func (r *request) newDevice(s *signIn) *newDeviceMetadata {
	if s.user.pool.settings.DeviceConfiguration == nil {
		return nil
	}
	s.deviceKey = s.user.pool.region + "_" + r.server.random.uuid()
	return &newDeviceMetadata{DeviceKey: s.deviceKey, DeviceGroupKey: "-" + r.server.random.text(alphanumeric, 8)}
}

func (u *user) deviceKeys() []string {
	keys := []string{}
	for _, d := range u.devices {
		keys = append(keys, d.key)
	}
	return keys
}

func (d *device) describe() deviceDescription {
	status := "not_remembered"
	if d.remembered {
		status = "remembered"
	}
	return deviceDescription{
		DeviceKey:                   d.key,
		DeviceAttributes:            []attribute{{Name: "device_name", Value: d.name}, {Name: "dev:device_remembered_status", Value: status}},
		DeviceCreateDate:            d.created,
		DeviceLastModifiedDate:      d.modified,
		DeviceLastAuthenticatedDate: d.created,
	}
}

type secretVerifier struct {
	PasswordVerifier string
	Salt             string
}

type confirmDeviceInput struct {
	AccessToken                string
	DeviceKey                  string
	DeviceName                 string
	DeviceSecretVerifierConfig *secretVerifier
}

type confirmDeviceOutput struct {
	UserConfirmationNecessary bool
}

// confirmDevice accepts the device key of the sign-in that the access token came from.
func (r *request) confirmDevice(in confirmDeviceInput) (any, error) {
	s, err := r.signInOf(in.AccessToken)
	if err != nil {
		return nil, err
	}
	configuration := s.user.pool.settings.DeviceConfiguration
	verifier := in.DeviceSecretVerifierConfig
	switch {
	case configuration == nil, in.DeviceKey == "", in.DeviceKey != s.deviceKey:
		return nil, resourceNotFound("Device does not exist.")
	case verifier == nil || verifier.PasswordVerifier == "" || verifier.Salt == "":
		return nil, invalidParameter("Invalid device secret verifier config given.")
	case slices.Contains(s.user.deviceKeys(), in.DeviceKey):
		return nil, newException("DeviceKeyExistsException", "Device already exists.")
	}
	s.user.devices = append(s.user.devices, &device{
		key: in.DeviceKey, name: in.DeviceName, created: epoch(r.now), modified: epoch(r.now),
		remembered: !configuration.DeviceOnlyRememberedOnUserPrompt,
	})
	return confirmDeviceOutput{UserConfirmationNecessary: configuration.DeviceOnlyRememberedOnUserPrompt}, nil
}

type ownDevicesInput struct {
	AccessToken     string
	Limit           *int
	PaginationToken string
}

type adminDevicesInput struct {
	userInput
	Limit           *int
	PaginationToken string
}

type devicesOutput struct {
	Devices         []deviceDescription
	PaginationToken string `json:",omitempty"`
}

// devicesOf returns the user whose devices a request is about. That pools which remember no devices
// refuse such requests is a guess.
func devicesOf(u *user, err error) (*user, error) {
	if err == nil && u.pool.settings.DeviceConfiguration == nil {
		return nil, invalidPoolConfiguration("The user pool does not remember devices.")
	}
	return u, err
}

func (r *request) listDevices(in ownDevicesInput) (any, error) {
	u, err := devicesOf(r.userOf(in.AccessToken))
	if err != nil {
		return nil, err
	}
	return u.pageOfDevices(in.Limit, in.PaginationToken)
}

func (r *request) adminListDevices(in adminDevicesInput) (any, error) {
	u, err := devicesOf(r.findUser(in.userInput))
	if err != nil {
		return nil, err
	}
	return u.pageOfDevices(in.Limit, in.PaginationToken)
}

func (u *user) pageOfDevices(limit *int, token string) (any, error) {
	devices, next, err := page(u.devices, limit, token)
	if err != nil {
		return nil, err
	}
	out := devicesOutput{Devices: []deviceDescription{}, PaginationToken: next}
	for _, d := range devices {
		out.Devices = append(out.Devices, d.describe())
	}
	return out, nil
}

type ownDeviceInput struct {
	AccessToken            string
	DeviceKey              string
	DeviceRememberedStatus string
}

type adminDeviceInput struct {
	userInput
	DeviceKey string
}

// forgetDevice names the user by its access token.
func (r *request) forgetDevice(in ownDeviceInput) (any, error) {
	u, err := devicesOf(r.userOf(in.AccessToken))
	if err != nil {
		return nil, err
	}
	return empty{}, u.deleteDevice(in.DeviceKey)
}

func (r *request) adminForgetDevice(in adminDeviceInput) (any, error) {
	u, err := devicesOf(r.findUser(in.userInput))
	if err != nil {
		return nil, err
	}
	return empty{}, u.deleteDevice(in.DeviceKey)
}

func (r *request) updateDeviceStatus(in ownDeviceInput) (any, error) {
	u, err := devicesOf(r.userOf(in.AccessToken))
	if err != nil {
		return nil, err
	}
	i, err := u.indexOfDevice(in.DeviceKey)
	if err != nil {
		return nil, err
	}
	u.devices[i].remembered = in.DeviceRememberedStatus == "remembered"
	u.devices[i].modified = epoch(r.now)
	return empty{}, nil
}

func (u *user) deleteDevice(key string) error {
	i, err := u.indexOfDevice(key)
	if err != nil {
		return err
	}
	u.devices = slices.Delete(u.devices, i, i+1)
	return nil
}

func (u *user) indexOfDevice(key string) (int, error) {
	i := slices.Index(u.deviceKeys(), key)
	if i < 0 {
		return 0, resourceNotFound("Device does not exist.")
	}
	return i, nil
}
