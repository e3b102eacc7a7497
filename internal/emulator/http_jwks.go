// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"encoding/json"
	"net/http"
	"strings"

	"vault-plugin-secrets-cognito/internal/emulator/control"
)

// receiveJWKS reads a request for the key set of one pool or of all pools, which is the same set.
func (s *Server) receiveJWKS(r *http.Request) *exchange {
	poolID := strings.Trim(strings.TrimSuffix(r.URL.Path, jwksPath), "/")
	return &exchange{
		call:    control.Call{Operation: control.OperationJWKS, Resource: poolID},
		refuse:  s.refuseJSON,
		perform: func() answer { return s.performJWKS(poolID) },
	}
}

func (s *Server) performJWKS(poolID string) answer {
	if poolID != "" && !s.hasPool(poolID) {
		return s.poolNotFound(poolID)
	}
	body, err := json.Marshal(s.keys.keySet())
	if err != nil {
		return s.refuseJSON(asException(err))
	}
	return answer{status: http.StatusOK, contentType: "application/json", body: body}
}

// poolNotFound is a 404: the key set and the OpenID configuration are plain resources.
func (s *Server) poolNotFound(poolID string) answer {
	return s.refuseJSON(&exception{
		code:    codeResourceNotFound,
		message: "User pool " + poolID + " does not exist.",
		status:  http.StatusNotFound,
	})
}

func (s *Server) hasPool(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.state.pools[id]
	return ok
}
