// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

const (
	githubRepository = "example/api"
	circleOrg        = "7f3e2a51-0c55-4d4b-9a93-1d1c2f7b6a10"
	circleProject    = "c2b8a1de-55f0-4a3e-8f6e-0f4d7f0a9b21"

	// installStep downloads the vault command. The tests have one, so they leave out this step
	// only.
	installStep = "Install Vault"
	// apiStep is the first step that uses the credentials.
	apiStep      = "Test the API"
	loginStep    = "Log in to Vault"
	giveBackStep = "Give the test user back"

	// longestJob is the limit of the job of the GitHub example.
	longestJob = 20 * time.Minute
)

// issuer issues the identity tokens of CI jobs, as GitHub and CircleCI do.
type issuer struct {
	*httptest.Server
	t *testing.T
	// request is the token with which a GitHub job requests its identity token, repository its
	// repository.
	request, repository string
}

var issuerKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	i := &issuer{t: t, request: "hush-" + rand.Text()}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(rw http.ResponseWriter, _ *http.Request) { i.describe(rw, i.URL) })
	mux.HandleFunc("GET /org/"+circleOrg+"/.well-known/openid-configuration", func(rw http.ResponseWriter, _ *http.Request) {
		i.describe(rw, i.URL+"/org/"+circleOrg)
	})
	mux.HandleFunc("GET /keys", func(rw http.ResponseWriter, _ *http.Request) {
		i.reply(rw, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: i.key().Public(), KeyID: "ci", Algorithm: string(jose.RS256), Use: "sig"}}})
	})
	mux.HandleFunc("GET /request", i.issueForGitHub)
	i.Server = httptest.NewServer(mux)
	t.Cleanup(i.Close)
	return i
}

func (i *issuer) key() *rsa.PrivateKey {
	key, err := issuerKey()
	if err != nil {
		panic(err) // as emulatortest does: it fails only without randomness
	}
	return key
}

func (*issuer) reply(rw http.ResponseWriter, answer any) {
	rw.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(rw).Encode(answer) // it fails if the client is gone
}

func (i *issuer) describe(rw http.ResponseWriter, url string) {
	i.reply(rw, map[string]any{
		"issuer": url, "jwks_uri": i.URL + "/keys", "id_token_signing_alg_values_supported": []string{"RS256"},
		"response_types_supported": []string{"id_token"}, "subject_types_supported": []string{"public"},
	})
}

// issueForGitHub answers like ACTIONS_ID_TOKEN_REQUEST_URL.
func (i *issuer) issueForGitHub(rw http.ResponseWriter, req *http.Request) {
	if req.Header.Get("Authorization") != "bearer "+i.request {
		http.Error(rw, "it is not the job that asks", http.StatusUnauthorized)
		return
	}
	token, err := i.sign(i.URL, req.URL.Query().Get("audience"), "repo:"+i.repository+":ref:refs/heads/main", map[string]any{
		"repository": i.repository, "ref": "refs/heads/main",
	})
	if err != nil {
		http.Error(rw, err.Error(), http.StatusInternalServerError)
		return
	}
	i.reply(rw, map[string]any{"count": 1, "value": token})
}

// issueForCircle returns a job's CIRCLE_OIDC_TOKEN_V2.
func (i *issuer) issueForCircle(project string) string {
	i.t.Helper()
	token, err := i.sign(i.URL+"/org/"+circleOrg, circleOrg, "org/"+circleOrg+"/project/"+project, map[string]any{
		"oidc.circleci.com/project-id": project,
	})
	require.NoError(i.t, err)
	return token
}

func (i *issuer) sign(issuer, audience, subject string, more map[string]any) (string, error) {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: i.key(), KeyID: "ci"}}, nil)
	if err != nil {
		return "", err
	}
	now := time.Now()
	return jwt.Signed(signer).Claims(jwt.Claims{
		Issuer: issuer, Subject: subject, Audience: jwt.Audience{audience},
		IssuedAt: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(now.Add(5 * time.Minute)),
	}).Claims(more).Serialize()
}

// step is one step of a job, in the form that both CI systems share.
type step struct {
	name, script string
	// always runs the step after a failure, too. ifSet runs it only if that variable has a value.
	always bool
	ifSet  string
}

