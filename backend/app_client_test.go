// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend_test

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/backend/backendtest"
	"vault-plugin-secrets-cognito/internal/cognito"
	"vault-plugin-secrets-cognito/internal/emulator/control"
)

// appClientRole returns the required fields of an app_client role, and more.
func appClientRole(more map[string]any) map[string]any {
	role := map[string]any{
		"credential_type": "app_client", "user_pool_id": "eu-west-1_AbCdEfGhI", "region": "eu-west-1",
		"scopes": "api/read", "cognito_pool_domain": "example.auth.eu-west-1.amazoncognito.com",
	}
	maps.Copy(role, more)
	return role
}

// newClientIssuer returns a mount whose role "ci" issues app clients.
func newClientIssuer(t *testing.T, more map[string]any) *issuer {
	t.Helper()
	i := newIssuer(t, nil)
	i.WriteOK("config", map[string]any{"rate_limits": map[string]any{"UserPoolClientRead": 1000, "UserPoolClientUpdate": 1000}})
	i.OK(logical.DeleteOperation, "roles/ci", nil)
	role := appClientRole(map[string]any{
		"user_pool_id": i.Seed.UserPoolID, "cognito_pool_domain": i.Seed.Domain, "ttl": "1h", "max_ttl": "24h",
	})
	maps.Copy(role, more)
	i.WriteOK("roles/ci", role)
	return i
}

