// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"vault-plugin-secrets-cognito/internal/emulator/control"
)

// controlHandler is the control API.
func (s *Server) controlHandler() http.Handler {
	mux := http.NewServeMux()
	for pattern, handler := range map[string]http.HandlerFunc{
		"POST faults":        accept(s.faults.add),
		"DELETE faults":      run(s.faults.clear),
		"PUT latency":        accept(always(s.latency.set)),
		"PUT quotas":         accept(always(s.quotas.set)),
		"PUT iam":            accept(always(s.iam.set)),
		"PUT signing_key":    accept(s.keys.replace),
		"PUT token_validity": accept(s.setTokenValidity),
		"GET calls":          show(func(*http.Request) any { return s.calls.snapshot() }),
		"DELETE calls":       run(s.calls.reset),
		"GET users":          show(s.reportUsers),
		"POST access_keys":   accept(s.plantAccessKey),
		"GET access_keys":    show(func(*http.Request) any { return s.iam.reportKeys() }),
		"GET secrets":        show(s.secrets.report),
		"POST late_users":    accept(always(s.setLateUsers)),
		"POST reset":         run(s.reset),
	} {
		mux.HandleFunc(strings.Replace(pattern, " ", " "+control.PathPrefix, 1), handler)
	}
	return fromThisMachine(mux)
}

// fromThisMachine keeps everyone else out, as the control API asks for no credentials.
func fromThisMachine(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if caller, err := netip.ParseAddrPort(r.RemoteAddr); err != nil || !caller.Addr().Unmap().IsLoopback() {
			http.Error(w, "the control API is for callers on the same machine", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// accept hands the JSON body of a request to take.
func accept[T any](take func(T) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var body T
		decoder := json.NewDecoder(r.Body)
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if err := take(body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		writeJSON(w, empty{})
	}
}

func always[T any](take func(T)) func(T) error {
	return func(v T) error {
		take(v)
		return nil
	}
}

func run(do func()) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		do()
		writeJSON(w, empty{})
	}
}

func show(what func(*http.Request) any) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		writeJSON(w, what(r))
	}
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the client may be gone, which is its own business
}

func (s *Server) setTokenValidity(validity control.TokenValidity) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.state.clients[validity.ClientID]; !ok {
		return fmt.Errorf("app client %q does not exist", validity.ClientID)
	}
	s.state.tokenValidity[validity.ClientID] = validity
	return nil
}

func (s *Server) plantAccessKey(wanted control.AccessKey) error {
	s.secrets.recordValue("SecretAccessKey", wanted.Secret)
	return s.iam.plant(wanted, s.now())
}

func (s *Server) setLateUsers(late control.LateUsers) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.lateUsers = time.Duration(late.Milliseconds) * time.Millisecond
}

func (s *Server) reportUsers(r *http.Request) any {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := control.UserList{Users: []control.User{}}
	wanted := r.URL.Query().Get("user_pool_id")
	for _, p := range s.state.sortedPools() {
		if wanted != "" && wanted != p.id {
			continue
		}
		for _, u := range p.sortedUsers() {
			list.Users = append(list.Users, u.report())
		}
	}
	return list
}

// reset leaves pools, app clients and groups alone.
func (s *Server) reset() {
	s.faults.clear()
	s.latency.set(control.Latency{})
	s.quotas.set(nil)
	s.iam.set(control.IAM{})
	s.iam.deleteKeys()
	s.removeUsers()
	s.calls.reset()
}

func (s *Server) removeUsers() {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.newRequest("")
	for _, p := range s.state.pools {
		for _, u := range p.users {
			r.deleteUser(u)
		}
	}
	clear(s.state.challenges)
	clear(s.state.tokenValidity)
	s.state.lateUsers = 0
}
