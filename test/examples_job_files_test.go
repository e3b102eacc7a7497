// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/counters"
)

// audience is the audience of the ID tokens in the examples.
const audience = "https://vault.example.com"

// documentedCommand matches a command of Vault in a comment, with its continuation lines.
var documentedCommand = regexp.MustCompile(`(?m)^(?:#|//) +(vault (?:.*\\\n)*.*)$`)

// runDocumented runs the commands that an example has in its comments, with the test's issuer in
// the place of the real one.
func (e *exampleEnv) runDocumented(file, issuer string) {
	e.Helper()
	text, err := os.ReadFile(file)
	require.NoError(e, err)
	commands := documentedCommand.FindAllStringSubmatch(string(text), -1)
	require.Len(e, commands, 3, file)
	for _, command := range commands {
		line := regexp.MustCompile(`\\\n(?:#|//) +`).ReplaceAllString(command[1], "")
		shell := exec.CommandContext(e.Context(), "bash", "-ec", strings.ReplaceAll(line, issuer, e.issuer.URL))
		shell.Env = e.environment("VAULT_ADDR="+e.vault.Addr, "VAULT_TOKEN="+e.vault.Token)
		output, err := shell.CombinedOutput()
		require.NoError(e, err, "%s\n%s", line, output)
	}
}

// vaultAction runs the workflow that uses hashicorp/vault-action. A script does what the action's
// documentation says: log in, read each path once, export what was selected.
type vaultAction struct{ github }

func (v *vaultAction) job() (map[string]string, []step) {
	v.Helper()
	var workflow struct {
		Jobs map[string]struct {
			Env   map[string]string
			Steps []struct {
				Name, Uses, Run, If string
				With                map[string]string
			}
		}
	}
	v.parse("../examples/github-actions/vault-action.yml", &workflow)
	job := workflow.Jobs["api-tests"]
	var steps []step
	for _, s := range job.Steps {
		if s.Uses != "" {
			require.Regexp(v, `^hashicorp/vault-action@v3\.`, s.Uses)
			steps = append(steps, step{name: loginStep, script: v.actionScript(s.With)})
			continue
		}
		steps = append(steps, v.condition(step{name: s.Name, script: s.Run}, s.If))
	}
	return job.Env, steps
}

// actionScript returns a script that does what the action does with its inputs.
func (v *vaultAction) actionScript(inputs map[string]string) string {
	v.Helper()
	require.Equal(v, "true", inputs["exportToken"], "without it, the last step has no token to revoke")
	require.Equal(v, "jwt", inputs["method"])
	for _, input := range []string{"url", "jwtGithubAudience"} {
		require.Equal(v, "${{ env.VAULT_ADDR }}", inputs[input])
	}
	script := fmt.Sprintf(`jwt=$(curl -fsS -H "Authorization: bearer $ACTIONS_ID_TOKEN_REQUEST_TOKEN" "$ACTIONS_ID_TOKEN_REQUEST_URL&audience=$VAULT_ADDR" | jq -r .value)
token=$(vault write -field=token auth/%s/login role=%s jwt="$jwt")
export() { echo "::add-mask::$(printf %%s "$2" | sed 's/%%/%%25/g')"; echo "$1=$2" >>"$GITHUB_ENV"; }
export VAULT_TOKEN "$token"
`, inputs["path"], inputs["role"])
	paths := map[string]bool{}
	for line := range strings.SplitSeq(strings.TrimSpace(inputs["secrets"]), ";") {
		words := strings.Fields(line)
		require.Len(v, words, 4, "path key | NAME: %q", line)
		path, key, name := words[0], words[1], words[3]
		if !paths[path] {
			paths[path] = true
			script += fmt.Sprintf("answer=$(VAULT_TOKEN=$token vault read -format=json %s)\n", path)
		}
		script += fmt.Sprintf("export %s \"$(printf '%%s' \"$answer\" | jq -r .data.%s)\"\n", name, key)
	}
	require.Len(v, paths, 1, "each spelling of the path makes a user")
	return script
}

// gitlab runs jobs like GitLab's runner: before_script and script in one shell, after_script in
// another.
type gitlab struct {
	*exampleEnv
	// project is the project of the job.
	project, builds, token string
}

func (g *gitlab) job() (map[string]string, []step) {
	g.Helper()
	var config struct {
		Job struct {
			Variables map[string]string
			Before    []string `yaml:"before_script"`
			Script    []string
			After     []string `yaml:"after_script"`
		} `yaml:"api-tests"`
	}
	g.parse("../examples/gitlab/.gitlab-ci.yml", &config)
	require.Equal(g, "apk add --no-cache curl jq", config.Job.Before[0], "the one line that the tests leave out")
	return config.Job.Variables, []step{
		{name: loginStep, script: strings.Join(config.Job.Before[1:], "\n") + "\nexport -p >\"$CI_BUILDS_DIR/exported\"\n"},
		{name: apiStep, script: strings.Join(config.Job.Script, "\n")},
		{name: giveBackStep, script: strings.Join(config.Job.After, "\n"), always: true},
	}
}

