// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"vault-plugin-secrets-cognito/internal/emulator/control"
)

const (
	targetHeader  = "X-Amz-Target"
	targetPrefix  = "AWSCognitoIdentityProviderService."
	jsonMediaType = "application/x-amz-json-1.1"
)

// epoch is a time in AWS's JSON protocol: seconds since 1970, to the millisecond.
type epoch time.Time

// MarshalJSON implements json.Marshaler.
func (e epoch) MarshalJSON() ([]byte, error) {
	return fmt.Appendf(nil, "%.3f", float64(time.Time(e).UnixMilli())/1000), nil
}

// envelope is what the pipeline reads of a request before the operation decodes it.
type envelope struct {
	UserPoolId         string
	ClientId           string
	ClientName         string
	AccessToken        string
	GroupName          string
	Username           string
	ChallengeName      string
	Session            string
	AuthParameters     map[string]string
	ChallengeResponses map[string]string
	ClientMetadata     map[string]string
}

// resource returns the group name, or else the username.
func (e envelope) resource() string {
	return cmp.Or(e.GroupName, e.username())
}

// username returns the user that the request names in one way or another.
func (e envelope) username() string {
	return cmp.Or(e.Username, e.AuthParameters[parameterUsername], e.ChallengeResponses[parameterUsername], usernameIn(e.AccessToken))
}

// usernameIn returns the username in an access token, without verifying the token.
func usernameIn(accessToken string) string {
	parts := strings.Split(accessToken, ".")
	if len(parts) != 3 {
		return ""
	}
	var c struct{ Username string }
	payload, _ := base64.RawURLEncoding.DecodeString(parts[1]) // a broken token has no username
	_ = json.Unmarshal(payload, &c)
	return c.Username
}

// receiveJSON reads a call of Cognito's API.
func (s *Server) receiveJSON(r *http.Request, body []byte) *exchange {
	name := strings.TrimPrefix(r.Header.Get(targetHeader), targetPrefix)
	var e envelope
	_ = json.Unmarshal(body, &e) // the operation refuses a body that is not JSON
	signer := readSigner(r)
	x := &exchange{call: describeJSON(name, signer, e), refuse: s.refuseJSON, changes: e.changes(name)}
	op, known := s.operations[name]
	if !known {
		x.perform = func() answer { return s.refuseJSON(unknownOperation(name)) }
		return x
	}
	x.quotas = op.quotas(e)
	if !op.unsigned {
		x.authorize = func() *exception { return s.authorizeJSON(signer, name, e) }
	}
	x.perform = func() answer {
		a := s.performJSON(name, op, signer, e, body)
		s.observe(Exchange{Operation: name, AccessKey: signer.accessKey, Request: body, Answer: a.body, Code: a.code})
		return a
	}
	return x
}

func describeJSON(name string, signer signer, e envelope) control.Call {
	return control.Call{
		Operation:      name,
		AccessKey:      signer.accessKey,
		Region:         signer.region,
		Resource:       e.resource(),
		Username:       e.username(),
		GroupName:      e.GroupName,
		ClientID:       e.ClientId,
		ClientName:     e.ClientName,
		ClientMetadata: e.ClientMetadata,
	}
}

func unknownOperation(name string) *exception {
	return newException("UnknownOperationException", "Unknown operation: %s", name)
}

func (s *Server) authorizeJSON(signer signer, operation string, e envelope) *exception {
	if err := signer.authenticate(serviceCognito); err != nil {
		return err
	}
	if err := s.iam.recognize(signer, s.now()); err != nil {
		return err
	}
	return s.iam.permit(signer, serviceCognito+":"+operation, s.poolARN(signer.region, e.UserPoolId))
}

func (s *Server) poolARN(region, poolID string) string {
	if poolID == "" {
		poolID = "*"
	}
	return fmt.Sprintf("arn:aws:cognito-idp:%s:%s:userpool/%s", region, s.accountID, poolID)
}

// performJSON encodes the result, which signs the tokens in it, after the lock on the state is
// released.
func (s *Server) performJSON(name string, op operation, signer signer, e envelope, body []byte) answer {
	result, err := s.run(name, op, signer, e, body)
	if err != nil {
		return s.refuseJSON(asException(err))
	}
	encoded, err := json.Marshal(result)
	if err != nil {
		return s.refuseJSON(asException(err))
	}
	return s.jsonAnswer(http.StatusOK, encoded)
}

func (s *Server) run(name string, op operation, signer signer, e envelope, body []byte) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.state.refuseInReplica(name, signer.region, e.UserPoolId); err != nil {
		return nil, err
	}
	return op.run(s.newRequest(signer.region), body)
}

func asException(err error) *exception {
	var known *exception
	if errors.As(err, &known) {
		return known
	}
	return newException(codeInternalError, "%s", err)
}

func (s *Server) refuseJSON(err *exception) answer {
	body, _ := json.Marshal(map[string]string{"__type": err.code, "message": err.message}) // strings always encode
	a := s.jsonAnswer(err.httpStatus(), body)
	a.code = err.code
	a.header.Set("X-Amzn-Errortype", err.code+":")
	return a
}

func (s *Server) jsonAnswer(status int, body []byte) answer {
	header := http.Header{}
	header.Set("X-Amzn-Requestid", s.random.uuid())
	return answer{status: status, contentType: jsonMediaType, header: header, body: body}
}
