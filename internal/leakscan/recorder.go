// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package leakscan

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/hashicorp/vault/api"
)

// AuditPath is the audit device that a Recorder enables on every server.
const AuditPath = "leakscan"

// leaksShown is how many distinct leaks an error lists.
const leaksShown = 20

// secretFields are the fields of the engine that hold secrets.
var secretFields = []string{
	"aws_secret_access_key", "aws_session_token", "app_client_secret", "password",
	"access_token", "id_token", "refresh_token", "totp_secret", "totp_url",
}

// Server is a running server whose clients share one transport.
type Server interface {
	// Client returns a client with the right to enable an audit device.
	Client() *api.Client
	// LogText returns everything that the server and its plugins logged so far.
	LogText() string
}

// Recorder collects the secrets of a test run and the places in which none may stand. Several
// goroutines may use it.
type Recorder struct {
	dir string

	// watching guards the lists of servers. It is held while a server answers, and so is not mu.
	watching          sync.Mutex
	servers, listened []Server

	mu      sync.Mutex
	secrets map[string]Secret
	answers *os.File
}

// New returns a Recorder that writes audit logs and answers to dir, which holds nothing else.
func New(dir string) (*Recorder, error) {
	answers, err := os.Create(filepath.Join(dir, "answers"))
	if err != nil {
		return nil, fmt.Errorf("creating the file for answers: %w", err)
	}
	return &Recorder{dir: dir, secrets: map[string]Secret{}, answers: answers}, nil
}

// WatchLogs adds the log of an unsealed server and a new audit log of it. Watching a server again
// has no effect.
func (r *Recorder) WatchLogs(ctx context.Context, server Server) error {
	r.watching.Lock()
	defer r.watching.Unlock()
	if slices.Contains(r.servers, server) {
		return nil
	}
	r.servers = append(r.servers, server)
	client := server.Client()
	devices, err := client.Sys().ListAuditWithContext(ctx)
	if err != nil {
		return fmt.Errorf("listing audit devices: %w", err)
	}
	if devices[AuditPath+"/"] != nil {
		return nil // a restarted server still has it
	}
	err = client.Sys().EnableAuditWithOptionsWithContext(ctx, AuditPath, &api.EnableAuditOptions{
		Type:    "file",
		Options: map[string]string{"file_path": filepath.Join(r.dir, rand.Text()+".audit")},
	})
	if err != nil {
		return fmt.Errorf("enabling an audit device: %w", err)
	}
	return nil
}

// WatchAnswers adds all answers to clients that server.Client returns, also to earlier ones.
func (r *Recorder) WatchAnswers(server Server) error {
	r.watching.Lock()
	defer r.watching.Unlock()
	if slices.Contains(r.listened, server) {
		return nil
	}
	r.listened = append(r.listened, server)
	shared, ok := server.Client().CloneConfig().HttpClient.Transport.(*http.Transport)
	if !ok {
		return errors.New("watching answers: the client's transport is not an *http.Transport")
	}
	shared.RegisterProtocol("http", transport{shared.Clone(), r})
	return nil
}

// Learn adds secrets.
func (r *Recorder) Learn(secrets ...Secret) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, secret := range secrets {
		r.secrets[secret.Value] = secret
	}
}

// Knows reports whether a value is a known secret.
func (r *Recorder) Knows(value string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, known := r.secrets[value]
	return known
}

// Answers returns the recorded answers: for each one a line with method, path and status, and its
// body.
func (r *Recorder) Answers() (string, error) {
	text, err := os.ReadFile(r.answers.Name())
	return string(text), err
}

// learnFrom adds the secrets in the JSON body of a request or an answer.
func (r *Recorder) learnFrom(body []byte) {
	var value any
	if json.Unmarshal(body, &value) == nil {
		r.walk("", value)
	}
}

// walk adds all strings below a secret field, whatever its type.
func (r *Recorder) walk(field string, value any) {
	switch value := value.(type) {
	case string:
		if slices.Contains(secretFields, field) {
			r.Learn(Secret{Field: field, Value: value})
		}
	case []any:
		for _, element := range value {
			r.walk(field, element)
		}
	case map[string]any:
		for name, element := range value {
			if slices.Contains(secretFields, field) {
				name = field
			}
			r.walk(name, element)
		}
	}
}

// place is a text in which no secret may stand.
type place struct {
	name string
	text []byte
}

func (r *Recorder) places() ([]place, error) {
	r.watching.Lock()
	defer r.watching.Unlock()
	var places []place
	for i, server := range r.servers {
		places = append(places, place{fmt.Sprintf("log of server %d", i+1), []byte(server.LogText())})
	}
	files, err := os.ReadDir(r.dir)
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		text, err := os.ReadFile(filepath.Join(r.dir, file.Name()))
		if err != nil {
			return nil, err
		}
		places = append(places, place{file.Name(), text})
	}
	return places, nil
}

// Report is the result of a scan.
type Report struct {
	// Secrets is the number of secrets that were searched for.
	Secrets int
	// Leaks describes each place where a secret stands, without the secret.
	Leaks []string
	// Summary says how much was searched.
	Summary string
}

// Scan searches every place for every secret. All watched servers should have stopped before.
func (r *Recorder) Scan() (Report, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	places, err := r.places()
	if err != nil {
		return Report{}, fmt.Errorf("collecting logs and answers: %w", err)
	}
	s := newScanner(slices.Collect(maps.Values(r.secrets)))
	report, size := Report{Secrets: len(s.secrets)}, 0
	for _, p := range places {
		size += len(p.text)
		for _, l := range s.scan(p.text) {
			report.Leaks = append(report.Leaks, p.name+": "+l.String())
		}
	}
	report.Summary = fmt.Sprintf("%d forms searched for in %d logs, audit logs and answers of %.1f MB; %d secrets are too short",
		s.forms, len(places), float64(size)/1e6, s.tooShort)
	return report, nil
}

// Err returns an error that lists the leaks, or nil if there are none.
func (r Report) Err() error {
	if len(r.Leaks) == 0 {
		return nil
	}
	distinct := slices.Compact(slices.Sorted(slices.Values(r.Leaks)))
	return fmt.Errorf("%d leaks of secrets, such as\n%s", len(r.Leaks), strings.Join(distinct[:min(len(distinct), leaksShown)], "\n"))
}
