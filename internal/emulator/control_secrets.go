// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"net/url"
	"slices"
	"sync"

	"vault-plugin-secrets-cognito/internal/emulator/control"
)

// secretFields are the names of fields with secrets in AWS's protocols.
var secretFields = []string{
	"Password", "TemporaryPassword", "PreviousPassword", "ProposedPassword", "PASSWORD", "NEW_PASSWORD",
	"SecretHash", "SECRET_HASH", "ClientSecret", "ClientSecretValue", "Secret", "SecretCode", "client_secret",
	"AccessToken", "IdToken", "RefreshToken", "REFRESH_TOKEN", "Token", "Session", "access_token",
	"SecretAccessKey", "SessionToken", "WebIdentityToken",
}

// issuedSecrets holds all secrets that ever crossed the wire in either direction. They are kept for
// the emulator's whole life, so that a test can search for those of deleted users, too.
type issuedSecrets struct {
	mu sync.Mutex
	// unread are requests and answers that are searched when a test asks for the secrets.
	unread [][]byte
	seen   map[string]bool
	known  []control.Secret
}

// record stores a request or an answer of any protocol.
func (s *issuedSecrets) record(body []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unread = append(s.unread, body)
}

// recordValue stores a secret that does not cross the wire.
func (s *issuedSecrets) recordValue(field, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.add(field, value)
}

func (s *issuedSecrets) add(field, value string) {
	if value == "" || !slices.Contains(secretFields, field) {
		return
	}
	if s.seen[value] {
		return
	}
	if s.seen == nil {
		s.seen = map[string]bool{}
	}
	s.seen[value] = true
	s.known = append(s.known, control.Secret{Field: field, Value: value})
}

// read extracts the secrets of a request or an answer.
func (s *issuedSecrets) read(body []byte) {
	body = bytes.TrimSpace(body)
	switch {
	case bytes.HasPrefix(body, []byte("{")):
		s.readJSON(body)
	case bytes.HasPrefix(body, []byte("<")):
		s.readXML(body)
	default:
		s.readForm(string(body))
	}
}

// readJSON ignores bodies that are not JSON: the emulator takes no secret from them either.
func (s *issuedSecrets) readJSON(body []byte) {
	var value any
	if json.Unmarshal(body, &value) == nil {
		s.walk("", value)
	}
}

func (s *issuedSecrets) walk(field string, value any) {
	switch value := value.(type) {
	case string:
		s.add(field, value)
	case []any:
		for _, element := range value {
			s.walk(field, element)
		}
	case map[string]any:
		for name, element := range value {
			s.walk(name, element)
		}
	}
}

func (s *issuedSecrets) readXML(body []byte) {
	decoder := xml.NewDecoder(bytes.NewReader(body))
	element := ""
	for token, err := decoder.Token(); err == nil; token, err = decoder.Token() {
		switch token := token.(type) {
		case xml.StartElement:
			element = token.Name.Local
		case xml.CharData:
			s.add(element, string(token))
		case xml.EndElement:
			element = ""
		}
	}
}

func (s *issuedSecrets) readForm(body string) {
	form, err := url.ParseQuery(body)
	if err != nil {
		return
	}
	for name, values := range form {
		for _, value := range values {
			s.add(name, value)
		}
	}
}

// list returns the secrets of everything recorded so far.
func (s *issuedSecrets) list() []control.Secret {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, body := range s.unread {
		s.read(body)
	}
	s.unread = nil
	return slices.Clone(s.known)
}