// ciSystem runs the steps of a job like one of the CI systems.
type ciSystem interface {
	// job reads the example and returns its variables and steps.
	job() (variables map[string]string, steps []step)
	// own returns the variables that the system itself sets for a job in dir.
	own(dir string) map[string]string
	// shell returns the command that runs a script in a file.
	shell() []string
	// after adds what a step leaves for the next ones to variables, and returns the output as the
	// log shows it.
	after(variables map[string]string, output string) string
	// secrets returns the secrets that the system gave the job.
	secrets() []string
	// intrude turns the job into one that no policy allows anything.
	intrude()
}

// jobRun is the result of a job.
type jobRun struct {
	failed bool
	log    string
	ran    []string
	// variables holds the variables of its last step.
	variables map[string]string
}

// runJob runs the job of an example against the test's server and API.
func (e *exampleEnv) runJob(ci ciSystem, api string) jobRun {
	e.Helper()
	variables, steps := ci.job()
	for name, value := range map[string]string{"VAULT_ADDR": e.vault.Addr, "API_URL": api} {
		require.Contains(e, variables, name)
		variables[name] = value
	}
	maps.Copy(variables, ci.own(e.TempDir()))
	r := jobRun{variables: variables}
	for _, s := range steps {
		if s.name == installStep || r.failed && !s.always || s.ifSet != "" && variables[s.ifSet] == "" {
			continue
		}
		r.ran = append(r.ran, s.name)
		output, err := e.runStep(ci.shell(), s.script, variables)
		r.failed = r.failed || err != nil
		r.log += ci.after(variables, output)
	}
	return r
}

func (e *exampleEnv) runStep(shell []string, script string, variables map[string]string) (string, error) {
	e.Helper()
	file := filepath.Join(e.TempDir(), "step.sh")
	require.NoError(e, os.WriteFile(file, []byte(script), 0o600))
	command := exec.CommandContext(e.Context(), shell[0], append(shell[1:], file)...)
	command.Env = e.environment()
	for name, value := range variables {
		command.Env = append(command.Env, name+"="+value)
	}
	output, err := command.CombinedOutput()
	return string(output), err
}

// github runs jobs like GitHub Actions.
type github struct {
	*exampleEnv
	// workflow is the file of the job in the examples, repository its repository.
	workflow, repository, envFile string
	// masks holds the values that the runner hides in the log.
	masks []string
}

func (g *github) job() (map[string]string, []step) {
	g.Helper()
	var workflow struct {
		Permissions map[string]string
		Jobs        map[string]struct {
			Env     map[string]string
			Timeout int `yaml:"timeout-minutes"`
			Steps   []struct{ Name, Run, If string }
		}
	}
	g.parse("../examples/github-actions/"+g.workflow, &workflow)
	require.Equal(g, "write", workflow.Permissions["id-token"], "without it the job cannot ask for its token")
	require.Len(g, workflow.Jobs, 1)
	var steps []step
	job := workflow.Jobs["api-tests"]
	require.Equal(g, longestJob, time.Duration(job.Timeout)*time.Minute)
	for _, s := range job.Steps {
		steps = append(steps, g.condition(step{name: s.Name, script: s.Run}, s.If))
	}
	return job.Env, steps
}

// condition evaluates the conditions that the example uses.
func (g *github) condition(s step, text string) step {
	g.Helper()
	text = strings.TrimSuffix(strings.TrimPrefix(text, "${{"), "}}")
	for term := range strings.SplitSeq(text, "&&") {
		term = strings.TrimSpace(term)
		variable, isSet := strings.CutSuffix(strings.TrimPrefix(term, "env."), " != ''")
		switch {
		case term == "":
		case term == "always()":
			s.always = true
		case isSet:
			s.ifSet = variable
		default:
			require.Fail(g, "a condition that nothing here knows", term)
		}
	}
	return s
}

func (g *github) own(dir string) map[string]string {
	g.envFile, g.issuer.repository = filepath.Join(dir, "env"), g.repository
	g.after(map[string]string{}, "") // creates the file
	return map[string]string{
		"GITHUB_ENV":                     g.envFile,
		"ACTIONS_ID_TOKEN_REQUEST_URL":   g.issuer.URL + "/request?api-version=2.0",
		"ACTIONS_ID_TOKEN_REQUEST_TOKEN": g.issuer.request,
	}
}

func (*github) shell() []string { return []string{"bash", "-e"} }

