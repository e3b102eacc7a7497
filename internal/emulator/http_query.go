// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"encoding/xml"
	"net/http"
	"net/url"

	"vault-plugin-secrets-cognito/internal/emulator/control"
)

// query is a call of STS or IAM: the parameters are a form, the answer is XML.
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

// receiveQuery reads a call of STS or IAM.
func (s *Server) receiveQuery(r *http.Request, body []byte) *exchange {
	form, _ := url.ParseQuery(string(body)) // parameters that cannot be parsed are refused as missing
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

// authorize needs no permission for GetCallerIdentity, like IAM.
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

// queryException translates an exception into its name in the query protocol.
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

// queryStatus returns the status of an exception in the query protocol.
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

// xmlAnswer encodes structs of strings, which cannot fail.
func (s *Server) xmlAnswer(status int, v any) answer {
	body, _ := xml.Marshal(v)
	return answer{status: status, contentType: "text/xml", body: body}
}
