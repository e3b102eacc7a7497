// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

// Package control is the client and the data types of the emulator's control API: faults, latency,
// quotas, IAM, the call log and the state of pools. It imports the standard library only, so that
// tools can use it without the emulator.
package control

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// PathPrefix is the prefix of all paths of the control API.
const PathPrefix = "/_emulator/"

// Client calls the control API of one emulator.
type Client struct {
	base string
	http *http.Client
}

// New returns a Client for the emulator at baseURL, such as "http://127.0.0.1:9229".
func New(baseURL string) *Client {
	return &Client{
		base: strings.TrimSuffix(baseURL, "/") + PathPrefix,
		http: &http.Client{Transport: &http.Transport{}, Timeout: 30 * time.Second},
	}
}

// Fault adds a fault after those that are set.
func (c *Client) Fault(ctx context.Context, fault Fault) error {
	return c.send(ctx, http.MethodPost, "faults", fault, nil)
}

// ClearFaults deletes all faults and releases the requests that hang in one.
func (c *Client) ClearFaults(ctx context.Context) error {
	return c.send(ctx, http.MethodDelete, "faults", nil, nil)
}

// ReplaceSigningKey generates another key, which signs all later tokens.
func (c *Client) ReplaceSigningKey(ctx context.Context, key SigningKey) error {
	return c.send(ctx, http.MethodPut, "signing_key", key, nil)
}

// SetLatency replaces the latency of all operations.
func (c *Client) SetLatency(ctx context.Context, latency Latency) error {
	return c.send(ctx, http.MethodPut, "latency", latency, nil)
}

// SetQuotas replaces all quotas; nil turns them off.
func (c *Client) SetQuotas(ctx context.Context, quotas Quotas) error {
	if quotas == nil {
		quotas = Quotas{}
	}
	return c.send(ctx, http.MethodPut, "quotas", quotas, nil)
}

// SetIAM replaces what principals may do.
func (c *Client) SetIAM(ctx context.Context, iam IAM) error {
	return c.send(ctx, http.MethodPut, "iam", iam, nil)
}

// PlantAccessKey gives an IAM user an access key and sets the delay after which keys that are
// created later become valid.
func (c *Client) PlantAccessKey(ctx context.Context, key AccessKey) error {
	return c.send(ctx, http.MethodPost, "access_keys", key, nil)
}

// AccessKeys returns the access keys of the planted IAM users, with their secrets.
func (c *Client) AccessKeys(ctx context.Context) ([]AccessKey, error) {
	list := AccessKeyList{}
	err := c.send(ctx, http.MethodGet, "access_keys", nil, &list)
	return list.Keys, err
}

// SetTokenValidity overrides the token lifetimes of one app client.
func (c *Client) SetTokenValidity(ctx context.Context, validity TokenValidity) error {
	return c.send(ctx, http.MethodPut, "token_validity", validity, nil)
}

// Calls returns the calls in the order in which they began.
func (c *Client) Calls(ctx context.Context) (*CallLog, error) {
	log := &CallLog{}
	return log, c.send(ctx, http.MethodGet, "calls", nil, log)
}

// ResetCalls empties the call log and sets the number of connections to zero.
func (c *Client) ResetCalls(ctx context.Context) error {
	return c.send(ctx, http.MethodDelete, "calls", nil, nil)
}

// Users returns the users of a pool by username, or of all pools when poolID is empty.
func (c *Client) Users(ctx context.Context, poolID string) ([]User, error) {
	list := UserList{}
	err := c.send(ctx, http.MethodGet, inPool("users", poolID), nil, &list)
	return list.Users, err
}

// SetUserStatus sets the status of a user.
func (c *Client) SetUserStatus(ctx context.Context, status UserStatus) error {
	return c.send(ctx, http.MethodPut, "user_status", status, nil)
}

// SetLambda sets what a Lambda function does.
func (c *Client) SetLambda(ctx context.Context, function Lambda) error {
	return c.send(ctx, http.MethodPut, "lambda", function, nil)
}

// AppClients returns the app clients of a pool by id, or of all pools when poolID is empty.
func (c *Client) AppClients(ctx context.Context, poolID string) ([]AppClient, error) {
	list := AppClientList{}
	err := c.send(ctx, http.MethodGet, inPool("app_clients", poolID), nil, &list)
	return list.AppClients, err
}

// MonthlyActiveUsers returns the counts of a pool by month, or those of all pools when poolID is
// empty.
func (c *Client) MonthlyActiveUsers(ctx context.Context, poolID string) ([]MonthlyActiveUsers, error) {
	list := MonthlyActiveUsersList{}
	err := c.send(ctx, http.MethodGet, inPool("monthly_active_users", poolID), nil, &list)
	return list.Counts, err
}

// inPool adds a user pool to a path; an empty one means all pools.
func inPool(path, poolID string) string {
	if poolID == "" {
		return path
	}
	return path + "?user_pool_id=" + url.QueryEscape(poolID)
}

// Secrets returns every password, token, secret and key that callers ever sent or received, valid
// or not. Reset does not delete them.
func (c *Client) Secrets(ctx context.Context) ([]Secret, error) {
	list := SecretList{}
	err := c.send(ctx, http.MethodGet, "secrets", nil, &list)
	return list.Secrets, err
}

// LateUsers keeps users invisible for the lag after they are created; 0 turns it off.
func (c *Client) LateUsers(ctx context.Context, lag time.Duration) error {
	return c.send(ctx, http.MethodPost, "late_users", LateUsers{Milliseconds: int(lag.Milliseconds())}, nil)
}

// Reset sets faults, latency, quotas, IAM and calls to their initial values and deletes all users.
// Pools, app clients and groups stay.
func (c *Client) Reset(ctx context.Context) error {
	return c.send(ctx, http.MethodPost, "reset", nil, nil)
}

func (c *Client) send(ctx context.Context, method, path string, in, out any) error {
	req, err := c.request(ctx, method, path, in)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("emulator control: %w", err)
	}
	defer resp.Body.Close()
	return decode(resp, out)
}

func (c *Client) request(ctx context.Context, method, path string, in any) (*http.Request, error) {
	var body io.Reader
	if in != nil {
		encoded, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("emulator control: encoding %s: %w", path, err)
		}
		body = bytes.NewReader(encoded)
	}
	return http.NewRequestWithContext(ctx, method, c.base+path, body)
}

func decode(resp *http.Response, out any) error {
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("emulator control: reading the response: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("emulator control: %s %s: %s: %s", resp.Request.Method, resp.Request.URL.Path, resp.Status, bytes.TrimSpace(body))
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(body, out)
}
