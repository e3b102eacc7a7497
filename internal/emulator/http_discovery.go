// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"encoding/json"
	"net/http"
	"strings"

	"vault-plugin-secrets-cognito/internal/emulator/control"
)

// discovery is the OpenID configuration of a user pool. The issuer is the one in its tokens; the
// other URLs lead to the emulator. A client that requires the issuer to be the address it called
// needs Options.Issuer.
type discovery struct {
	Issuer             string   `json:"issuer"`
	JWKSURI            string   `json:"jwks_uri"`
	TokenEndpoint      string   `json:"token_endpoint"`
	TokenEndpointAuth  []string `json:"token_endpoint_auth_methods_supported"`
	ResponseTypes      []string `json:"response_types_supported"`
	Scopes             []string `json:"scopes_supported"`
	SubjectTypes       []string `json:"subject_types_supported"`
	IDTokenSigningAlgs []string `json:"id_token_signing_alg_values_supported"`
	GrantTypes         []string `json:"grant_types_supported"`
}

// receiveDiscovery reads a request for the OpenID configuration of a pool.
func (s *Server) receiveDiscovery(r *http.Request) *exchange {
	poolID := strings.Trim(strings.TrimSuffix(r.URL.Path, discoveryPath), "/")
	base := "http://" + r.Host
	return &exchange{
		call:    control.Call{Operation: control.OperationDiscovery, Resource: poolID},
		refuse:  s.refuseJSON,
		perform: func() answer { return s.performDiscovery(poolID, base) },
	}
}

func (s *Server) performDiscovery(poolID, base string) answer {
	issuer, ok := s.issuerOfID(poolID)
	if !ok {
		return s.poolNotFound(poolID)
	}
	body, err := json.Marshal(discovery{
		Issuer:             issuer,
		JWKSURI:            base + "/" + poolID + jwksPath,
		TokenEndpoint:      base + tokenPath,
		TokenEndpointAuth:  []string{"client_secret_basic", "client_secret_post"},
		ResponseTypes:      []string{"code", "token"},
		Scopes:             []string{"openid", "email", "phone", "profile"},
		SubjectTypes:       []string{"public"},
		IDTokenSigningAlgs: []string{"RS256"},
		GrantTypes:         []string{oauthClientCredentials},
	})
	if err != nil {
		return s.refuseJSON(asException(err))
	}
	return answer{status: http.StatusOK, contentType: "application/json", body: body}
}

func (s *Server) issuerOfID(poolID string) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.state.pools[poolID]
	if !ok {
		return "", false
	}
	return s.issuerOf(p), true
}
