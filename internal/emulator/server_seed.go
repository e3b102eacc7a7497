// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"fmt"
	"slices"
)

const seedResourceServer = "api"

// Seed is what a seeded emulator contains: a pool with two groups, an app client of each kind, and
// a domain.
type Seed struct {
	Region     string `json:"region"`
	UserPoolID string `json:"user_pool_id"`
	// AppClientID is a confidential client for users, with admin password sign-in and refresh
	// tokens.
	AppClientID     string `json:"app_client_id"`
	AppClientSecret string `json:"app_client_secret"`
	// PublicClientID is a client without a secret for apps and browsers, which also allows sign-in
	// with password or SRP without AWS credentials.
	PublicClientID string   `json:"public_client_id"`
	Group          string   `json:"group"`
	Groups         []string `json:"groups"`
	// M2MClientID is a client for machines, with the client credentials grant.
	M2MClientID     string `json:"m2m_client_id"`
	M2MClientSecret string `json:"m2m_client_secret"`
	// Domain is the URL of the token endpoint.
	Domain string   `json:"domain"`
	Scopes []string `json:"scopes"`
}

// Seed creates a pool with groups, app clients and a domain in a region. The endpoint is the
// emulator's own URL. Each call creates another pool.
func (s *Server) Seed(region, endpoint string) (Seed, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	seeder := &seeder{request: s.newRequest(region), seed: Seed{
		Region: region,
		Group:  "testers",
		Groups: []string{"testers", "admins"},
		Domain: endpoint,
		Scopes: []string{seedResourceServer + "/read", seedResourceServer + "/write"},
	}}
	for _, step := range []func() error{
		seeder.makePool, seeder.makeDomain, seeder.makeGroups, seeder.makeUserClients, seeder.makeMachineClient,
	} {
		if err := step(); err != nil {
			return Seed{}, fmt.Errorf("seeding the emulator: %w", err)
		}
	}
	return seeder.seed, nil
}

// seeder creates the seed by the same operations that callers use.
type seeder struct {
	request *request
	seed    Seed
}

func (s *seeder) makePool() error {
	out, err := s.request.createUserPool(createUserPoolInput{PoolName: "seed"})
	if err != nil {
		return err
	}
	s.seed.UserPoolID = out.(poolOutput).UserPool.Id
	return nil
}

func (s *seeder) makeDomain() error {
	_, err := s.request.createUserPoolDomain(domainInput{
		UserPoolId: s.seed.UserPoolID,
		Domain:     "seed-" + s.request.server.random.text(lowerAlphanumeric, 8),
	})
	return err
}

func (s *seeder) makeGroups() error {
	for _, name := range s.seed.Groups {
		if _, err := s.request.createGroup(groupInput{UserPoolId: s.seed.UserPoolID, GroupName: name}); err != nil {
			return err
		}
	}
	return nil
}

func (s *seeder) makeUserClients() error {
	settings := clientSettings{ClientName: "confidential", ExplicitAuthFlows: []string{allowAdminPassword, allowRefresh}}
	confidential, err := s.makeClient(settings, true)
	if err != nil {
		return err
	}
	s.seed.AppClientID, s.seed.AppClientSecret = confidential.ClientId, confidential.ClientSecret
	settings.ClientName = "public"
	settings.ExplicitAuthFlows = []string{allowAdminPassword, allowPassword, allowSRP, allowRefresh}
	public, err := s.makeClient(settings, false)
	s.seed.PublicClientID = public.ClientId
	return err
}

func (s *seeder) makeMachineClient() error {
	_, err := s.request.createResourceServer(resourceServerInput{
		UserPoolId: s.seed.UserPoolID,
		Identifier: seedResourceServer,
		Name:       seedResourceServer,
		Scopes:     []resourceServerScope{{"read", "read the API"}, {"write", "write to the API"}},
	})
	if err != nil {
		return err
	}
	machine, err := s.makeClient(clientSettings{
		ClientName:                      "machine",
		AllowedOAuthFlows:               []string{oauthClientCredentials},
		AllowedOAuthFlowsUserPoolClient: true,
		AllowedOAuthScopes:              slices.Clone(s.seed.Scopes),
	}, true)
	s.seed.M2MClientID, s.seed.M2MClientSecret = machine.ClientId, machine.ClientSecret
	return err
}

func (s *seeder) makeClient(settings clientSettings, confidential bool) (clientDescription, error) {
	out, err := s.request.createUserPoolClient(createClientInput{
		clientSettings: settings,
		UserPoolId:     s.seed.UserPoolID,
		GenerateSecret: confidential,
	})
	if err != nil {
		return clientDescription{}, err
	}
	return out.(clientOutput).UserPoolClient, nil
}
