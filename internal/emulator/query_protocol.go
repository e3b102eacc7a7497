// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"encoding/xml"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"vault-plugin-secrets-cognito/internal/emulator/control"
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

// query is a call of STS or IAM: parameters in a form, the answer in XML.
type query struct {
	server *Server
	signer signer
	form   url.Values
}

type xmlError struct {
	XMLName   xml.Name `xml:"ErrorResponse"`
	Namespace string   `xml:"xmlns,attr"`
	Type      string   `xml:"Error>Type"`
	Code      string   `xml:"Error>Code"`
	Message   string   `xml:"Error>Message"`
	RequestID string   `xml:"RequestId"`
}

type xmlMetadata struct {
	RequestID string `xml:"RequestId"`
}

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

// receiveQuery reads a call of STS or IAM.
func (s *Server) receiveQuery(r *http.Request, body []byte) *exchange {
	form, _ := url.ParseQuery(string(body)) // what cannot be parsed is missing, and refused as such
	q := query{server: s, signer: readSigner(r), form: form}
	return &exchange{
		call:      q.describe(),
		authorize: q.authorize,
		perform:   q.perform,
		refuse:    s.refuseQuery,
	}
}

func (q query) describe() control.Call {
	return control.Call{
		Operation:       q.form.Get("Action"),
		AccessKey:       q.signer.accessKey,
		Region:          q.signer.region,
		RoleARN:         q.form.Get("RoleArn"),
		RoleSessionName: q.form.Get("RoleSessionName"),
		ExternalID:      q.form.Get("ExternalId"),
	}
}

// authorize lets everyone ask who they are, as IAM does.
func (q query) authorize() *exception {
	if q.form.Get("Action") == actionAssumeRoleWithWebIdentity {
		return q.authorizeWebIdentity()
	}
	if err := q.signer.authenticate(q.service()); err != nil {
		return queryException(err)
	}
	if err := q.server.iam.recognize(q.signer, q.server.now()); err != nil {
		return queryException(err)
	}
	if q.isIAM() {
		return q.authorizeIAM()
	}
	if q.form.Get("Action") != actionAssumeRole {
		return nil
	}
	if err := q.server.iam.permit(q.signer, serviceSTS+":"+actionAssumeRole, q.form.Get("RoleArn")); err != nil {
		return queryException(err)
	}
	return q.server.iam.permitAssuming(q.signer, q.form.Get("RoleArn"), q.form.Get("ExternalId"))
}

// queryException gives an exception the name that it goes by in the query protocol.
func queryException(err *exception) *exception {
	names := map[string]string{
		"MissingAuthenticationTokenException": "MissingAuthenticationToken",
		"InvalidSignatureException":           "SignatureDoesNotMatch",
		"UnrecognizedClientException":         "InvalidClientTokenId",
		"ExpiredTokenException":               "ExpiredToken",
		codeAccessDenied:                      "AccessDenied",
		codeInternalError:                     "InternalFailure",
		codeTooManyRequests:                   "Throttling",
	}
	if name, ok := names[err.code]; ok {
		return &exception{code: name, message: err.message, status: err.status}
	}
	return err
}

func (q query) perform() answer {
	switch {
	case q.isIAM():
		return q.performIAM()
	case q.form.Get("Version") != stsVersion:
		return q.server.refuseQuery(newException("NoSuchVersion", "The requested version (%s) is not valid.", q.form.Get("Version")))
	case q.form.Get("Action") == actionCallerIdentity:
		return q.callerIdentity()
	case q.form.Get("Action") == actionAssumeRole:
		return q.assumeRole()
	case q.form.Get("Action") == actionAssumeRoleWithWebIdentity:
		return q.assumeRoleWithWebIdentity()
	default:
		return q.server.refuseQuery(newException("InvalidAction", "Could not find operation %s for version %s", q.form.Get("Action"), stsVersion))
	}
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

// assumedRole is what both ways to assume a role answer.
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

func (s *Server) refuseQuery(err *exception) answer {
	err = queryException(err)
	a := s.xmlAnswer(err.queryStatus(), xmlError{
		Namespace: stsNamespace,
		Type:      "Sender",
		Code:      err.code,
		Message:   err.message,
		RequestID: s.random.uuid(),
	})
	a.code = err.code
	return a
}

// queryStatus is the status of an exception in the query protocol.
func (e *exception) queryStatus() int {
	if e.status != 0 {
		return e.status
	}
	switch e.code {
	case "AccessDenied", "InvalidClientTokenId", "ExpiredToken", "SignatureDoesNotMatch", "MissingAuthenticationToken":
		return http.StatusForbidden
	default:
		return e.httpStatus()
	}
}

// xmlAnswer is for structs of strings, which always encode.
func (s *Server) xmlAnswer(status int, v any) answer {
	body, _ := xml.Marshal(v)
	return answer{status: status, contentType: "text/xml", body: body}
}
