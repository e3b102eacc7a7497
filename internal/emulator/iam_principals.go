// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"vault-plugin-secrets-cognito/internal/emulator/control"
)

const (
	temporaryKeyPrefix = "ASIA"
	invalidKeyMessage  = "The security token included in the request is invalid."
	expiredKeyMessage  = "The security token included in the request is expired"
)

// iam holds what AWS knows about principals: their access keys and their permissions.
type iam struct {
	accountID string

	mu        sync.Mutex
	settings  control.IAM
	temporary map[string]temporaryKey
	keys      accessKeys
}

// temporaryKey is an access key that AssumeRole returned.
type temporaryKey struct {
	principal    string
	assumedID    string
	sessionToken string
	expires      time.Time
}

func newIAM(accountID string) *iam {
	return &iam{accountID: accountID, temporary: map[string]temporaryKey{}}
}

func (i *iam) set(settings control.IAM) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.settings = settings
}

func (i *iam) plant(wanted control.AccessKey, now time.Time) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.keys.plant(wanted, now)
}

func (i *iam) reportKeys() control.AccessKeyList {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.keys.report()
}

func (i *iam) deleteKeys() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = accessKeys{}
}

func (i *iam) addTemporary(accessKey string, key temporaryKey) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.temporary[accessKey] = key
}

// recognize refuses rejected access keys and temporary ones whose session token is missing, wrong
// or expired. The code is UnrecognizedClientException or ExpiredTokenException, which other
// protocols translate.
func (i *iam) recognize(s signer, now time.Time) *exception {
	i.mu.Lock()
	defer i.mu.Unlock()
	if slices.Contains(i.settings.RejectedKeys, s.accessKey) {
		return newException("UnrecognizedClientException", invalidKeyMessage)
	}
	if strings.HasPrefix(s.accessKey, temporaryKeyPrefix) {
		return i.recognizeTemporary(s, now)
	}
	return i.keys.recognize(s.accessKey, now)
}

// recognizeTemporary accepts unknown temporary keys if a session token comes with them.
func (i *iam) recognizeTemporary(s signer, now time.Time) *exception {
	key, known := i.temporary[s.accessKey]
	switch {
	case s.sessionToken == "", known && key.sessionToken != s.sessionToken:
		return newException("UnrecognizedClientException", invalidKeyMessage)
	case known && !now.Before(key.expires):
		return newException("ExpiredTokenException", expiredKeyMessage)
	default:
		return nil
	}
}

// permit refuses actions that no policy allows. An action looks like "cognito-idp:AdminCreateUser".
func (i *iam) permit(s signer, action, resource string) *exception {
	i.mu.Lock()
	defer i.mu.Unlock()
	denied := slices.Contains(i.settings.DeniedActions, action)
	unlisted := i.settings.AllowedActions != nil && !slices.Contains(i.settings.AllowedActions, action)
	if !denied && !unlisted {
		return nil
	}
	return newException(codeAccessDenied,
		"User: %[1]s is not authorized to perform: %[2]s on resource: %[3]s because no identity-based policy allows the %[2]s action",
		i.principalLocked(s.accessKey), action, resource)
}

// permitAssuming applies the trust policy of a role.
func (i *iam) permitAssuming(s signer, roleARN, externalID string) *exception {
	i.mu.Lock()
	defer i.mu.Unlock()
	role, ok := i.settings.Roles[roleARN]
	if !ok || !role.Denied && (role.ExternalID == "" || role.ExternalID == externalID) {
		return nil
	}
	return newException("AccessDenied", "User: %s is not authorized to perform: sts:AssumeRole on resource: %s",
		i.principalLocked(s.accessKey), roleARN)
}

// principal returns the ARN and the unique id of the owner of an access key.
func (i *iam) principal(accessKey string) (arn, id string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if key, ok := i.temporary[accessKey]; ok {
		return key.principal, key.assumedID
	}
	return i.principalLocked(accessKey), "AIDAEMULATOR00000000"
}

func (i *iam) principalLocked(accessKey string) string {
	if key, ok := i.temporary[accessKey]; ok {
		return key.principal
	}
	if owner, _ := i.keys.owner(accessKey); owner != nil {
		return fmt.Sprintf("arn:aws:iam::%s:user/%s", i.accountID, owner.name)
	}
	return fmt.Sprintf("arn:aws:iam::%s:user/emulator", i.accountID)
}
