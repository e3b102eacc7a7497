// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/cognito"
)

// doors are all ways out of the engine, each with secrets in its request.
func doors() map[string]func(ctx context.Context, address string) error {
	reach := func(address string) *cognito.Service {
		return cognito.New(context.Background(), cognito.Settings{
			AccessKeyID: "AKIAPLUGIN", SecretAccessKey: "hush", SessionToken: "hush-session",
			CognitoEndpoint: address, STSEndpoint: address, IAMEndpoint: address, RequestTimeout: 5 * time.Second,
		})
	}
	return map[string]func(context.Context, string) error{
		"the token endpoint": func(ctx context.Context, address string) error {
			_, err := reach(address).MachineToken(ctx, machineRequest(address))
			return err
		},
		"Cognito": func(ctx context.Context, address string) error {
			pool, err := reach(address).Pool(ctx, cognito.Target{UserPoolID: "eu-west-1_x", Region: "eu-west-1"})
			if err != nil {
				return err
			}
			_, err = pool.IssueUser(ctx, cognito.UserRequest{
				NewUser:  cognito.NewUser{Username: username, TemporaryPassword: temporaryPassword},
				Password: password, AppClient: cognito.AppClient{ID: "client", Secret: clientSecret},
			})
			return err
		},
		"a token from Cognito's API": func(ctx context.Context, address string) error {
			request := machineRequest("")
			request.Source, request.Target.Region = cognito.SourceAPI, "eu-west-1"
			_, err := reach(address).MachineToken(ctx, request)
			return err
		},
		"STS": func(ctx context.Context, address string) error { return reach(address).ProveAccessKey(ctx) },
		"IAM": func(ctx context.Context, address string) error {
			_, err := reach(address).AccessKeys(ctx)
			return err
		},
	}
}

// eachDoor runs a test for each way out.
func eachDoor(t *testing.T, test func(t *testing.T, knock func(ctx context.Context, address string) error)) {
	t.Helper()
	for name, knock := range doors() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, knock)
		})
	}
}

// listen starts a server that says nothing on standard error.
func listen(t *testing.T, settings *tls.Config, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	if settings == nil {
		server.Start()
	} else {
		server.TLS = settings
		server.StartTLS()
	}
	t.Cleanup(server.Close)
	return server
}

func TestTLS(t *testing.T) {
	for version, c := range map[string]struct {
		settings *tls.Config
		says     string
	}{
		"1.0 is refused":                         {&tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10}, "protocol version"},
		"1.1 is refused":                         {&tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, "protocol version"},
		"1.2 is spoken, and the name is checked": {&tls.Config{MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12}, "certificate"},
		"1.3 is spoken, and the name is checked": {&tls.Config{MinVersion: tls.VersionTLS13}, "certificate"},
	} {
		t.Run(version, func(t *testing.T) {
			eachDoor(t, func(t *testing.T, knock func(context.Context, string) error) {
				var asked atomic.Int32
				server := listen(t, c.settings, func(http.ResponseWriter, *http.Request) { asked.Add(1) })
				err := knock(t.Context(), server.URL)
				require.Error(t, err)
				require.Equal(t, cognito.KindUnavailable, cognito.KindOf(err))
				require.Contains(t, err.Error(), "no answer")
				require.Contains(t, err.Error(), c.says)
				require.Zero(t, asked.Load(), "nothing may be sent to a server that is not trusted")
			})
		})
	}
}

