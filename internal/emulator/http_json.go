// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
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

// epoch is a time as AWS's JSON protocol writes it: seconds since 1970, to the millisecond.
type epoch time.Time

// MarshalJSON implements json.Marshaler.
func (e epoch) MarshalJSON() ([]byte, error) {
	return fmt.Appendf(nil, "%.3f", float64(time.Time(e).UnixMilli())/1000), nil
}

// envelope is what the emulator wants to know of a request before it is carried out.
type envelope struct {
	UserPoolId         string
	ClientId           string
	GroupName          string
	Username           string
	ChallengeName      string
	AuthParameters     map[string]string
	ChallengeResponses map[string]string
	ClientMetadata     map[string]string
}

func (e envelope) resource() string {
	for _, name := range []string{e.GroupName, e.Username, e.AuthParameters["USERNAME"]} {
		if name != "" {
			return name
		}
	}
	return e.ChallengeResponses["USERNAME"]
}

// receiveJSON reads a call of Cognito's API.
func (s *Server) receiveJSON(r *http.Request, body []byte) *exchange {
	name := strings.TrimPrefix(r.Header.Get(targetHeader), targetPrefix)
	var e envelope
	_ = json.Unmarshal(body, &e) // a body that is no JSON is refused when it is decoded for the operation
	signer := readSigner(r)
	x := &exchange{call: describeJSON(name, signer, e), refuse: s.refuseJSON}
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
		a := s.performJSON(op, signer, body)
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
		ClientID:       e.ClientId,
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

// performJSON encodes the result, and with that signs the tokens in it, after it has let go of the state.
func (s *Server) performJSON(op operation, signer signer, body []byte) answer {
	result, err := s.run(op, signer, body)
	if err != nil {
		return s.refuseJSON(asException(err))
	}
	encoded, err := json.Marshal(result)
	if err != nil {
		return s.refuseJSON(asException(err))
	}
	return s.jsonAnswer(http.StatusOK, encoded)
}

func (s *Server) run(op operation, signer signer, body []byte) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
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