// after reads the NAME=value lines of the file that the step may have written, starts a new file,
// and removes the masked values from the log, like the runner.
func (g *github) after(variables map[string]string, output string) (log string) {
	g.Helper()
	if exported, err := os.ReadFile(g.envFile); err == nil {
		for line := range strings.Lines(string(exported)) {
			name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
			require.True(g, ok, "a line without =")
			variables[name] = value
		}
	}
	require.NoError(g, os.WriteFile(g.envFile, nil, 0o600))
	for line := range strings.Lines(output) {
		if mask, ok := strings.CutPrefix(line, "::add-mask::"); ok {
			g.masks = append(g.masks, strings.ReplaceAll(strings.TrimSuffix(mask, "\n"), "%25", "%"))
			continue
		}
		log += line
	}
	return log
}

func (g *github) secrets() []string { return []string{g.issuer.request} }

func (g *github) masked() []string { return g.masks }

func (g *github) intrude() { g.repository = "another/repository" }

// circleCI runs jobs like CircleCI.
type circleCI struct {
	*exampleEnv
	// project is the project of the job.
	project, bashEnv, token string
}

func (c *circleCI) job() (map[string]string, []step) {
	c.Helper()
	var config struct {
		Jobs map[string]struct {
			Environment map[string]string
			Steps       []struct {
				Run struct{ Name, Command, When string }
			}
		}
	}
	c.parse("../examples/circleci/config.yml", &config)
	require.Len(c, config.Jobs, 1)
	var steps []step
	job := config.Jobs["api-tests"]
	for _, s := range job.Steps {
		require.Contains(c, []string{"", "always"}, s.Run.When)
		steps = append(steps, step{name: s.Run.Name, script: s.Run.Command, always: s.Run.When == "always"})
	}
	return job.Environment, steps
}

func (c *circleCI) own(dir string) map[string]string {
	c.bashEnv, c.token = filepath.Join(dir, "bash_env"), c.issuer.issueForCircle(c.project)
	return map[string]string{"BASH_ENV": c.bashEnv, "CIRCLE_OIDC_TOKEN_V2": c.token}
}

func (*circleCI) shell() []string { return []string{"bash", "-eo", "pipefail"} }

// after reads the file that bash sources at the start of each step.
func (c *circleCI) after(variables map[string]string, output string) string {
	c.Helper()
	command := exec.CommandContext(c.Context(), "bash", "-c", `printf '%s\n' "${VAULT_TOKEN:-}" "${TEST_USERNAME:-}" "${TEST_PASSWORD:-}" "${ACCESS_TOKEN:-}"`)
	command.Env = []string{"BASH_ENV=" + c.bashEnv}
	values, err := command.Output()
	require.NoError(c, err)
	lines := strings.Split(string(values), "\n")
	for i, name := range []string{"VAULT_TOKEN", "TEST_USERNAME", "TEST_PASSWORD", "ACCESS_TOKEN"} {
		variables[name] = lines[i]
	}
	return output
}

func (c *circleCI) secrets() []string { return []string{c.token} }

func (c *circleCI) intrude() { c.project = "another-project" }

func (e *exampleEnv) parse(path string, into any) {
	e.Helper()
	text, err := os.ReadFile(path)
	require.NoError(e, err)
	require.NoError(e, yaml.Unmarshal(text, into))
}

// TestCIExamples runs the jobs of the examples with all their steps, except the one that installs
// Vault.
func TestCIExamples(t *testing.T) {
	t.Parallel()
	needsCommands(t, "bash", "curl", "jq")
	e := newExampleEnv(t)
	e.runDocumented("../examples/gitlab/.gitlab-ci.yml", "https://gitlab.com")
	e.runDocumented("../examples/jenkins/Jenkinsfile", "https://jenkins.example.com/oidc")
	for name, system := range map[string]func(*exampleEnv) ciSystem{
		"GitHub Actions": func(e *exampleEnv) ciSystem {
			return &github{exampleEnv: e, workflow: "test-user.yml", repository: githubRepository}
		},
		"GitHub Actions with a library set": func(e *exampleEnv) ciSystem {
			return &github{exampleEnv: e, workflow: "library-user.yml", repository: githubRepository}
		},
		"vault-action": func(e *exampleEnv) ciSystem {
			return &vaultAction{github{exampleEnv: e, repository: githubRepository}}
		},
		"CircleCI": func(e *exampleEnv) ciSystem { return &circleCI{exampleEnv: e, project: circleProject} },
		"GitLab":   func(e *exampleEnv) ciSystem { return &gitlab{exampleEnv: e, project: "example/api"} },
		"Jenkins": func(e *exampleEnv) ciSystem {
			return &jenkins{exampleEnv: e, run: "https://jenkins.example.com/job/api/"}
		},
	} {
		t.Run(name, func(t *testing.T) { testJob(t, e, system) })
	}
}

