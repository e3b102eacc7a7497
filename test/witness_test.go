// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/counters"
	"vault-plugin-secrets-cognito/internal/emulator/control"
	"vault-plugin-secrets-cognito/internal/sandbox"
)

// auditPath is the audit device that the witness enables in every Vault.
const auditPath = "witness"

// findsShown is how many places an error about them names.
const findsShown = 20

// vaultSecretFields are what this engine calls what nobody but its reader may see.
var vaultSecretFields = []string{
	"aws_secret_access_key", "aws_session_token", "app_client_secret", "password",
	"access_token", "id_token", "refresh_token", "totp_secret", "totp_url",
}

// handsOut are the answers that are there to show secrets.
var handsOut = regexp.MustCompile(`^/v1/[^/]+/(creds|tokens|static-creds)/`)

// witness remembers all secrets of a run and where they must not be: what Vaults and plugins log, what they write to
// their audit devices, and what they answer.
type witness struct {
	dir string

	// watching guards the Vaults, and is apart because it is held while one answers.
	watching      sync.Mutex
	vaults, heard []*sandbox.Vault

	mu      sync.Mutex
	secrets map[string]control.Secret
	answers *os.File
}

// seen is the witness of all tests.
var seen *witness

func newWitness(dir string) (*witness, error) {
	answers, err := os.Create(filepath.Join(dir, "answers"))
	return &witness{dir: dir, secrets: map[string]control.Secret{}, answers: answers}, err
}

// watched lets the witness see all that a Vault logs, audits and answers to the clients that vault.Client() makes. Every
// Vault that a test starts goes through it, when it is unsealed and active; twice does no harm.
func watched(t testing.TB, vault *sandbox.Vault) *sandbox.Vault {
	t.Helper()
	require.NoError(t, seen.watch(t.Context(), vault))
	require.NoError(t, seen.listen(vault))
	return vault
}

// watchedButForAnswers is for a Vault with an older plugin, whose reads show secrets.
func watchedButForAnswers(t testing.TB, vault *sandbox.Vault) *sandbox.Vault {
	t.Helper()
	require.NoError(t, seen.watch(t.Context(), vault))
	return vault
}

// remembered lets the witness know the secrets of a Cognito that is about to end.
func remembered(t testing.TB, cognito *control.Client) {
	t.Helper()
	secrets, err := cognito.Secrets(context.WithoutCancel(t.Context()))
	require.NoError(t, err)
	for _, secret := range secrets {
		seen.learn(secret)
	}
}

func (w *witness) watch(ctx context.Context, vault *sandbox.Vault) error {
	w.watching.Lock()
	defer w.watching.Unlock()
	if slices.Contains(w.vaults, vault) {
		return nil
	}
	w.vaults = append(w.vaults, vault)
	client := vault.Client()
	devices, err := client.Sys().ListAuditWithContext(ctx)
	if err != nil {
		return fmt.Errorf("listing audit devices: %w", err)
	}
	if devices[auditPath+"/"] != nil {
		return nil // a server that was started again has it already
	}
	err = client.Sys().EnableAuditWithOptionsWithContext(ctx, auditPath, &api.EnableAuditOptions{
		Type:    "file",
		Options: map[string]string{"file_path": filepath.Join(w.dir, rand.Text()+".audit")},
	})
	if err != nil {
		return fmt.Errorf("enabling an audit device: %w", err)
	}
	return nil
}

// listen stands between Vault and its clients: all clients that a sandbox.Vault makes share one transport.
func (w *witness) listen(vault *sandbox.Vault) error {
	w.watching.Lock()
	defer w.watching.Unlock()
	if slices.Contains(w.heard, vault) {
		return nil
	}
	w.heard = append(w.heard, vault)
	transport, ok := vault.Client().CloneConfig().HttpClient.Transport.(*http.Transport)
	if !ok {
		return errors.New("the sandbox's clients have another transport than is expected here")
	}
	transport.RegisterProtocol("http", listener{transport.Clone(), w})
	return nil
}

func (w *witness) learn(secret control.Secret) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.secrets[secret.Value] = secret
}

func (w *witness) knows(value string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, known := w.secrets[value]
	return known
}

// learnFrom takes the secrets out of a request to Vault or an answer of it.
func (w *witness) learnFrom(body []byte) {
	var value any
	if json.Unmarshal(body, &value) == nil {
		w.walk("", value)
	}
}

