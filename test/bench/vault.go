// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

// answerMax is more than any answer here.
const answerMax = 1 << 20

// vaultClient sends requests with little overhead, because it shares the machine with what it
// measures.
type vaultClient struct {
	http  *http.Client
	base  string
	token string
}

func newVaultClient(addr, token string) *vaultClient {
	return &vaultClient{http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}, base: addr + "/v1/", token: token}
}

// refusal is an answer other than a success.
type refusal struct {
	status int
	text   string
}

func (r *refusal) Error() string { return r.text }

// do sends a request and returns an error unless it succeeds. It reads the answer into the buffer,
// if any.
func (c *vaultClient) do(ctx context.Context, method, path string, body, answer *bytes.Buffer) error {
	var content io.Reader
	if body != nil {
		content = body
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, content)
	if err != nil {
		return err
	}
	req.Header.Set("X-Vault-Token", c.token)
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= http.StatusMultipleChoices {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, answerMax))
		return &refusal{resp.StatusCode, fmt.Sprintf("%s %s: %s: %s", method, path, resp.Status, bytes.TrimSpace(text))}
	}
	if answer == nil {
		_, err = io.Copy(io.Discard, resp.Body)
	} else {
		_, err = answer.ReadFrom(resp.Body)
	}
	return err
}

// read returns one measured read.
func (c *vaultClient) read(path string) func(context.Context) error {
	return func(ctx context.Context) error { return c.do(ctx, http.MethodGet, path, nil, nil) }
}

// write is part of the set-up.
func (c *vaultClient) write(ctx context.Context, path string, data map[string]any) error {
	body, err := json.Marshal(data)
	if err != nil {
		return err
	}
	return c.do(ctx, http.MethodPost, path, bytes.NewBuffer(body), nil)
}

// secret is the part of an answer that the benchmark uses.
type secret struct {
	LeaseID string         `json:"lease_id"`
	Data    map[string]any `json:"data"`
}

func (c *vaultClient) get(ctx context.Context, path string) (secret, error) {
	var answer bytes.Buffer
	if err := c.do(ctx, http.MethodGet, path, nil, &answer); err != nil {
		return secret{}, err
	}
	var read secret
	return read, json.Unmarshal(answer.Bytes(), &read)
}
