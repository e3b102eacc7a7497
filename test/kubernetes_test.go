// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"vault-plugin-secrets-cognito/internal/counters"
	"vault-plugin-secrets-cognito/internal/emulator/control"
)

// newKubernetesEnv has the roles that examples/kubernetes reads.
func newKubernetesEnv(t *testing.T) *env {
	t.Helper()
	e := newEnv(t)
	e.writeRole("ci-user", nil)
	e.addUser("batch")
	e.write("static-roles/batch", map[string]any{
		"credential_type": "user_password", "user_pool_id": e.Seed.UserPoolID, "username": "batch", "rotation_period": "1h",
	})
	return e
}

// manifests returns the objects of an example that have a kind.
func manifests(t *testing.T, file, kind string) []map[string]any {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../examples/kubernetes", file))
	require.NoError(t, err)
	var found []map[string]any
	for _, document := range bytes.Split(text, []byte("\n---\n")) {
		var object map[string]any
		require.NoError(t, yaml.Unmarshal(document, &object))
		if object["kind"] == kind {
			found = append(found, object["spec"].(map[string]any))
		}
	}
	require.NotEmpty(t, found, "%s has no %s", file, kind)
	return found
}

// readPath reads a path of the examples, whose mount is cognito/.
func (e *env) readPath(path string) *api.Secret {
	e.Helper()
	secret := e.read(strings.TrimPrefix(path, "cognito/"))
	require.NotNil(e, secret)
	return secret
}

// TestSecretsOperatorContract checks what the Vault Secrets Operator 0.10 needs of each secret of
// the example.
func TestSecretsOperatorContract(t *testing.T) {
	t.Parallel()
	e := newKubernetesEnv(t)
	for _, spec := range manifests(t, "vault-secrets-operator.yaml", "VaultDynamicSecret") {
		path := spec["path"].(string)
		t.Run(path, func(t *testing.T) {
			secret := e.readPath(path)
			if spec["allowStaticCreds"] == true {
				requireStaticSemantics(t, secret)
			} else {
				requireLease(t, e, secret)
			}
			for _, include := range includesOf(spec) {
				requireField(t, secret.Data, include)
			}
		})
	}
}

// requireStaticSemantics checks the fields by which the operator takes a secret for a static one
// and schedules the next read. It reads again each second if one of them is missing.
func requireStaticSemantics(t *testing.T, secret *api.Secret) {
	t.Helper()
	require.Empty(t, secret.LeaseID)
	require.False(t, secret.Renewable, "the operator would try to renew it")
	rotated, err := time.Parse(time.RFC3339Nano, secret.Data["last_vault_rotation"].(string))
	require.NoError(t, err)
	require.Positive(t, rotated.Unix())
	period, err := secret.Data["rotation_period"].(json.Number).Int64()
	require.NoError(t, err, "the operator reads a whole number of seconds")
	require.GreaterOrEqual(t, period, int64(1))
	ttl, err := secret.Data["ttl"].(json.Number).Int64()
	require.NoError(t, err, "the operator reads a whole number of seconds")
	require.Positive(t, ttl)
	require.LessOrEqual(t, ttl, period)
}

// requireLease checks that the operator can renew a lease and revoke it.
func requireLease(t *testing.T, e *env, secret *api.Secret) {
	t.Helper()
	require.NotEmpty(t, secret.LeaseID)
	require.Positive(t, secret.LeaseDuration)
	require.True(t, secret.Renewable)
	renewed, err := e.client.Sys().RenewWithContext(t.Context(), secret.LeaseID, 0)
	require.NoError(t, err)
	require.Positive(t, renewed.LeaseDuration)
	require.NoError(t, e.client.Sys().RevokeWithContext(t.Context(), secret.LeaseID))
}

// requireField checks that a field whose name matches has a value.
func requireField(t *testing.T, data map[string]any, name *regexp.Regexp) {
	t.Helper()
	for key, value := range data {
		if name.MatchString(key) {
			require.NotEmpty(t, value)
			return
		}
	}
	require.Fail(t, "no field of the answer matches "+name.String())
}

// TestSecretsOperatorKeepsTokensValid reads when the operator does: half a second after the ttl of
// the last answer whose fields in the example had changed. It must never hold an expired token.
func TestSecretsOperatorKeepsTokensValid(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	require.NoError(t, e.Control.SetTokenValidity(t.Context(), control.TokenValidity{ClientID: e.Seed.M2MClientID, AccessSeconds: 20}))
	e.writeMachineRole("machine", map[string]any{"min_token_ttl": "1s"})
	includes := includesOf(manifests(t, "vault-secrets-operator.yaml", "VaultDynamicSecret")[0])

	held, seen := e.read("creds/machine"), map[any]bool{}
	for end := time.Now().Add(hangLimit); len(seen) < 3; {
		require.True(t, time.Now().Before(end), "only %d tokens", len(seen))
		seen[held.Data["access_token"]] = true
		ttl, err := held.Data["ttl"].(json.Number).Int64()
		require.NoError(t, err)
		<-time.After(time.Duration(ttl)*time.Second + 500*time.Millisecond)
		require.True(t, expiry(t, held.Data["access_token"].(string)).After(time.Now()), "the operator holds an expired token")
		if next := e.read("creds/machine"); !maps.Equal(fields(next, includes), fields(held, includes)) {
			held = next
		}
	}
}

// includesOf returns the expressions for the fields that an object of the operator stores.
func includesOf(spec map[string]any) []*regexp.Regexp {
	transformation := spec["destination"].(map[string]any)["transformation"].(map[string]any)
	var includes []*regexp.Regexp
	for _, include := range transformation["includes"].([]any) {
		includes = append(includes, regexp.MustCompile(include.(string)))
	}
	return includes
}

