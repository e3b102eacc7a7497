// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"encoding/xml"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const (
	stsNamespace           = "https://sts.amazonaws.com/doc/2011-06-15/"
	stsVersion             = "2011-06-15"
	actionCallerIdentity   = "GetCallerIdentity"
	actionAssumeRole       = "AssumeRole"
	defaultRoleSeconds     = 3600
	minRoleSeconds         = 900
	maxRoleSeconds         = 43200
	queryAccessKeyLength   = 16
	querySecretKeyLength   = 40
	querySessionTokenBytes = 200
)

var (
	roleARNPattern     = regexp.MustCompile(`^arn:aws[a-z-]*:iam::\d{12}:role/(?:.+/)?([\w+=,.@-]+)$`)
	sessionNamePattern = regexp.MustCompile(`^[\w+=,.@-]{2,64}$`)
)

type callerIdentityAnswer struct {
	XMLName   xml.Name    `xml:"GetCallerIdentityResponse"`
	Namespace string      `xml:"xmlns,attr"`
	Arn       string      `xml:"GetCallerIdentityResult>Arn"`
	UserID    string      `xml:"GetCallerIdentityResult>UserId"`
	Account   string      `xml:"GetCallerIdentityResult>Account"`
	Metadata  xmlMetadata `xml:"ResponseMetadata"`
}

type assumeRoleAnswer struct {
	XMLName     xml.Name       `xml:"AssumeRoleResponse"`
	Namespace   string         `xml:"xmlns,attr"`
	User        xmlAssumedUser `xml:"AssumeRoleResult>AssumedRoleUser"`
	Credentials xmlCredentials `xml:"AssumeRoleResult>Credentials"`
	Metadata    xmlMetadata    `xml:"ResponseMetadata"`
}

type xmlAssumedUser struct {
	Arn string `xml:"Arn"`
	ID  string `xml:"AssumedRoleId"`
}

type xmlCredentials struct {
	AccessKeyID     string `xml:"AccessKeyId"`
	SecretAccessKey string `xml:"SecretAccessKey"`
	SessionToken    string `xml:"SessionToken"`
	Expiration      string `xml:"Expiration"`
}

func (q query) callerIdentity() answer {
	arn, id := q.server.iam.principal(q.signer.accessKey)
	return q.server.xmlAnswer(http.StatusOK, callerIdentityAnswer{
		Namespace: stsNamespace,
		Arn:       arn,
		UserID:    id,
		Account:   q.server.accountID,
		Metadata:  xmlMetadata{q.server.random.uuid()},
	})
}

func (q query) assumeRole() answer {
	assumed, failure := q.newAssumedRole()
	if failure != nil {
		return q.server.refuseQuery(failure)
	}
	return q.server.xmlAnswer(http.StatusOK, assumeRoleAnswer{
		Namespace: stsNamespace, User: assumed.user, Credentials: assumed.credentials, Metadata: q.metadata(),
	})
}

// assumedRole is the common part of the answers to both ways of assuming a role.
type assumedRole struct {
	user        xmlAssumedUser
	credentials xmlCredentials
}

func (q query) newAssumedRole() (assumedRole, *exception) {
	role := roleARNPattern.FindStringSubmatch(q.form.Get("RoleArn"))
	session := q.form.Get("RoleSessionName")
	seconds, err := q.roleSeconds()
	if role == nil || !sessionNamePattern.MatchString(session) || err != nil {
		return assumedRole{}, newException("ValidationError", "A role ARN, a session name of 2 to 64 characters "+
			"and a duration from %d to %d seconds are needed.", minRoleSeconds, maxRoleSeconds)
	}
	key := q.newTemporaryKey(role[0], role[1], session, time.Duration(seconds)*time.Second)
	accessKey := temporaryKeyPrefix + q.server.random.text(upperAlphanumeric, queryAccessKeyLength)
	q.server.iam.addTemporary(accessKey, key)
	return assumedRole{
		user: xmlAssumedUser{Arn: key.principal, ID: key.assumedID},
		credentials: xmlCredentials{
			AccessKeyID:     accessKey,
			SecretAccessKey: q.server.random.text(alphanumeric, querySecretKeyLength),
			SessionToken:    key.sessionToken,
			Expiration:      key.expires.UTC().Format(time.RFC3339),
		},
	}, nil
}

func (q query) roleSeconds() (int, error) {
	text := q.form.Get("DurationSeconds")
	if text == "" {
		return defaultRoleSeconds, nil
	}
	seconds, err := strconv.Atoi(text)
	if err != nil || seconds < minRoleSeconds || seconds > maxRoleSeconds {
		return 0, strconv.ErrRange
	}
	return seconds, nil
}

func (q query) newTemporaryKey(roleARN, roleName, session string, valid time.Duration) temporaryKey {
	account := strings.Split(roleARN, ":")[4]
	return temporaryKey{
		principal:    "arn:aws:sts::" + account + ":assumed-role/" + roleName + "/" + session,
		assumedID:    "AROA" + q.server.random.text(upperAlphanumeric, queryAccessKeyLength) + ":" + session,
		sessionToken: q.server.random.opaque(querySessionTokenBytes),
		expires:      q.server.now().Add(valid),
	}
}
