// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/emulator/emulatortest"
	"vault-plugin-secrets-cognito/internal/sandbox"
)

const (
	// olderName is the name of the 2021 plugin: of its binary, and so of its catalog entry, and of
	// the mount.
	olderName = "cognito"
	// olderVersion is chosen by the operator, because the 2021 plugin reports no version.
	olderVersion = "v0.0.1"
	// newFile is the new binary beside it in the plugin directory.
	newFile = "vault-plugin-secrets-cognito_new"
)

// plugins is a plugin directory with the older and the new binary.
type plugins struct {
	dir, newVersion string
	// sums maps the file names of the binaries to their SHA-256 sums.
	sums map[string]string
}

func buildPlugins(t *testing.T) plugins {
	t.Helper()
	dir := t.TempDir()
	older, newer := filepath.Join(dir, olderName), filepath.Join(dir, newFile)
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", older, "./olderplugin")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	content, err := os.ReadFile(binaries.plugin)
	require.NoError(t, err)
	require.NoError(t, sandbox.WriteProgram(newer, content))
	version, err := exec.CommandContext(t.Context(), newer, "-version").Output()
	require.NoError(t, err)
	return plugins{dir, strings.TrimSpace(string(version)), map[string]string{olderName: sumOf(t, older), newFile: sumOf(t, newer)}}
}

// upgrade is an env whose mount is served by the 2021 plugin first. That plugin stored no
// endpoints, so the emulator is reached under the host names of AWS.
type upgrade struct {
	*env
	plugins
}

// newUpgrade mounts the 2021 plugin as operators did, with a config and a role of each type.
func newUpgrade(t *testing.T, p plugins) *upgrade {
	t.Helper()
	cognito := emulatortest.Start(t)
	server, err := tryStartServer(t, sandbox.VaultOptions{PluginDir: p.dir, LogLevel: "trace", Env: inPlaceOfAWS(t, cognito.Seed.Domain)})
	require.NoError(t, err)
	t.Cleanup(func() { learnSecrets(t, cognito.Control) })
	u := &upgrade{&env{T: t, Cognito: cognito, vault: watchLogs(t, server.Vault), client: server.Client(), mount: olderName}, p}
	require.NoError(t, server.RegisterPlugin(t.Context(), olderName, ""))
	require.NoError(t, u.client.Sys().MountWithContext(t.Context(), olderName, &api.MountInput{Type: olderName}))
	u.write("config", map[string]any{"aws_access_key_id": "AKIAOLDER", "aws_secret_access_key": secretKey})
	u.writeOlderUserRole("person", nil)
	u.writeOlderMachineRole("machine", nil)
	return u
}