// fields returns the fields of a secret that match.
func fields(secret *api.Secret, includes []*regexp.Regexp) map[string]string {
	found := map[string]string{}
	for key, value := range secret.Data {
		if slices.ContainsFunc(includes, func(include *regexp.Regexp) bool { return include.MatchString(key) }) {
			found[key] = fmt.Sprint(value)
		}
	}
	return found
}

// TestExternalSecretsContract checks what the generator and the CSI provider need: a read by GET
// without a lease, whose fields are text.
func TestExternalSecretsContract(t *testing.T) {
	t.Parallel()
	e := newKubernetesEnv(t)
	generator := manifests(t, "external-secrets.yaml", "VaultDynamicSecret")[0]
	require.Equal(t, http.MethodGet, generator["method"])
	secret := e.readPath(generator["path"].(string))
	require.Empty(t, secret.LeaseID, "nothing would give it back")
	requireField(t, secret.Data, regexp.MustCompile("^access_token$"))

	for _, object := range csiObjects(t) {
		secret := e.readPath(object["secretPath"])
		require.Empty(t, secret.LeaseID, "nothing would renew it")
		requireField(t, secret.Data, regexp.MustCompile("^"+object["secretKey"]+"$"))
	}
}

func csiObjects(t *testing.T) []map[string]string {
	t.Helper()
	parameters := manifests(t, "csi.yaml", "SecretProviderClass")[0]["parameters"].(map[string]any)
	var objects []map[string]string
	require.NoError(t, yaml.Unmarshal([]byte(parameters["objects"].(string)), &objects))
	require.NotEmpty(t, objects)
	return objects
}

// TestAgentInjectorTemplates renders the templates of the example with the server's own agent.
func TestAgentInjectorTemplates(t *testing.T) {
	t.Parallel()
	e := newKubernetesEnv(t)
	pod := manifests(t, "agent-injector.yaml", "Deployment")[0]["template"].(map[string]any)
	annotations := pod["metadata"].(map[string]any)["annotations"].(map[string]any)
	for _, name := range []string{"user", "token"} {
		template := annotations["vault.hashicorp.com/agent-inject-template-"+name].(string)
		path := annotations["vault.hashicorp.com/agent-inject-secret-"+name].(string)
		require.Contains(t, template, `"`+path+`"`, "the annotation and the template read the same path")
		rendered := e.render(strings.ReplaceAll(template, "cognito/", e.mount+"/"))
		require.Eventually(t, func() bool {
			text, err := os.ReadFile(rendered)
			return err == nil && bytes.Contains(text, []byte("eyJ"))
		}, hangLimit, 20*time.Millisecond, "no token in the file for %s", name)
	}
}

// TestKubernetesManifests checks the examples against the definitions of their operators.
func TestKubernetesManifests(t *testing.T) {
	t.Parallel()
	checker := os.Getenv("KUBERNETES_CHECKER")
	if checker == "" {
		counters.Skip(t, "KUBERNETES_CHECKER is not set: `make test-tools` builds it and sets it")
	}
	files, err := filepath.Glob("../examples/kubernetes/*.yaml")
	require.NoError(t, err)
	output, err := exec.CommandContext(t.Context(), checker, files...).CombinedOutput()
	require.NoError(t, err, "%s", output)

	for _, c := range []struct{ name, file, part, wrong, finding string }{
		{
			"an unknown field is an error", "vault-secrets-operator.yaml", "allowStaticCreds", "allowStaticCred",
			"unknown fields: [spec.allowStaticCred]",
		},
		{
			"an unknown annotation is an error", "agent-injector.yaml", "agent-inject-secret-user", "agent-inject-secrets-user",
			"the Agent Injector has no annotation vault.hashicorp.com/agent-inject-secrets-user",
		},
		{"a wrong value of an annotation is an error", "agent-injector.yaml", `agent-revoke-grace: "5"`, `agent-revoke-grace: "five"`, `parsing "five"`},
		{"a missing annotation is an error", "agent-injector.yaml", "vault.hashicorp.com/role: app", "", "no Vault role found"},
		{"a pod that the injector ignores is an error", "agent-injector.yaml", `agent-inject: "true"`, `agent-inject: "false"`, "the Agent Injector ignores the pod"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text, err := os.ReadFile("../examples/kubernetes/" + c.file)
			require.NoError(t, err)
			require.Contains(t, string(text), c.part)
			require.Contains(t, manifestFinding(t, checker, strings.ReplaceAll(string(text), c.part, c.wrong)), c.finding)
		})
	}
	t.Run("a broken rule in CEL is an error", func(t *testing.T) {
		require.Contains(t, manifestFinding(t, checker, storeThatBreaksARule), "Exactly one of 'secretRef' or 'oidcConfig' must be specified")
	})
}

// storeThatBreaksARule matches its schema. No kind in the examples has rules in CEL.
const storeThatBreaksARule = `
apiVersion: external-secrets.io/v1
kind: SecretStore
metadata: {name: rule}
spec: {provider: {doppler: {auth: {}}}}
`

// manifestFinding returns what the checker writes about a manifest that it refuses.
func manifestFinding(t *testing.T, checker, manifest string) string {
	t.Helper()
	broken := filepath.Join(t.TempDir(), "broken.yaml")
	require.NoError(t, os.WriteFile(broken, []byte(manifest), 0o600))
	output, err := exec.CommandContext(t.Context(), checker, broken).CombinedOutput()
	require.Error(t, err)
	return string(output)
}
