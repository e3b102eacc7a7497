// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"strings"
	"time"
)

const (
	iamNamespace = "https://iam.amazonaws.com/doc/2010-05-08/"
	iamVersion   = "2010-05-08"
	serviceIAM   = "iam"
	keyIDPrefix  = "AKIA"
	keyIsActive  = "Active"
)

// iamOperation is an operation of IAM. The lock of iam is held while it runs.
type iamOperation func(q query, user *iamUser) (any, *exception)

var iamOperations = map[string]iamOperation{
	"GetUser":         query.getUser,
	"CreateAccessKey": query.createAccessKey,
	"ListAccessKeys":  query.listAccessKeys,
	"DeleteAccessKey": query.deleteAccessKey,
}

type xmlIAMUser struct {
	Path       string `xml:"Path"`
	UserName   string `xml:"UserName"`
	UserID     string `xml:"UserId"`
	Arn        string `xml:"Arn"`
	CreateDate string `xml:"CreateDate"`
}

type getUserAnswer struct {
	XMLName   xml.Name    `xml:"GetUserResponse"`
	Namespace string      `xml:"xmlns,attr"`
	User      xmlIAMUser  `xml:"GetUserResult>User"`
	Metadata  xmlMetadata `xml:"ResponseMetadata"`
}

type xmlAccessKey struct {
	UserName        string `xml:"UserName"`
	AccessKeyID     string `xml:"AccessKeyId"`
	Status          string `xml:"Status"`
	SecretAccessKey string `xml:"SecretAccessKey,omitempty"`
	CreateDate      string `xml:"CreateDate"`
}

type createAccessKeyAnswer struct {
	XMLName   xml.Name     `xml:"CreateAccessKeyResponse"`
	Namespace string       `xml:"xmlns,attr"`
	Key       xmlAccessKey `xml:"CreateAccessKeyResult>AccessKey"`
	Metadata  xmlMetadata  `xml:"ResponseMetadata"`
}

type listAccessKeysAnswer struct {
	XMLName   xml.Name       `xml:"ListAccessKeysResponse"`
	Namespace string         `xml:"xmlns,attr"`
	Keys      []xmlAccessKey `xml:"ListAccessKeysResult>AccessKeyMetadata>member"`
	Truncated bool           `xml:"ListAccessKeysResult>IsTruncated"`
	Metadata  xmlMetadata    `xml:"ResponseMetadata"`
}

type deleteAccessKeyAnswer struct {
	XMLName   xml.Name    `xml:"DeleteAccessKeyResponse"`
	Namespace string      `xml:"xmlns,attr"`
	Metadata  xmlMetadata `xml:"ResponseMetadata"`
}

// isIAM distinguishes IAM from STS, which uses the same protocol.
func (q query) isIAM() bool { return q.form.Get("Version") == iamVersion }

// service returns the service that the call must be signed for.
func (q query) service() string {
	if q.isIAM() {
		return serviceIAM
	}
	return serviceSTS
}

// userARN returns the resource that the caller's policies must allow the action on.
func (q query) userARN() string {
	return fmt.Sprintf("arn:aws:iam::%s:user/%s", q.server.accountID, q.form.Get("UserName"))
}

// iamRegions are the only regions that IAM accepts signatures for, by the prefix of a partition's
// regions.
var iamRegions = map[string]string{"cn-": "cn-north-1", "us-gov-": "us-gov-west-1"}

func iamRegion(region string) string {
	for prefix, global := range iamRegions {
		if strings.HasPrefix(region, prefix) {
			return global
		}
	}
	return "us-east-1"
}

func (q query) authorizeIAM() *exception {
	if wanted := iamRegion(q.signer.region); q.signer.region != wanted {
		return queryException(newException("InvalidSignatureException", "Credential should be scoped to a valid region, not '%s'.", q.signer.region))
	}
	err := q.server.iam.permit(q.signer, serviceIAM+":"+q.form.Get("Action"), q.userARN())
	if err == nil {
		return nil
	}
	return queryException(err)
}

func (q query) performIAM() answer {
	operation, ok := iamOperations[q.form.Get("Action")]
	if !ok {
		return q.server.refuseQuery(newException("InvalidAction", "Could not find operation %s for version %s", q.form.Get("Action"), iamVersion))
	}
	i := q.server.iam
	i.mu.Lock()
	defer i.mu.Unlock()
	user, err := q.target()
	if err != nil {
		return q.server.refuseQuery(err)
	}
	out, err := operation(q, user)
	if err != nil {
		return q.server.refuseQuery(err)
	}
	return q.server.xmlAnswer(http.StatusOK, out)
}

// target returns the user that the call names, or else the signer.
func (q query) target() (*iamUser, *exception) {
	keys := &q.server.iam.keys
	name := q.form.Get("UserName")
	if name == "" {
		if owner, _ := keys.owner(q.signer.accessKey); owner != nil {
			return owner, nil
		}
		return nil, newException("ValidationError", "Must specify userName when calling with non-User credentials")
	}
	if user := keys.user(name); user != nil {
		return user, nil
	}
	return nil, noSuchEntity("The user with name %s cannot be found.", name)
}

func (q query) getUser(user *iamUser) (any, *exception) {
	return getUserAnswer{Namespace: iamNamespace, Metadata: q.metadata(), User: xmlIAMUser{
		Path: "/", UserName: user.name, UserID: user.id, CreateDate: iamTime(user.created),
		Arn: fmt.Sprintf("arn:aws:iam::%s:user/%s", q.server.accountID, user.name),
	}}, nil
}

func (q query) createAccessKey(user *iamUser) (any, *exception) {
	key := userKey{
		id:      keyIDPrefix + q.server.random.text(upperAlphanumeric, queryAccessKeyLength),
		secret:  q.server.random.text(alphanumeric, querySecretKeyLength),
		created: q.server.now(),
	}
	if err := q.server.iam.keys.create(user, key); err != nil {
		return nil, err
	}
	shown := user.show(key)
	shown.SecretAccessKey = key.secret
	return createAccessKeyAnswer{Namespace: iamNamespace, Metadata: q.metadata(), Key: shown}, nil
}

func (q query) listAccessKeys(user *iamUser) (any, *exception) {
	out := listAccessKeysAnswer{Namespace: iamNamespace, Metadata: q.metadata()}
	for _, key := range user.keys {
		out.Keys = append(out.Keys, user.show(key))
	}
	return out, nil
}

func (q query) deleteAccessKey(user *iamUser) (any, *exception) {
	if err := q.server.iam.keys.remove(user, q.form.Get("AccessKeyId")); err != nil {
		return nil, err
	}
	return deleteAccessKeyAnswer{Namespace: iamNamespace, Metadata: q.metadata()}, nil
}

func (u *iamUser) show(key userKey) xmlAccessKey {
	return xmlAccessKey{UserName: u.name, AccessKeyID: key.id, Status: keyIsActive, CreateDate: iamTime(key.created)}
}

func (q query) metadata() xmlMetadata { return xmlMetadata{q.server.random.uuid()} }

// iamTime formats a time to the second, like IAM.
func iamTime(t time.Time) string { return t.UTC().Format(time.RFC3339) }
