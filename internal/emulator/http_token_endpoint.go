// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"vault-plugin-secrets-cognito/internal/emulator/control"
)

// Errors of the token endpoint.
const (
	oauthInvalidClient    = "invalid_client"
	oauthInvalidRequest   = "invalid_request"
	oauthInvalidScope     = "invalid_scope"
	oauthNoDomain         = "no_domain"
	oauthServerError      = "server_error"
	oauthUnauthorized     = "unauthorized_client"
	oauthUnsupportedGrant = "unsupported_grant_type"
	plainJSON             = "application/json;charset=UTF-8"
	loginPagesUnavailable = "<html><body>Login pages unavailable: the user pool has no domain.</body></html>"
)

// tokenRequest is a request at the token endpoint.
type tokenRequest struct {
	form     url.Values
	clientID string
	secret   string
}

type tokenAnswer struct {
	AccessToken *token `json:"access_token"`
	ExpiresIn   int    `json:"expires_in"`
	TokenType   string `json:"token_type"`
}

func (s *Server) receiveToken(r *http.Request, body []byte) *exchange {
	t, err := readTokenRequest(r, body)
	return &exchange{
		call: control.Call{
			Operation:      control.OperationToken,
			ClientID:       t.clientID,
			ClientMetadata: t.clientMetadata(),
		},
		quotas: drawOn(clientAuthentication),
		refuse: s.refuseToken,
		perform: func() answer {
			if err != nil {
				return s.refuseToken(err)
			}
			return s.performToken(t)
		},
	}
}

func readTokenRequest(r *http.Request, body []byte) (tokenRequest, *exception) {
	form, err := url.ParseQuery(string(body))
	t := tokenRequest{form: form, clientID: form.Get("client_id"), secret: form.Get("client_secret")}
	if err != nil || r.Method != http.MethodPost || !hasMediaType(r, formMediaType) {
		return t, newException(oauthInvalidRequest, "")
	}
	// The header is read without URL decoding, because Cognito's documentation does not mention
	// that encoding.
	id, secret, basic := r.BasicAuth()
	if !basic {
		return t, nil
	}
	if t.clientID != "" && t.clientID != id || t.secret != "" {
		return t, newException(oauthInvalidRequest, "")
	}
	t.clientID, t.secret = id, secret
	return t, nil
}

// clientMetadata returns nil unless the request has client metadata that is a JSON object of
// strings.
func (t tokenRequest) clientMetadata() map[string]string {
	var metadata map[string]string
	if json.Unmarshal([]byte(t.form.Get("aws_client_metadata")), &metadata) != nil {
		return nil
	}
	return metadata
}

func (s *Server) performToken(t tokenRequest) answer {
	result, err := s.grantToken(t)
	if err != nil {
		return s.refuseToken(err)
	}
	body, failed := json.Marshal(result)
	if failed != nil {
		return s.refuseToken(newException(oauthServerError, "%s", failed))
	}
	return s.tokenAnswer(http.StatusOK, body)
}

func (s *Server) grantToken(t tokenRequest) (*tokenAnswer, *exception) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.newRequest("")
	c, err := r.clientOfTokenRequest(t)
	if err != nil {
		return nil, err
	}
	scopes, granted := c.grant(strings.Fields(t.form.Get("scope")))
	if !granted {
		return nil, newException(oauthInvalidScope, "")
	}
	return &tokenAnswer{
		AccessToken: r.sign(r.clientClaims(c, scopes)),
		ExpiresIn:   int(r.lifetimesOf(c).access.Seconds()),
		TokenType:   bearer,
	}, nil
}

// clientOfTokenRequest returns the app client if it may have a token.
func (r *request) clientOfTokenRequest(t tokenRequest) (*client, *exception) {
	c, known := r.clients[t.clientID]
	grantType := t.form.Get("grant_type")
	switch {
	case grantType == "":
		return nil, newException(oauthInvalidRequest, "")
	case grantType != oauthClientCredentials:
		return nil, newException(oauthUnsupportedGrant, "")
	case !known || !c.hasSecret(t.secret):
		return nil, newException(oauthInvalidClient, "")
	case c.pool.domains.none():
		return nil, newException(oauthNoDomain, "")
	case !c.settings.mayUseClientCredentials():
		return nil, newException(oauthUnauthorized, "")
	default:
		return c, nil
	}
}

func (s *Server) refuseToken(err *exception) answer {
	if err.code == oauthNoDomain {
		return answer{status: http.StatusNotFound, contentType: "text/html", body: []byte(loginPagesUnavailable), code: err.code}
	}
	words := map[string]string{"error": err.code}
	if err.message != "" {
		words["error_description"] = err.message
	}
	body, _ := json.Marshal(words) // strings always encode
	a := s.tokenAnswer(err.tokenStatus(), body)
	a.code = err.code
	return a
}

// tokenStatus also accepts exceptions of the JSON protocol, which come from faults and quotas.
func (e *exception) tokenStatus() int {
	if e.status == 0 && e.code == codeTooManyRequests {
		return http.StatusTooManyRequests
	}
	if e.code == oauthServerError {
		return http.StatusInternalServerError
	}
	return e.httpStatus()
}

func (s *Server) tokenAnswer(status int, body []byte) answer {
	header := http.Header{}
	header.Set("X-Amz-Cognito-Request-Id", s.random.uuid())
	header.Set("Cache-Control", "no-cache, no-store, max-age=0, must-revalidate")
	return answer{status: status, contentType: plainJSON, header: header, body: body}
}