// TestRedirects shows that no secret follows one, wherever it leads.
func TestRedirects(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		for where, sameHost := range map[string]bool{"on the same host": true, "to another host": false} {
			t.Run(fmt.Sprintf("%d %s", status, where), func(t *testing.T) {
				eachDoor(t, func(t *testing.T, knock func(context.Context, string) error) {
					var asked, followed atomic.Int32
					other := listen(t, nil, func(http.ResponseWriter, *http.Request) { followed.Add(1) })
					var server *httptest.Server
					server = listen(t, nil, func(w http.ResponseWriter, r *http.Request) {
						target := other.URL
						if sameHost {
							target = server.URL
						}
						if r.URL.Path == "/elsewhere" {
							followed.Add(1)
							return
						}
						asked.Add(1)
						http.Redirect(w, r, target+"/elsewhere", status)
					})
					err := knock(t.Context(), server.URL)
					require.Error(t, err)
					require.Equal(t, cognito.KindUnavailable, cognito.KindOf(err), err.Error())
					require.Positive(t, asked.Load())
					require.Zero(t, followed.Load(), "a redirect was followed")
				})
			})
		}
	}
}

// TestAnswersAreBounded lets a server send without end.
func TestAnswersAreBounded(t *testing.T) {
	const enough = 16 << 20 // what is read, and what lies in buffers on the way
	for _, status := range []int{200, 400, 500} {
		t.Run(fmt.Sprintf("with status %d", status), func(t *testing.T) {
			eachDoor(t, func(t *testing.T, knock func(context.Context, string) error) {
				var answers, tooLong atomic.Int32
				server := listen(t, nil, func(w http.ResponseWriter, r *http.Request) {
					_, _ = io.Copy(io.Discard, r.Body)
					w.Header().Set("Content-Type", "application/json")
					w.WriteHeader(status)
					answers.Add(1)
					if !refusedBefore(w, enough) {
						tooLong.Add(1)
					}
				})
				require.Error(t, knock(t.Context(), server.URL))
				server.Close()
				require.Positive(t, answers.Load())
				require.Zero(t, tooLong.Load(), "more was read than any answer of AWS holds")
			})
		})
	}
}

// refusedBefore writes until the reader has had enough, and tells whether that
// was so within the limit.
func refusedBefore(out io.Writer, limit int) bool {
	chunk := []byte(strings.Repeat(" ", 1<<16))
	for sent := 0; sent < limit; sent += len(chunk) {
		if _, err := out.Write(chunk); err != nil {
			return true
		}
	}
	return false
}

// TestPlainHTTP is for loopback addresses, and for nothing that looks like one.
func TestPlainHTTP(t *testing.T) {
	for _, address := range []string{
		"http://localhost", "http://localhost:8080", "http://127.0.0.1:9229", "http://127.1.2.3", "http://[::1]:80", "http://[::ffff:127.0.0.1]",
	} {
		for name, parse := range parsers() {
			u, err := parse(address)
			require.NoError(t, err, "%s of %s", name, address)
			require.Equal(t, address, u.String())
		}
	}
	for _, address := range []string{
		"http://example.com", "http://10.0.0.1", "http://192.168.1.1", "http://169.254.169.254",
		"http://127.0.0.1.example.com", "http://localhost.example.com", "http://localhost.", "http://xlocalhost", "http://127.0.0.1.",
		"http://0.0.0.0", "http://[::]", "http://0", "http://127.1", "http://2130706433", "http://0x7f000001", "http://0177.0.0.1",
		"http://[::1%25lo]", "http://[fe80::1]", "http://[::ffff:10.0.0.1]",
		"http://user@127.0.0.1", "http://127.0.0.1@example.com", "http://user:hush@localhost", "http://localhost#@example.com", "http://localhost\\@example.com",
		"http://127.0.0.1/path", "http://127.0.0.1?x", "http://127.0.0.1 .example.com", "http://",
		"ftp://127.0.0.1", "HTTP+unix://127.0.0.1", "file:///etc/passwd", "//127.0.0.1", "unix://localhost",
	} {
		for name, parse := range parsers() {
			u, err := parse(address)
			require.Error(t, err, "%s of %s gave %s", name, address, u)
			require.NotContains(t, err.Error(), "hush")
		}
	}
}

func parsers() map[string]func(string) (*url.URL, error) {
	return map[string]func(string) (*url.URL, error){"ParseDomain": cognito.ParseDomain, "ParseEndpoint": cognito.ParseEndpoint}
}
