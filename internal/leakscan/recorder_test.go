// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package leakscan

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/require"
)

// planted is a secret that the tests put where it must not be.
const planted = "hush-planted-by-the-test"

// fakeServer answers every request with planted in an error, and has a settable log.
type fakeServer struct {
	client *api.Client
	log    string
}

func (s *fakeServer) Client() *api.Client {
	clone, err := s.client.Clone()
	if err != nil {
		panic(err)
	}
	return clone
}

func (s *fakeServer) LogText() string { return s.log }

// newFakeServer returns a server whose answer to every request is answer.
func newFakeServer(t *testing.T, answer func(http.ResponseWriter, *http.Request)) *fakeServer {
	t.Helper()
	listener := httptest.NewServer(http.HandlerFunc(answer))
	t.Cleanup(listener.Close)
	client, err := api.NewClient(&api.Config{Address: listener.URL, HttpClient: &http.Client{Transport: &http.Transport{}}})
	require.NoError(t, err)
	return &fakeServer{client: client}
}

func newRecorder(t *testing.T) *Recorder {
	t.Helper()
	recorder, err := New(t.TempDir())
	require.NoError(t, err)
	return recorder
}

// scanFor returns the leaks of planted.
func scanFor(t *testing.T, recorder *Recorder) string {
	t.Helper()
	recorder.Learn(Secret{Field: "Password", Value: planted})
	report, err := recorder.Scan()
	require.NoError(t, err)
	require.Equal(t, 1, report.Secrets)
	return strings.Join(report.Leaks, "\n")
}

func TestScanFindsASecretInEachPlace(t *testing.T) {
	t.Run("a secret in an error of the server is found", func(t *testing.T) {
		recorder := newRecorder(t)
		server := newFakeServer(t, func(rw http.ResponseWriter, _ *http.Request) {
			rw.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(rw, `{"errors":["`+planted+`"]}`)
		})
		require.NoError(t, recorder.WatchAnswers(server))
		require.Empty(t, scanFor(t, recorder))
		_, err := server.Client().Logical().Read("cognito/creds/ci")
		require.Error(t, err)
		require.Contains(t, scanFor(t, recorder), "answers: Password, plain")
	})
	t.Run("a secret in an audit log is found", func(t *testing.T) {
		recorder := newRecorder(t)
		require.NoError(t, os.WriteFile(filepath.Join(recorder.dir, "some.audit"), []byte("x="+planted), 0o600))
		require.Contains(t, scanFor(t, recorder), "some.audit: Password, plain")
	})
	t.Run("a secret in the log of a server is found", func(t *testing.T) {
		recorder := newRecorder(t)
		server := &fakeServer{}
		recorder.servers = append(recorder.servers, server)
		require.Empty(t, scanFor(t, recorder))
		server.log = "password is " + planted
		require.Contains(t, scanFor(t, recorder), "log of server 1: Password, plain")
	})
}

func TestAnswersThatReturnSecretsAreLearntFrom(t *testing.T) {
	recorder := newRecorder(t)
	server := newFakeServer(t, func(rw http.ResponseWriter, req *http.Request) {
		_, _ = io.WriteString(rw, `{"data":{"password":"of `+req.URL.Path+`"}}`)
	})
	require.NoError(t, recorder.WatchAnswers(server))
	for _, path := range []string{"creds/ci", "tokens/ci", "static-creds/ann", "library/qa/check-out", "roles/ci"} {
		_, err := server.Client().Logical().Read("cognito/" + path)
		require.NoError(t, err)
		require.Equal(t, path != "roles/ci", recorder.Knows("of /v1/cognito/"+path), path)
	}
	answers, err := recorder.Answers()
	require.NoError(t, err)
	require.Equal(t, "GET /v1/cognito/roles/ci 200\n{\"data\":{\"password\":\"of /v1/cognito/roles/ci\"}}\n", answers)
}

func TestSecretsOfRequestsAreLearntWhateverTheirType(t *testing.T) {
	recorder := newRecorder(t)
	server := newFakeServer(t, func(http.ResponseWriter, *http.Request) {})
	require.NoError(t, recorder.WatchAnswers(server))
	_, err := server.Client().Logical().Write("cognito/config", map[string]any{
		"aws_secret_access_key": map[string]any{"k": []any{"hush-in-a-list"}}, "region": "not-secret",
	})
	require.NoError(t, err)
	require.True(t, recorder.Knows("hush-in-a-list"))
	require.False(t, recorder.Knows("not-secret"))
}

func TestReportNamesEachLeakOnce(t *testing.T) {
	require.NoError(t, Report{}.Err())
	require.EqualError(t, Report{Leaks: []string{"b", "a", "b"}}.Err(), "3 leaks of secrets, such as\na\nb")
}