func sumOf(t *testing.T, file string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// writeOlderUserRole writes a role as the 2021 plugin stored it.
func (u *upgrade) writeOlderUserRole(name string, more map[string]any) {
	u.Helper()
	role := map[string]any{
		"credential_type": "user", "region": emulatortest.Region, "user_pool_id": u.Seed.UserPoolID,
		"app_client_id": u.Seed.PublicClientID, "group": "testers", "dummy_email_domain": "example.com",
		"ttl": 5 * time.Minute, "max_ttl": time.Hour,
	}
	maps.Copy(role, more)
	u.write("roles/"+name, role)
}

func (u *upgrade) writeOlderMachineRole(name string, more map[string]any) {
	u.Helper()
	role := map[string]any{
		"credential_type": "client_credentials_grant", "cognito_pool_domain": u.Seed.Domain,
		"app_client_id": u.Seed.M2MClientID, "app_client_secret": u.Seed.M2MClientSecret,
	}
	maps.Copy(role, more)
	u.write("roles/"+name, role)
}

// olderLease returns a lease of the 2021 plugin for a user that exists in its pool.
func (u *upgrade) olderLease(role, pool, username string) (leaseID string) {
	u.Helper()
	_, err := u.Admin.AdminCreateUser(u.Context(), &cip.AdminCreateUserInput{
		UserPoolId: &pool, Username: &username, MessageAction: types.MessageActionTypeSuppress,
		UserAttributes: []types.AttributeType{
			{Name: aws.String("email"), Value: &username}, {Name: aws.String("email_verified"), Value: aws.String("true")},
		},
	})
	require.NoError(u, err)
	secret, err := u.client.Logical().ReadWithDataWithContext(u.Context(), u.mount+"/creds/"+role, url.Values{"username": {username}})
	require.NoError(u, err)
	require.NotEmpty(u, secret.LeaseID)
	return secret.LeaseID
}

// moveOn follows docs/upgrade-from-2021.md.
func (u *upgrade) moveOn() {
	u.Helper()
	u.register(olderName, olderVersion)
	u.register(newFile, u.newVersion)
	u.moveTo(newFile, u.newVersion)
}

// goBack follows the way back in docs/upgrade-from-2021.md.
func (u *upgrade) goBack() {
	u.Helper()
	u.moveTo(olderName, olderVersion)
}

func (u *upgrade) register(file, version string) {
	u.Helper()
	u.cli("plugin", "register", "-sha256="+u.sums[file], "-version="+version, "-command="+file, "secret", olderName)
}

func (u *upgrade) moveTo(file, version string) {
	u.Helper()
	u.cli("secrets", "tune", "-plugin-version="+version, u.mount+"/")
	u.cli("plugin", "reload", "-plugin="+olderName)
	mounts, err := u.client.Sys().ListMountsWithContext(u.Context())
	require.NoError(u, err)
	require.Equal(u, u.sums[file], mounts[u.mount+"/"].RunningSha256, "the mount must run the other binary")
}

func (u *upgrade) cli(args ...string) {
	u.Helper()
	_, err := u.vault.CLI(u.Context(), args...)
	require.NoError(u, err)
}

// stored returns an entry in JSON, as the 2021 plugin reads it.
func (u *upgrade) stored(path string) string {
	u.Helper()
	text, err := json.Marshal(u.read(path).Data)
	require.NoError(u, err)
	return string(text)
}

func (u *upgrade) renew(leaseID string) (*api.Secret, error) {
	return u.client.Sys().RenewWithContext(u.Context(), leaseID, 0)
}

// roleNamed returns the role name for a test case.
func roleNamed(name string) string { return strings.ReplaceAll(name, " ", "-") }

func (u *upgrade) usernames() []string {
	u.Helper()
	var names []string
	for _, user := range u.Users() {
		names = append(names, user.Username)
	}
	return names
}

func TestUpgrade(t *testing.T) {
	t.Parallel()
	p := buildPlugins(t)
	for name, test := range map[string]func(*testing.T, *upgrade){
		"config and roles": upgradeEntries,
		"there and back":   upgradeAndBack,
		"leases":           upgradeLeases,
		"incomplete roles": upgradeIncompleteRoles,
	} {
		t.Run("upgrade of "+name, func(t *testing.T) {
			t.Parallel()
			test(t, newUpgrade(t, p))
		})
	}
}

func upgradeEntries(t *testing.T, u *upgrade) {
	t.Helper()
	config := fmt.Sprintf(`{"aws_access_key_id":"AKIAOLDER","aws_assume_role_arn":"","aws_secret_access_key":%q,"aws_session_token":""}`, secretKey)
	person := fmt.Sprintf(`{"credential_type":"user","cognito_pool_domain":"","app_client_secret":"","region":"eu-west-1","app_client_id":%q,
		"user_pool_id":%q,"group":"testers","dummy_email_domain":"example.com","ttl":300000000000,"max_ttl":3600000000000}`, u.Seed.PublicClientID, u.Seed.UserPoolID)
	machine := fmt.Sprintf(`{"credential_type":"client_credentials_grant","cognito_pool_domain":%q,"app_client_secret":%q,"region":"",
		"app_client_id":%q,"user_pool_id":"","group":"","dummy_email_domain":"","ttl":0,"max_ttl":0}`, u.Seed.Domain, u.Seed.M2MClientSecret, u.Seed.M2MClientID)
	require.JSONEq(t, config, u.stored("config"), "the 2021 plugin stored this")
	require.JSONEq(t, person, u.stored("roles/person"))
	require.JSONEq(t, machine, u.stored("roles/machine"))
	u.moveOn()

	t.Run("the stored config can be read, without its secrets", func(t *testing.T) {
		data := u.read("config").Data
		require.Equal(t, "AKIAOLDER", data["aws_access_key_id"])
		require.Equal(t, json.Number("8"), data["max_retries"])
		require.NotContains(t, data, "aws_secret_access_key")
		require.NotContains(t, data, "aws_session_token")
	})

	t.Run("the stored roles can be listed and read, with durations in seconds", func(t *testing.T) {
		list, err := u.client.Logical().ListWithContext(t.Context(), u.mount+"/roles")
		require.NoError(t, err)
		require.Equal(t, []any{"machine", "person"}, list.Data["keys"])

		role := u.read("roles/person").Data
		require.Equal(t, "user", role["credential_type"])
		require.Equal(t, u.Seed.UserPoolID, role["user_pool_id"])
		require.Equal(t, u.Seed.PublicClientID, role["app_client_id"])
		require.Equal(t, "testers", role["group"])
		require.Equal(t, []any{"testers"}, role["groups"])
		require.Equal(t, "example.com", role["dummy_email_domain"])
		require.Equal(t, json.Number("300"), role["ttl"])
		require.Equal(t, json.Number("3600"), role["max_ttl"])

		role = u.read("roles/machine").Data
		require.Equal(t, u.Seed.Domain, role["cognito_pool_domain"])
		require.Equal(t, true, role["app_client_secret_set"])
		require.NotContains(t, role, "app_client_secret")
	})

	t.Run("a stored user role returns all fields that the 2021 plugin returned", func(t *testing.T) {
		secret := u.read("creds/person")
		for _, field := range []string{"username", "password", "access_token", "id_token", "refresh_token"} {
			require.IsType(t, "", secret.Data[field], field)
		}
		require.True(t, strings.HasSuffix(secret.Data["username"].(string), "@example.com"))
		require.Equal(t, "Bearer", secret.Data["token_type"])
		require.Equal(t, json.Number("3600"), secret.Data["expires_in"])
		require.Equal(t, []any{"testers"}, claimsOf(t, secret.Data["access_token"])["cognito:groups"])
		require.Equal(t, 300, secret.LeaseDuration)
		require.Equal(t, "AKIAOLDER", u.Calls().Of("AdminCreateUser")[0].AccessKey)
		u.revoke(secret.LeaseID)
		require.Empty(t, u.Users())
	})

	t.Run("a stored role for tokens returns all fields that the 2021 plugin returned", func(t *testing.T) {
		secret := u.read("creds/machine")
		require.Equal(t, u.Seed.M2MClientID, claimsOf(t, secret.Data["access_token"])["sub"])
		require.Equal(t, "Bearer", secret.Data["token_type"])
		require.IsType(t, json.Number(""), secret.Data["expires_in"])
		require.Empty(t, secret.LeaseID)
	})

	t.Run("with cache_tokens=false every read requests a token", func(t *testing.T) {
		first := u.read("creds/machine").Data["access_token"]
		require.Equal(t, first, u.read("creds/machine").Data["access_token"])
		u.write("roles/machine", map[string]any{"cache_tokens": false})
		second := u.read("creds/machine").Data["access_token"]
		require.NotEqual(t, first, second)
		require.NotEqual(t, second, u.read("creds/machine").Data["access_token"])
	})

	t.Run("writes without fields keep what the 2021 plugin stored", func(t *testing.T) {
		u.write("config", nil)
		u.write("roles/person", nil)
		u.write("roles/machine", map[string]any{"cache_tokens": true})
		u.goBack()
		require.JSONEq(t, config, u.stored("config"))
		require.JSONEq(t, person, u.stored("roles/person"))
		require.JSONEq(t, machine, u.stored("roles/machine"))
	})
}

func upgradeAndBack(t *testing.T, u *upgrade) {
	t.Helper()
	u.moveOn()
	u.write("config", map[string]any{"aws_secret_access_key": "another", "aws_session_token": "token", "region": "eu-west-1", "max_retries": 3})
	u.write("roles/person", map[string]any{"groups": "testers,admins", "ttl": "7m", "max_ttl": "2h", "username_template": "{{random 20}}@example.org"})
	u.write("roles/new", map[string]any{
		"credential_type": "user", "user_pool_id": u.Seed.UserPoolID, "region": emulatortest.Region,
		"app_client_id": u.Seed.AppClientID, "app_client_secret": u.Seed.AppClientSecret, "groups": "admins", "ttl": "1m",
	})
	newer := u.read("creds/person")
	u.goBack()

	t.Run("the 2021 plugin reads a config that the new one wrote", func(t *testing.T) {
		require.JSONEq(t, `{"aws_access_key_id":"AKIAOLDER","aws_assume_role_arn":"","aws_secret_access_key":"another","aws_session_token":"token"}`, u.stored("config"))
	})

	t.Run("the 2021 plugin reads roles that the new one wrote, with one group each", func(t *testing.T) {
		role := u.read("roles/person").Data
		require.Equal(t, "admins", role["group"], "the first one in order")
		require.Equal(t, json.Number("420000000000"), role["ttl"])
		require.Equal(t, json.Number("7200000000000"), role["max_ttl"])
		require.Equal(t, "example.com", role["dummy_email_domain"])
		role = u.read("roles/new").Data
		require.Equal(t, "admins", role["group"])
		require.Equal(t, json.Number("60000000000"), role["ttl"])
		require.Equal(t, u.Seed.AppClientSecret, role["app_client_secret"])
	})

	t.Run("the 2021 plugin renews and revokes a lease of the new one", func(t *testing.T) {
		_, err := u.renew(newer.LeaseID)
		require.NoError(t, err)
		u.revoke(newer.LeaseID)
		require.Empty(t, u.Users())
	})

	t.Run("a role keeps its new fields on the way back until the 2021 plugin writes it", func(t *testing.T) {
		u.moveTo(newFile, u.newVersion)
		role := u.read("roles/person").Data
		require.Equal(t, []any{"admins", "testers"}, role["groups"])
		require.Equal(t, "{{random 20}}@example.org", role["username_template"])

		u.goBack()
		u.write("roles/person", map[string]any{"group": "testers"})
		u.moveTo(newFile, u.newVersion)
		role = u.read("roles/person").Data
		require.Equal(t, []any{"testers"}, role["groups"])
		require.Empty(t, role["username_template"])
	})
}

func upgradeLeases(t *testing.T, u *upgrade) {
	t.Helper()
	mailPool := u.MakePool(&cip.CreateUserPoolInput{UsernameAttributes: []types.UsernameAttributeType{types.UsernameAttributeTypeEmail}})
	cases := map[string]struct {
		// older holds additional fields of the role.
		older map[string]any
		// meanwhile is called under the new version, before the lease is used.
		meanwhile func(role, username string)
		// renewed is the expected lease duration in seconds. refused is the expected error instead.
		renewed int
		refused string
	}{
		"as it is": {renewed: 300},
		"whose role was rewritten": {
			meanwhile: func(role, _ string) { u.write("roles/"+role, map[string]any{"groups": "testers,admins", "ttl": "7m"}) },
			renewed:   420,
		},
		"whose role lets the mount name the region": {
			meanwhile: func(role, _ string) {
				u.write("config", map[string]any{"region": emulatortest.Region})
				u.write("roles/"+role, map[string]any{"region": ""})
			},
			renewed: 300,
		},
		"whose role disables new users": {
			meanwhile: func(role, _ string) { u.write("roles/"+role, map[string]any{"revocation": "disable"}) },
			renewed:   300,
		},
		"whose role issues machine tokens by now": {
			meanwhile: func(role, _ string) {
				u.write("roles/"+role, map[string]any{"credential_type": "client_credentials_grant", "cognito_pool_domain": u.Seed.Domain})
			},
			refused: "by now, so the lease of",
		},
		"in a pool of e-mail addresses": {
			older:   map[string]any{"user_pool_id": mailPool},
			renewed: 300,
		},
		"of a user that is gone": {
			meanwhile: func(_, username string) {
				_, err := u.Admin.AdminDeleteUser(u.Context(), &cip.AdminDeleteUserInput{UserPoolId: &u.Seed.UserPoolID, Username: &username})
				require.NoError(u, err)
			},
			refused: "is gone from user pool",
		},
	}
	addressOf := func(name string) string { return "vault-" + roleNamed(name) + "@example.com" }
	leases := map[string]string{}
	for name, c := range cases {
		u.writeOlderUserRole(roleNamed(name), c.older)
		pool := u.Seed.UserPoolID
		if c.older != nil {
			pool = mailPool
		}
		leases[name] = u.olderLease(roleNamed(name), pool, addressOf(name))
	}
	roleless := u.olderLease("person", u.Seed.UserPoolID, "vault-roleless@example.com")
	require.Len(t, u.Users(), len(cases)+1)
	u.moveOn()

	for _, name := range slices.Sorted(maps.Keys(cases)) {
		c := cases[name]
		t.Run("a lease "+name+" is renewed or rejected with a reason, and revoked", func(t *testing.T) {
			if c.meanwhile != nil {
				c.meanwhile(roleNamed(name), addressOf(name))
			}
			renewed, err := u.renew(leases[name])
			if c.refused == "" {
				require.NoError(t, err)
				require.Equal(t, c.renewed, renewed.LeaseDuration)
			} else {
				require.ErrorContains(t, err, c.refused)
			}
			u.revoke(leases[name])
			for _, user := range u.Users() {
				require.NotEqual(t, addressOf(name), user.Attributes["email"], "the user must be gone")
			}
			_, err = u.client.Sys().LookupWithContext(t.Context(), leases[name])
			require.Error(t, err, "the lease must be gone as well")
		})
	}

	t.Run("a lease of a deleted role is revoked after the role is written again", func(t *testing.T) {
		u.delete("roles/person")
		_, err := u.renew(roleless)
		require.ErrorContains(t, err, `role "person" is gone`)
		_, text := u.refusal(u.client.Sys().RevokeWithContext(t.Context(), roleless))
		require.Contains(t, text, "was issued by the 2021 plugin")
		require.Contains(t, text, "write the role again")
		require.Equal(t, []string{"vault-roleless@example.com"}, u.usernames())

		u.write("roles/person", map[string]any{
			"credential_type": "user", "user_pool_id": u.Seed.UserPoolID, "region": emulatortest.Region, "issue_tokens": false,
		})
		u.revoke(roleless)
		require.Empty(t, u.Users())
	})
}

func upgradeIncompleteRoles(t *testing.T, u *upgrade) {
	t.Helper()
	user, machine := u.writeOlderUserRole, u.writeOlderMachineRole
	cases := map[string]struct {
		// write stores the role with the 2021 plugin.
		write func(name string, more map[string]any)
		// without is the field that it lacks.
		without map[string]any
		// says is the error of the new version when the role is used.
		says string
		// add holds the fields that repair the role.
		add map[string]any
	}{
		"without a pool": {
			user, map[string]any{"user_pool_id": ""},
			"user_pool_id is required", map[string]any{"user_pool_id": u.Seed.UserPoolID},
		},
		"without an app client": {
			user, map[string]any{"app_client_id": ""},
			"app_client_id is required", map[string]any{"app_client_id": u.Seed.PublicClientID},
		},
		"without a domain": {
			machine, map[string]any{"cognito_pool_domain": ""},
			"cognito_pool_domain is required", map[string]any{"cognito_pool_domain": u.Seed.Domain, "app_client_secret": u.Seed.M2MClientSecret},
		},
		"without a machine": {
			machine, map[string]any{"app_client_id": ""},
			"app_client_id is required", map[string]any{"app_client_id": u.Seed.M2MClientID, "app_client_secret": u.Seed.M2MClientSecret},
		},
		"without a secret": {
			machine, map[string]any{"app_client_secret": ""},
			"app_client_secret is required", map[string]any{"app_client_secret": u.Seed.M2MClientSecret},
		},
		"of the very first versions": {
			machine, map[string]any{
				"credential_type": "access_token", "app_client_id": "", "cognito_pool_domain": "", "app_client_secret": "Basic aWQ6c2VjcmV0",
			},
			"app_client_id is required", map[string]any{
				"credential_type": "client_credentials_grant", "cognito_pool_domain": u.Seed.Domain,
				"app_client_id": u.Seed.M2MClientID, "app_client_secret": u.Seed.M2MClientSecret,
			},
		},
	}
	for name, c := range cases {
		c.write(roleNamed(name), c.without)
	}
	user("left-over", map[string]any{"app_client_secret": "of-another-client"})
	u.moveOn()

	for _, name := range slices.Sorted(maps.Keys(cases)) {
		c, role := cases[name], roleNamed(name)
		t.Run("a role "+name+" can be read, names the missing field when it is used, and works with it", func(t *testing.T) {
			require.NotEmpty(t, u.read("roles/" + role).Data["credential_type"])
			_, err := u.tryRead("creds/" + role)
			status, text := u.refusal(err)
			require.Equal(t, 400, status)
			require.Contains(t, text, fmt.Sprintf("role %q cannot be used: %s", role, c.says))

			u.write("roles/"+role, c.add)
			require.NotEmpty(t, u.read("creds/" + role).Data["access_token"])
		})
	}

	t.Run("a user role with an unneeded secret works after the secret is removed", func(t *testing.T) {
		_, err := u.tryRead("creds/left-over")
		status, text := u.refusal(err)
		require.Equal(t, 400, status)
		require.Contains(t, text, "secret hash")
		require.Equal(t, true, u.read("roles/left-over").Data["app_client_secret_set"])

		u.write("roles/left-over", map[string]any{"app_client_secret": ""})
		require.NotEmpty(t, u.read("creds/left-over").Data["access_token"])
	})

	t.Run("a write of credential_type access_token is rejected", func(t *testing.T) {
		_, err := u.client.Logical().WriteWithContext(t.Context(), u.mount+"/roles/again", map[string]any{"credential_type": "access_token"})
		status, text := u.refusal(err)
		require.Equal(t, 400, status)
		require.Contains(t, text, `credential_type "access_token" is not allowed`)
	})

	t.Run("incomplete roles can be deleted", func(t *testing.T) {
		for name := range cases {
			u.delete("roles/" + roleNamed(name))
			require.Nil(t, u.read("roles/"+roleNamed(name)))
		}
	})
}

// inPlaceOfAWS makes an emulator answer under the host name of Cognito's API. Processes with the
// returned environment use a proxy that leads all of AWS to the emulator, and trust a certificate
// for that name.
func inPlaceOfAWS(t *testing.T, emulatorURL string) (env []string) {
	t.Helper()
	emulator, err := url.Parse(emulatorURL)
	require.NoError(t, err)
	certificate := certificateOf(t, "cognito-idp."+emulatortest.Region+".amazonaws.com")
	cognito := httptest.NewUnstartedServer(httputil.NewSingleHostReverseProxy(emulator))
	cognito.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	cognito.StartTLS()
	t.Cleanup(cognito.Close)
	proxy := httptest.NewServer(tunnelTo(cognito.Listener.Addr().String()))
	t.Cleanup(proxy.Close)

	bundle := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(bundle, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]}), 0o600))
	return []string{"HTTPS_PROXY=" + proxy.URL, "AWS_CA_BUNDLE=" + bundle}
}

func certificateOf(t *testing.T, host string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{certificate}, PrivateKey: key}
}

// tunnelTo returns a proxy that leads every tunnel to one address.
func tunnelTo(address string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		server, err := net.Dial("tcp", address)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer server.Close()
		client, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return // the client is gone
		}
		defer client.Close()
		fmt.Fprint(client, "HTTP/1.1 200 Connection established\r\n\r\n")
		go func() {
			defer server.Close()
			_, _ = io.Copy(server, client)
		}()
		_, _ = io.Copy(client, server)
	}
}