func (g *gitlab) own(dir string) map[string]string {
	g.Helper()
	g.builds = dir
	var err error
	g.token, err = g.issuer.sign(g.issuer.URL, audience, "project_path:"+g.project+":ref_type:branch:ref:main", map[string]any{"project_path": g.project})
	require.NoError(g, err)
	return map[string]string{"CI_BUILDS_DIR": dir, "CI_JOB_ID": "1", "VAULT_ID_TOKEN": g.token}
}

func (*gitlab) shell() []string { return []string{"bash", "-e"} }

// after takes over what before_script exported, because the next step stands for the same shell.
func (g *gitlab) after(variables map[string]string, output string) string {
	g.Helper()
	takeVaultToken(variables, filepath.Join(g.builds, "vault-1"))
	exported := filepath.Join(g.builds, "exported")
	if _, err := os.Stat(exported); err != nil {
		return output // before_script failed
	}
	for _, name := range []string{"TEST_USERNAME", "TEST_PASSWORD", "ACCESS_TOKEN"} {
		value, err := exec.CommandContext(g.Context(), "bash", "-ec", `. "$0"; printf %s "${!1}"`, exported, name).Output()
		require.NoError(g, err)
		variables[name] = string(value)
	}
	return output
}

func (g *gitlab) secrets() []string { return []string{g.token} }

func (g *gitlab) intrude() { g.project = "another/project" }

// takeVaultToken reads the file with the header that a job sends to Vault, if it is there.
func takeVaultToken(variables map[string]string, file string) {
	if header, err := os.ReadFile(file); err == nil && len(header) > 0 {
		variables["VAULT_TOKEN"] = strings.TrimSpace(strings.TrimPrefix(string(header), "X-Vault-Token: "))
	}
}

// jenkins runs the scripts of a pipeline as Jenkins does, with a trace. It does not read the rest
// of the pipeline.
type jenkins struct {
	*exampleEnv
	// run is the subject of the run's ID token.
	run, workspace, token string
}

func (j *jenkins) job() (map[string]string, []step) {
	j.Helper()
	text, err := os.ReadFile("../examples/jenkins/Jenkinsfile")
	require.NoError(j, err)
	variables := map[string]string{}
	for _, assignment := range regexp.MustCompile(`(?m)^ +([A-Z_]+) = '(.*)'$`).FindAllStringSubmatch(string(text), -1) {
		variables[assignment[1]] = assignment[2]
	}
	scripts := regexp.MustCompile(`(?s)sh '''(.*?)'''`).FindAllStringSubmatch(string(text), -1)
	require.Len(j, scripts, 3)
	return variables, []step{
		{name: loginStep, script: scripts[0][1]}, {name: apiStep, script: scripts[1][1]}, {name: giveBackStep, script: scripts[2][1], always: true},
	}
}

func (j *jenkins) own(dir string) map[string]string {
	j.Helper()
	j.workspace = dir
	var err error
	j.token, err = j.issuer.sign(j.issuer.URL, audience, j.run, nil)
	require.NoError(j, err)
	return map[string]string{"WORKSPACE_TMP": dir, "VAULT_ID_TOKEN": j.token}
}

func (*jenkins) shell() []string { return []string{"sh", "-xe"} }

// after reads what the scripts leave for each other in files.
func (j *jenkins) after(variables map[string]string, output string) string {
	j.Helper()
	takeVaultToken(variables, filepath.Join(j.workspace, "vault-token"))
	var user struct{ Data map[string]any }
	if text, err := os.ReadFile(filepath.Join(j.workspace, "user.json")); err == nil && json.Unmarshal(text, &user) == nil {
		variables["TEST_USERNAME"], variables["TEST_PASSWORD"] = user.Data["username"].(string), user.Data["password"].(string)
	}
	return output
}

func (j *jenkins) secrets() []string { return []string{j.token} }

func (j *jenkins) intrude() { j.run = "https://jenkins.example.com/job/another/" }

// TestJobFilesMatchTheirSchemas checks the files of the CI systems that publish a schema. Jenkins
// has none.
func TestJobFilesMatchTheirSchemas(t *testing.T) {
	t.Parallel()
	tools := os.Getenv(testToolsVariable)
	if tools == "" {
		counters.Skip(t, testToolsVariable+" is not set: `make test-tools` installs the tools and sets it")
	}
	for file, schema := range map[string]string{
		"github-actions/test-user.yml":    "github-workflows",
		"github-actions/vault-action.yml": "github-workflows",
		"gitlab/.gitlab-ci.yml":           "gitlab-ci",
		"circleci/config.yml":             "circle-ci",
	} {
		t.Run(file, func(t *testing.T) {
			command := exec.CommandContext(t.Context(), filepath.Join(tools, "venv", "bin", "check-jsonschema"),
				"--builtin-schema", "vendor."+schema, filepath.Join("..", "examples", file))
			output, err := command.CombinedOutput()
			require.NoError(t, err, "%s", output)
		})
	}
}
