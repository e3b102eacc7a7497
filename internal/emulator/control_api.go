// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"vault-plugin-secrets-cognito/internal/emulator/control"
)

// controlHandler returns the handler of the control API.
func (s *Server) controlHandler() http.Handler {
	mux := http.NewServeMux()
	for pattern, handler := range map[string]http.HandlerFunc{
		"POST faults":        accept(s.AddFault),
		"DELETE faults":      run(s.ClearFaults),
		"PUT latency":        accept(always(s.latency.set)),
		"PUT quotas":         accept(always(s.SetQuotas)),
		"PUT iam":            accept(always(s.SetIAM)),
		"PUT signing_key":    accept(s.keys.replace),
		"PUT user_status":    accept(s.SetUserStatus),
		"PUT lambda":         accept(s.SetLambda),
		"PUT token_validity": accept(s.SetTokenValidity),
		"GET calls":          show(func(*http.Request) any { return s.Calls() }),
		"DELETE calls":       run(s.ResetCalls),
		"GET users":          show(func(r *http.Request) any { return control.UserList{Users: s.Users(poolOf(r))} }),
		"GET app_clients":    show(func(r *http.Request) any { return control.AppClientList{AppClients: s.AppClients(poolOf(r))} }),
		"GET monthly_active_users": show(func(r *http.Request) any {
			return control.MonthlyActiveUsersList{Counts: s.MonthlyActiveUsers(poolOf(r))}
		}),
		"POST access_keys": accept(s.PlantAccessKey),
		"GET access_keys":  show(func(*http.Request) any { return s.iam.reportKeys() }),
		"GET secrets":      show(func(*http.Request) any { return control.SecretList{Secrets: s.Secrets()} }),
		"POST late_users":  accept(always(func(l control.LateUsers) { s.SetLateUsers(time.Duration(l.Milliseconds) * time.Millisecond) })),
		"POST reset":       run(s.Reset),
	} {
		mux.HandleFunc(strings.Replace(pattern, " ", " "+control.PathPrefix, 1), handler)
	}
	return fromThisMachine(mux)
}

// fromThisMachine refuses callers on other machines and web pages, because the control API asks for
// no credentials.
func fromThisMachine(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if caller, err := netip.ParseAddrPort(r.RemoteAddr); err != nil || !caller.Addr().Unmap().IsLoopback() {
			http.Error(w, "the control API only accepts callers on the same machine", http.StatusForbidden)
			return
		}
		if r.Header.Get("Origin") != "" {
			http.Error(w, "the control API does not accept requests of web pages", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// accept decodes the JSON body of a request and passes it to take. It refuses unknown fields.
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
	_ = json.NewEncoder(w).Encode(v) // a client that disconnected needs no answer
}

func poolOf(r *http.Request) string {
	return r.URL.Query().Get("user_pool_id")
}
