// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"fmt"
	"io"
	"net/http"
	"strings"
)

const (
	tokenPath     = "/oauth2/token"
	jwksPath      = "/.well-known/jwks.json"
	maxBodyBytes  = 1 << 20
	formMediaType = "application/x-www-form-urlencoded"
)

// receive reads a request to its end, which also lets the server notice a client that goes away, and tells which
// protocol it speaks.
func (s *Server) receive(r *http.Request) (*exchange, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBodyBytes))
	if err != nil {
		return nil, fmt.Errorf("reading the request: %w", err)
	}
	s.secrets.learn(body)
	switch {
	case r.URL.Path == tokenPath:
		return s.receiveToken(r, body), nil
	case strings.HasSuffix(r.URL.Path, jwksPath):
		return s.receiveJWKS(r), nil
	case r.Method == http.MethodPost && r.Header.Get(targetHeader) != "":
		return s.receiveJSON(r, body), nil
	case r.Method == http.MethodPost && hasMediaType(r, formMediaType):
		return s.receiveQuery(r, body), nil
	default:
		return nil, fmt.Errorf("%s %s is neither Cognito, STS, IAM, %s nor a key set", r.Method, r.URL.Path, tokenPath)
	}
}

func hasMediaType(r *http.Request, mediaType string) bool {
	got, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	return strings.EqualFold(strings.TrimSpace(got), mediaType)
}
