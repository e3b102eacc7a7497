// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"fmt"
	"slices"
	"time"

	"vault-plugin-secrets-cognito/internal/emulator/control"
)

// The methods in this file are the control API for tests in the same process.

// AddFault adds a fault after those that are set.
func (s *Server) AddFault(fault control.Fault) error { return s.faults.add(fault) }

// ClearFaults deletes all faults and releases the calls that hang in one.
func (s *Server) ClearFaults() { s.faults.clear() }

// SetQuotas replaces all quotas; nil turns them off.
func (s *Server) SetQuotas(quotas control.Quotas) { s.quotas.set(quotas) }

// SetIAM replaces what principals may do.
func (s *Server) SetIAM(iam control.IAM) { s.iam.set(iam) }

// Calls returns the calls since the start or the last ResetCalls, in the order in which they began.
func (s *Server) Calls() control.CallLog { return s.calls.snapshot() }

// ResetCalls empties the call log.
func (s *Server) ResetCalls() { s.calls.reset() }

// PlantAccessKey gives an IAM user an access key, which is enforced from then on.
func (s *Server) PlantAccessKey(key control.AccessKey) error {
	s.secrets.recordValue("SecretAccessKey", key.Secret)
	return s.iam.plant(key, s.now())
}

// Secrets returns every secret that crossed the wire in either direction.
func (s *Server) Secrets() []control.Secret { return s.secrets.list() }

// SetTokenValidity overrides the token lifetimes of one app client.
func (s *Server) SetTokenValidity(validity control.TokenValidity) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.state.clients[validity.ClientID]; !ok {
		return fmt.Errorf("app client %q does not exist", validity.ClientID)
	}
	s.state.tokenValidity[validity.ClientID] = validity
	return nil
}

// SetUserStatus sets the status of a user, such as EXTERNAL_PROVIDER or UNCONFIRMED.
func (s *Server) SetUserStatus(wanted control.UserStatus) error {
	if !slices.Contains(userStatuses(), wanted.Status) {
		return fmt.Errorf("status %q of user %q is unknown: use one of %q", wanted.Status, wanted.Username, userStatuses())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.state.pools[wanted.UserPoolID]
	if !ok {
		return fmt.Errorf("user pool %q does not exist", wanted.UserPoolID)
	}
	u := p.userBy(wanted.Username)
	if u == nil {
		return fmt.Errorf("user %q does not exist in user pool %q", wanted.Username, wanted.UserPoolID)
	}
	u.status = wanted.Status
	return nil
}

// SetLateUsers keeps users invisible for the lag after they are created; 0 turns it off.
func (s *Server) SetLateUsers(lag time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.lateUsers = lag
}

// SetLateClients keeps app clients out of lists for the lag after they are created; 0 turns it off.
func (s *Server) SetLateClients(lag time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.lateClients = lag
}

// Users returns the users of a pool by username, or those of all pools when poolID is empty.
func (s *Server) Users(poolID string) []control.User {
	s.mu.Lock()
	defer s.mu.Unlock()
	users := []control.User{}
	for _, p := range s.state.poolsNamed(poolID) {
		for _, u := range p.sortedUsers() {
			users = append(users, u.report(s.now()))
		}
	}
	return users
}

// AppClients returns the app clients of a pool by id, or those of all pools when poolID is empty.
func (s *Server) AppClients(poolID string) []control.AppClient {
	s.mu.Lock()
	defer s.mu.Unlock()
	clients := []control.AppClient{}
	for _, p := range s.state.poolsNamed(poolID) {
		for _, c := range p.sortedClients() {
			clients = append(clients, c.report())
		}
	}
	return clients
}

// MonthlyActiveUsers returns the counts of a pool by month, or those of all pools when poolID is
// empty.
func (s *Server) MonthlyActiveUsers(poolID string) []control.MonthlyActiveUsers {
	s.mu.Lock()
	defer s.mu.Unlock()
	counts := []control.MonthlyActiveUsers{}
	for _, p := range s.state.poolsNamed(poolID) {
		counts = append(counts, p.active.report(p.id)...)
	}
	return counts
}

// HasPassword reports whether the password is the present one of an enabled or disabled user. It
// does not count as a sign-in attempt. The user is found by username, alias or sub.
func (s *Server) HasPassword(poolID, username, password string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.state.pools[poolID]
	if !ok {
		return false
	}
	u := p.userBy(username)
	return u != nil && u.password() == password
}

// Reset puts faults, latency, quotas, IAM and the call log back to what they are at the start and
// deletes all users and the counts of active ones. Pools, app clients and groups stay.
func (s *Server) Reset() {
	s.faults.clear()
	s.latency.set(control.Latency{})
	s.quotas.set(nil)
	s.iam.set(control.IAM{})
	s.iam.deleteKeys()
	s.deleteUsers()
	s.calls.reset()
}

func (s *Server) deleteUsers() {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.newRequest("")
	for _, p := range s.state.pools {
		for _, u := range p.users {
			r.deleteUser(u)
		}
		clear(p.active)
	}
	clear(s.state.challenges)
	clear(s.state.tokenValidity)
	s.state.lateUsers, s.state.lateClients = 0, 0
}