// walk takes all of a secret field for secret, whatever its type.
func (w *witness) walk(field string, value any) {
	switch value := value.(type) {
	case string:
		if slices.Contains(vaultSecretFields, field) {
			w.learn(control.Secret{Field: field, Value: value})
		}
	case []any:
		for _, element := range value {
			w.walk(field, element)
		}
	case map[string]any:
		for name, element := range value {
			if slices.Contains(vaultSecretFields, field) {
				name = field
			}
			w.walk(name, element)
		}
	}
}

// answered keeps what must not hold a secret: errors from everywhere, and answers that are not there to show one.
func (w *witness) answered(req *http.Request, status int, body []byte) {
	if status < http.StatusBadRequest && handsOut.MatchString(req.URL.Path) {
		w.learnFrom(body)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	fmt.Fprintf(w.answers, "%s %s %d\n%s\n", req.Method, req.URL.Path, status, body)
}

// listener is a transport that the witness hears.
type listener struct {
	next http.RoundTripper
	w    *witness
}

func (l listener) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return nil, err
		}
		l.w.learnFrom(body)
		req = req.Clone(req.Context())
		req.Body = io.NopCloser(bytes.NewReader(body))
	}
	resp, err := l.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	resp.Body = &heard{ReadCloser: resp.Body, tell: func(body []byte) { l.w.answered(req, resp.StatusCode, body) }}
	return resp, nil
}

// heard is the body of an answer, of which all that was read is told when it is closed.
type heard struct {
	io.ReadCloser
	text bytes.Buffer
	tell func([]byte)
	once sync.Once
}

func (h *heard) Read(p []byte) (int, error) {
	n, err := h.ReadCloser.Read(p)
	h.text.Write(p[:n])
	return n, err
}

func (h *heard) Close() error {
	h.once.Do(func() { h.tell(h.text.Bytes()) })
	return h.ReadCloser.Close()
}

// sink is a text in which no secret may stand.
type sink struct {
	name string
	text []byte
}

func (w *witness) sinks() ([]sink, error) {
	w.watching.Lock()
	defer w.watching.Unlock()
	var sinks []sink
	for i, vault := range w.vaults {
		sinks = append(sinks, sink{fmt.Sprintf("log of Vault %d", i+1), []byte(vault.LogText())})
	}
	files, err := os.ReadDir(w.dir)
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		text, err := os.ReadFile(filepath.Join(w.dir, file.Name()))
		if err != nil {
			return nil, err
		}
		sinks = append(sinks, sink{file.Name(), text})
	}
	return sinks, nil
}

// testimony is what a search found, and how much was searched.
type testimony struct {
	finds   []string
	secrets int
	note    string
}

// testify says where secrets stood that must not stand there. Nothing may go on any more.
func (w *witness) testify() error {
	if len(w.secrets) == 0 {
		return nil // the tests that ran had no Cognito
	}
	found, err := w.search()
	if err != nil {
		return err
	}
	fmt.Printf("%d secrets %s: %d shown\n", found.secrets, found.note, len(found.finds))
	err = counters.Record("Secrets", "end-to-end tests", found.secrets, counters.SecretsShown, len(found.finds), found.note)
	return errors.Join(err, shown(found.finds))
}

// search looks for every secret in every sink.
func (w *witness) search() (testimony, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	sinks, err := w.sinks()
	if err != nil {
		return testimony{}, err
	}
	n := newNeedles(slices.Collect(maps.Values(w.secrets)))
	found, size := testimony{secrets: len(n.secrets)}, 0
	for _, s := range sinks {
		size += len(s.text)
		for _, one := range n.in(s.text) {
			found.finds = append(found.finds, s.name+": "+one.String())
		}
	}
	found.note = fmt.Sprintf("in %d forms, in %d logs, audit logs and answers of %.1f MB, without %d values too short to look for",
		n.forms, len(sinks), float64(size)/1e6, n.tooShort)
	return found, nil
}

func shown(finds []string) error {
	if len(finds) == 0 {
		return nil
	}
	slices.Sort(finds)
	once := slices.Compact(slices.Clone(finds))
	return fmt.Errorf("%d times a secret stands where it must not, such as\n%s", len(finds), strings.Join(once[:min(len(once), findsShown)], "\n"))
}