func testJob(t *testing.T, e *exampleEnv, system func(*exampleEnv) ciSystem) {
	t.Run("a successful job calls the API as its user and leaves no user", func(t *testing.T) {
		ci, api := system(e), newService(t)
		r := e.runJob(ci, api.URL)
		require.False(t, r.failed, r.log)
		e.calledAPI(t, r, api)
		e.awaitNoUsers()
		e.keptSecrets(t, r, ci)
	})

	t.Run("a user lives longer than the longest job", func(t *testing.T) {
		ci, api := system(e), newService(t)
		var left []time.Duration
		api.onCall = func() { left = e.leftOfUsers(t) }
		r := e.runJob(ci, api.URL)
		require.False(t, r.failed, r.log)
		require.Len(t, left, 1)
		require.Greater(t, left[0], longestJob)
		e.awaitNoUsers()
	})

	t.Run("a failed job leaves no user", func(t *testing.T) {
		ci, api := system(e), newService(t)
		api.fails.Store(true)
		r := e.runJob(ci, api.URL)
		require.True(t, r.failed, "the job must be red")
		require.Equal(t, giveBackStep, r.ran[len(r.ran)-1])
		e.calledAPI(t, r, api)
		e.awaitNoUsers()
		e.keptSecrets(t, r, ci)
	})

	t.Run("a job of another project gets nothing", func(t *testing.T) {
		ci, api := system(e), newService(t)
		ci.intrude()
		r := e.runJob(ci, api.URL)
		require.True(t, r.failed, "the job must be red")
		require.Equal(t, loginStep, r.ran[0])
		require.NotContains(t, r.ran, apiStep)
		require.Empty(t, r.variables["VAULT_TOKEN"])
		require.Empty(t, e.testers())
	})
}

// leftOfUsers returns how long the leases of the job's users last.
func (e *exampleEnv) leftOfUsers(t *testing.T) []time.Duration {
	t.Helper()
	var left []time.Duration
	for _, path := range []string{"creds/ci-user", "library/e2e/check-out"} {
		for _, lease := range e.leases(path) {
			found, err := e.client.Sys().LookupWithContext(t.Context(), e.mount+"/"+path+"/"+lease.(string))
			require.NoError(t, err)
			ttl, err := found.Data["ttl"].(json.Number).Int64()
			require.NoError(t, err)
			left = append(left, time.Duration(ttl)*time.Second)
		}
	}
	return left
}

// calledAPI checks that the API was called once, by the job's user, which was in its groups.
func (e *exampleEnv) calledAPI(t *testing.T, r jobRun, api *service) {
	t.Helper()
	callers := api.callers()
	require.Len(t, callers, 1, r.log)
	require.Equal(t, r.variables["TEST_USERNAME"], callers[0].Username)
	require.ElementsMatch(t, []string{"testers", "admins"}, callers[0].Groups)
}

// keptSecrets checks that the job's log shows no secret, that all of them were masked, and that
// what the job got from the server no longer works.
func (e *exampleEnv) keptSecrets(t *testing.T, r jobRun, ci ciSystem) {
	t.Helper()
	token := r.variables["VAULT_TOKEN"]
	require.NotEmpty(t, token)
	e.requireNoSecretIn(r.log, append(ci.secrets(), token)...)
	if m, ok := ci.(interface{ masked() []string }); ok {
		for _, name := range []string{"VAULT_TOKEN", "TEST_PASSWORD", "ACCESS_TOKEN"} {
			require.True(t, slices.Contains(m.masked(), r.variables[name]), "%s is not hidden", name)
		}
	}
	client := e.vault.Client()
	client.SetToken(token)
	_, err := client.Auth().Token().LookupSelfWithContext(t.Context())
	status, _ := e.refusal(err)
	require.Equal(t, http.StatusForbidden, status, "the token must have ended")
	require.False(t, e.passwordWorks(r.variables["TEST_USERNAME"], r.variables["TEST_PASSWORD"]))
}