// issuedClients returns the names of the pool's app clients that the engine created.
func (p *pool) issuedClients() (names []string) {
	p.T.Helper()
	pages := cip.NewListUserPoolClientsPaginator(p.Admin, &cip.ListUserPoolClientsInput{UserPoolId: &p.Seed.UserPoolID, MaxResults: aws.Int32(60)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(p.T.Context())
		require.NoError(p.T, err)
		for _, client := range page.UserPoolClients {
			if strings.HasPrefix(*client.ClientName, "vault-") {
				names = append(names, *client.ClientName)
			}
		}
	}
	return names
}

func (i *issuer) requireClients(count int, why string) {
	i.T.Helper()
	require.Len(i.T, i.issuedClients(), count, why)
}

func TestAppClientRole(t *testing.T) {
	t.Run("reads back its own fields only", func(t *testing.T) {
		m := backendtest.New(t)
		m.WriteOK("roles/svc", appClientRole(map[string]any{"access_token_ttl": "10m", "ttl": "5m", "max_ttl": "1h", "max_issued": 3}))
		require.Equal(t, map[string]any{
			"credential_type": "app_client", "user_pool_id": "eu-west-1_AbCdEfGhI", "region": "eu-west-1",
			"aws_assume_role_arn": "", "aws_external_id": "", "scopes": []string{"api/read"}, "access_token_ttl": int64(600),
			"client_name_template": "", "cognito_pool_domain": "example.auth.eu-west-1.amazoncognito.com",
			"ttl": int64(300), "max_ttl": int64(3600), "max_issued": 3,
		}, m.Read("roles/svc"))
	})

	for name, c := range map[string]struct {
		fields  map[string]any
		refusal string
	}{
		"without scopes":                 {map[string]any{"scopes": ""}, "scopes"},
		"without a domain":               {map[string]any{"cognito_pool_domain": ""}, "cognito_pool_domain"},
		"with tokens that are too short": {map[string]any{"access_token_ttl": "1m"}, `access_token_ttl "1m" is not allowed: it must be between 5m and 24h`},
		"with tokens that are too long":  {map[string]any{"access_token_ttl": "25h"}, `access_token_ttl "25h" is not allowed`},
		"with a ttl above max_ttl":       {map[string]any{"ttl": "2h", "max_ttl": "1h"}, `ttl "2h" is not allowed`},
		"with an app client of its own":  {map[string]any{"app_client_id": "client"}, "app_client_id is not allowed"},
		"with groups":                    {map[string]any{"groups": "a"}, "groups is not allowed"},
		"with names that are not random": {map[string]any{"client_name_template": "svc-{{.RoleName}}"}, "client_name_template"},
		"with random parts cut off":      {map[string]any{"client_name_template": `{{printf "%s-%s" .RoleName (random 20) | truncate 8}}`}, "client_name_template"},
		"with names Cognito refuses":     {map[string]any{"client_name_template": "a/{{random 20}}"}, "client_name_template"},
		"with names that are too long":   {map[string]any{"client_name_template": "{{random 120}}{{random 20}}"}, "client_name_template"},
	} {
		t.Run("is refused "+name, func(t *testing.T) {
			m := backendtest.New(t)
			require.Contains(t, m.WriteRefused("roles/svc", appClientRole(c.fields)), c.refusal)
			response := m.OK(logical.ReadOperation, "roles/svc", nil)
			require.Nil(t, response)
		})
	}
}

func TestAppClientLease(t *testing.T) {
	t.Run("gives an app client that gets tokens until the lease is revoked", func(t *testing.T) {
		i := newClientIssuer(t, map[string]any{"access_token_ttl": "10m"})
		response := i.OK(logical.ReadOperation, "creds/ci", nil)
		data := response.Data
		require.Equal(t, time.Hour, response.Secret.TTL)
		require.Equal(t, i.Seed.Domain+"/oauth2/token", data["token_endpoint"])
		require.Equal(t, []string{"api/read"}, data["scopes"])
		require.Equal(t, i.Seed.UserPoolID, data["user_pool_id"])
		id, secret := data["app_client_id"].(string), data["app_client_secret"].(string)

		service := cognito.New(t.Context(), cognito.Settings{})
		request := cognito.MachineTokenRequest{Domain: i.Seed.Domain, AppClient: cognito.AppClient{ID: id, Secret: secret}, Scopes: []string{"api/read"}, NoCache: true}
		token, err := service.MachineToken(t.Context(), request)
		require.NoError(t, err)
		require.WithinDuration(t, time.Now().Add(10*time.Minute), token.Expires, time.Minute)

		stored := ""
		for _, value := range []any{i.OK(logical.ListOperation, "issued/ci", nil).Data, response.Secret.InternalData, i.log.String()} {
			stored += fmt.Sprint(value)
		}
		for _, record := range i.records() {
			stored += fmt.Sprint(i.Read("issued/ci/" + record))
			at := strings.LastIndex(record, "-")
			entry, err := i.storage.Get(t.Context(), "issued/records/ci/"+record[:at]+"/"+record[at+1:])
			require.NoError(t, err)
			stored += string(entry.Value)
		}
		require.Contains(t, stored, id)
		require.NotContains(t, stored, secret, "the secret is in the answer only")

		require.NoError(t, i.revoke(response.Secret))
		i.requireClients(0, "its lease is revoked")
		require.Empty(t, i.records())
		_, err = service.MachineToken(t.Context(), request)
		require.Error(t, err)
		require.NoError(t, i.revoke(response.Secret), "it is gone already")
	})

	t.Run("keeps its app client when it is renewed, until max_ttl", func(t *testing.T) {
		i := newClientIssuer(t, nil)
		secret := i.issue()
		i.pass(30 * time.Minute)
		i.renew(secret)
		require.Equal(t, []string{"confirmed"}, i.states())
		i.pass(23*time.Hour + 30*time.Minute)
		i.requireClients(1, "its lease may be alive")
		i.pass(8 * time.Minute)
		i.requireClients(0, "no lease of it can be alive")
	})

	t.Run("ends soon after its first ttl when Vault lost it", func(t *testing.T) {
		i := newClientIssuer(t, nil)
		i.issue()
		i.pass(time.Hour + 8*time.Minute)
		i.requireClients(0, "no lease can have it any more")
		i.pass(2 * time.Minute)
		require.Empty(t, i.entries("issued/"))
	})

	t.Run("cannot be renewed when its role is gone, and is revoked all the same", func(t *testing.T) {
		i := newClientIssuer(t, nil)
		secret := i.issue()
		i.OK(logical.DeleteOperation, "roles/ci", nil)
		_, err := i.lease(logical.RenewOperation, secret)
		require.ErrorContains(t, err, "is gone, so the lease of")
		require.NoError(t, i.revoke(secret))
		i.requireClients(0, "its lease is revoked")
	})

	t.Run("counts for max_issued", func(t *testing.T) {
		i := newClientIssuer(t, map[string]any{"max_issued": 1})
		i.issue()
		_, err := i.Request(t.Context(), logical.ReadOperation, "creds/ci", nil)
		require.ErrorContains(t, err, "max_issued=1")
		i.requireClients(1, "the second was refused")
	})

	t.Run("stays when its pool is not found in another account", func(t *testing.T) {
		i := newClientIssuer(t, nil)
		secret := i.issue()
		secret.InternalData["account_id"] = "999999999999"
		i.Fault(control.Fault{Operation: "DeleteUserPoolClient", Kind: control.FaultError, Code: "ResourceNotFoundException"})
		i.Fault(control.Fault{Operation: "ListUserPoolClients", Kind: control.FaultError, Code: "ResourceNotFoundException"})
		require.ErrorContains(t, i.revoke(secret), "may still be there")
		i.Heal()
		require.NoError(t, i.revoke(secret))
		i.requireClients(0, "its lease is revoked")
	})
}

// emptyList lets Cognito list no app clients, as it may do while they are new; 0 times is until
// that is healed.
func emptyList(times int) control.Fault {
	return control.Fault{
		Operation: "ListUserPoolClients", Kind: control.FaultRaw, ContentType: "application/x-amz-json-1.1", Body: `{"UserPoolClients":[]}`, Times: times,
	}
}

func TestAppClientWhoseAnswerIsLost(t *testing.T) {
	lose := func(t *testing.T, i *issuer, kind string) {
		t.Helper()
		i.Fault(control.Fault{Operation: "CreateUserPoolClient", Kind: kind, Code: "InternalErrorException"})
		_, err := i.Request(t.Context(), logical.ReadOperation, "creds/ci", nil)
		var coded logical.HTTPCodedError
		require.ErrorAs(t, err, &coded)
		require.Equal(t, 502, coded.Code())
		i.Heal()
	}

	for _, kind := range []string{control.FaultCutAfter, control.FaultErrorAfter, control.FaultHangAfter, control.FaultCutBody} {
		t.Run("is found by its name and deleted: "+kind, func(t *testing.T) {
			i := newClientIssuer(t, nil)
			i.WriteOK("config", map[string]any{"max_retries": 5})
			lose(t, i, kind)
			i.requireClients(1, "the call is not repeated")
			require.Equal(t, []string{"creating"}, i.states())
			i.pass(6 * time.Minute)
			i.requireClients(0, "it was found")
			require.Empty(t, i.records())
		})
	}

	t.Run("is searched for a day when no list shows it", func(t *testing.T) {
		i := newClientIssuer(t, nil)
		lose(t, i, control.FaultCutAfter)
		i.Fault(emptyList(0))
		i.pass(20 * time.Hour)
		require.Equal(t, []string{"creating"}, i.states(), "an empty list proves nothing")
		i.Heal()
		i.requireClients(1, "it is there all the time")
		i.pass(4 * time.Hour)
		i.requireClients(0, "it was found")
		require.Empty(t, i.records())
	})

	t.Run("was never created: the search ends after a day", func(t *testing.T) {
		i := newClientIssuer(t, nil)
		lose(t, i, control.FaultCutBefore)
		i.pass(23*time.Hour + 50*time.Minute)
		require.Equal(t, []string{"creating"}, i.states())
		i.pass(15 * time.Minute)
		require.Empty(t, i.records())
	})

	t.Run("is one of several that one list finds, after the death of the process", func(t *testing.T) {
		i := newClientIssuer(t, nil)
		i.Fault(control.Fault{Operation: "GetCallerIdentity", Kind: control.FaultError, Code: "ServiceUnavailable"})
		lose(t, i, control.FaultCutAfter) // its account is not known
		i.Heal()
		for range 2 {
			lose(t, i, control.FaultCutAfter)
		}
		kept := i.issue()
		i.newProcess()
		before := len(i.Calls().Of("ListUserPoolClients"))
		i.pass(6 * time.Minute)
		require.Len(t, i.Calls().Of("ListUserPoolClients"), before+1)
		i.requireClients(1, "that of the lease")
		require.NoError(t, i.revoke(kept))
		i.requireClients(0, "its lease is revoked")
	})

	t.Run("is deleted when the mount is unmounted", func(t *testing.T) {
		i := newClientIssuer(t, nil)
		lose(t, i, control.FaultCutAfter)
		i.System.TaintedVal = true
		_ = i.tick()
		i.requireClients(0, "it was found")
	})

	t.Run("is deleted when the mount is unmounted, also if a list shows it late", func(t *testing.T) {
		i := newClientIssuer(t, nil)
		lose(t, i, control.FaultCutAfter)
		i.Fault(emptyList(2))
		i.System.TaintedVal = true
		require.NoError(t, i.tick())
		i.Heal()
		i.requireClients(0, "a later list showed it")
	})

	t.Run("is named in the log if no list shows it before the unmount", func(t *testing.T) {
		i := newClientIssuer(t, nil)
		lose(t, i, control.FaultCutAfter)
		name := i.issuedClients()[0]
		i.Fault(emptyList(0))
		i.System.TaintedVal = true
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, _ = i.Request(ctx, logical.RollbackOperation, "", nil)
		require.Regexp(t, `\[WARN\] .*delete it by hand.* client_name=`+name, i.log.String())
	})

	t.Run("is searched for a day also if the clock was set forward", func(t *testing.T) {
		i := newClientIssuer(t, nil)
		lose(t, i, control.FaultCutAfter)
		i.pass(time.Minute)
		i.Fault(emptyList(0))
		i.clocks.set(30 * time.Hour)
		i.pass(10 * time.Minute)
		i.Heal()
		i.pass(5 * time.Hour)
		i.requireClients(0, "it was found")
		require.Empty(t, i.records())
	})

	t.Run("is not searched after a refusal", func(t *testing.T) {
		i := newClientIssuer(t, nil)
		i.Fault(control.Fault{Operation: "CreateUserPoolClient", Kind: control.FaultError, Code: "LimitExceededException"})
		require.Contains(t, i.Refused(logical.ReadOperation, "creds/ci", nil), "as many app clients as its quota allows")
		require.Empty(t, i.records(), "nothing was created")
	})
}

func TestAppClientWhenStorageFailsAtEveryCall(t *testing.T) {
	i := newClientIssuer(t, nil)
	i.storage.Repair()
	i.issue()
	calls := i.storage.Calls()
	require.NotEmpty(t, calls)
	for n, call := range calls {
		t.Run(fmt.Sprintf("call %d, %s", n+1, call), func(t *testing.T) {
			i := newClientIssuer(t, nil)
			i.storage.Fail(backendtest.StorageFault{At: n + 1})
			_, err := i.Request(t.Context(), logical.ReadOperation, "creds/ci", nil)
			i.storage.Repair()
			if err != nil {
				i.requireClients(0, "no answer names it")
			}
		})
	}
}

func TestCheckOfAppClients(t *testing.T) {
	t.Run("finds nothing wrong with a good role", func(t *testing.T) {
		c := newClientIssuer(t, nil).check("ci")
		require.Equal(t, "ok", c.status)
		require.ElementsMatch(t, []string{"role", "aws_identity", "user_pool", "scopes", "app_clients"}, c.of("ok"))
	})
	t.Run("finds scopes that the pool does not have", func(t *testing.T) {
		i := newClientIssuer(t, map[string]any{"scopes": "api/read,api/nosuch,nosuch/read,plain"})
		require.Contains(t, i.check("ci").says("scopes"), `api/nosuch`)
		require.ElementsMatch(t, []string{"scopes"}, i.check("ci").of("fail"))
		require.NotContains(t, i.check("ci").says("scopes"), `"api/read"`)
	})
	t.Run("names missing permissions", func(t *testing.T) {
		i := newClientIssuer(t, nil)
		i.Deny("cognito-idp:DescribeResourceServer", "cognito-idp:ListUserPoolClients")
		require.Contains(t, i.check("ci").says("scopes"), "Allow cognito-idp:DescribeResourceServer")
		require.Contains(t, i.check("ci").says("app_clients"), "Allow cognito-idp:ListUserPoolClients")
	})
	t.Run("warns when the pool has nearly as many app clients as it may", func(t *testing.T) {
		i := newClientIssuer(t, nil)
		for n := range 950 {
			_, err := i.Admin.CreateUserPoolClient(t.Context(), &cip.CreateUserPoolClientInput{UserPoolId: &i.Seed.UserPoolID, ClientName: aws.String(fmt.Sprint("other-", n))})
			require.NoError(t, err)
		}
		require.Equal(t, "warn", i.check("ci").status)
		require.Contains(t, i.check("ci").says("app_clients"), "the quota is 1000")
	})
}
