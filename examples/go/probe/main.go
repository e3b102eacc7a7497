// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

// Probe calls an API again and again, as a user and as a machine, and so shows how a program lives
// with what the engine gives it: it keeps its user's lease alive, takes another user when the lease
// has had its time, gets tokens as they fall due, and gives the user back when it ends.
//
// VAULT_ADDR, VAULT_TOKEN and the like say which Vault it asks; API_URL is the API. Its Vault token
// needs the policies of examples/policies/ci.hcl and service.hcl.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/hashicorp/vault/api"
	"golang.org/x/oauth2"
)

// answerLimit is how long Vault may take to make a user or to end one; it gives up after 90 seconds
// itself.
const answerLimit = 2 * time.Minute

func main() {
	p := probe{url: os.Getenv("API_URL")}
	flag.StringVar(&p.mount, "mount", "cognito", "`path` of the engine in Vault")
	flag.StringVar(&p.userRole, "user", "ci-user", "`role` of the users")
	flag.StringVar(&p.machineRole, "machine", "machine", "`role` of the machine tokens")
	flag.DurationVar(&p.every, "every", 10*time.Second, "how often the API is called")
	flag.Parse()

	// A deployment ends its programs with SIGTERM.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := p.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "probe:", err)
		os.Exit(1)
	}
}

type probe struct {
	url, mount, userRole, machineRole string
	every                             time.Duration

	vault *api.Client
}

// run probes until ctx ends.
func (p *probe) run(ctx context.Context) (err error) {
	if p.vault, err = api.NewClient(api.DefaultConfig()); err != nil {
		return err
	}
	machine := oauth2.NewClient(ctx, p.machineTokens())
	for ctx.Err() == nil {
		err := p.withUser(ctx, func(ctx context.Context, user *api.Secret) error {
			return p.callEvery(ctx, oauth2.NewClient(ctx, p.userTokens(user)), machine)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// withUser takes a user, works with it until its lease has had its time or ctx ends, and gives it
// back.
func (p *probe) withUser(ctx context.Context, work func(context.Context, *api.Secret) error) (err error) {
	user, err := p.take(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.revoke(ctx, user.LeaseID)) }()

	watcher, err := p.vault.NewLifetimeWatcher(&api.LifetimeWatcherInput{Secret: user})
	if err != nil {
		return err
	}
	go watcher.Start()
	defer watcher.Stop()

	ctx, over := context.WithCancel(ctx)
	defer over()
	go func() {
		defer over()
		awaitEnd(ctx, watcher)
	}()
	return work(ctx, user)
}

// awaitEnd returns when the lease cannot be renewed any more, or ctx ends.
func awaitEnd(ctx context.Context, watcher *api.LifetimeWatcher) {
	for {
		select {
		case <-watcher.RenewCh():
		case err := <-watcher.DoneCh(): // at its max_ttl without an error
			if err != nil {
				fmt.Fprintln(os.Stderr, "probe: the user is given up:", err)
			}
			return
		case <-ctx.Done():
			return
		}
	}
}

// take waits for the answer even when ctx ends: otherwise a user could exist whose
// lease is unknown.
func (p *probe) take(ctx context.Context) (*api.Secret, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerLimit)
	defer cancel()
	user, err := p.vault.Logical().ReadWithContext(ctx, p.mount+"/creds/"+p.userRole)
	if err != nil {
		return nil, fmt.Errorf("taking a user: %w", err)
	}
	return user, nil
}

// revoke ends the lease, and with it the user, also when ctx has ended.
func (p *probe) revoke(ctx context.Context, lease string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerLimit)
	defer cancel()
	if err := p.vault.Sys().RevokeWithContext(ctx, lease); err != nil {
		return fmt.Errorf("giving the user back: %w", err)
	}
	return nil
}

// callEvery calls the API in turns as each of the clients, until ctx ends.
func (p *probe) callEvery(ctx context.Context, clients ...*http.Client) error {
	ticker := time.NewTicker(p.every)
	defer ticker.Stop()
	for {
		for _, client := range clients {
			if err := p.call(ctx, client); err != nil && ctx.Err() == nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func (p *probe) call(ctx context.Context, client *http.Client) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the API answered %s", resp.Status)
	}
	return nil
}

// machineTokens gives the machine's token, and reads it again when Vault has a newer one.
func (p *probe) machineTokens() oauth2.TokenSource {
	return oauth2.ReuseTokenSource(nil, source(func() (*oauth2.Token, error) {
		secret, err := p.vault.Logical().Read(p.mount + "/creds/" + p.machineRole)
		if err != nil {
			return nil, fmt.Errorf("reading a machine token: %w", err)
		}
		return tokenOf(secret, "ttl")
	}))
}

// userTokens gives the user's token, and asks for another before it ends: the lease may live longer
// than a token.
func (p *probe) userTokens(user *api.Secret) oauth2.TokenSource {
	first, err := tokenOf(user, "expires_in")
	return oauth2.ReuseTokenSource(first, source(func() (*oauth2.Token, error) {
		if err != nil {
			return nil, err
		}
		secret, err := p.vault.Logical().Write(p.mount+"/tokens/"+p.userRole, map[string]any{
			"username": user.Data["username"], "refresh_token": user.Data["refresh_token"],
		})
		if err != nil {
			return nil, fmt.Errorf("refreshing the user's token: %w", err)
		}
		return tokenOf(secret, "expires_in")
	}))
}

// tokenOf is the access token of an answer, to be used for as many seconds as a field of it says.
func tokenOf(secret *api.Secret, field string) (*oauth2.Token, error) {
	token, _ := secret.Data["access_token"].(string)
	number, _ := secret.Data[field].(json.Number)
	seconds, err := number.Int64()
	if err != nil || token == "" {
		return nil, fmt.Errorf("the answer has no access_token, or no %s", field)
	}
	return &oauth2.Token{AccessToken: token, Expiry: time.Now().Add(time.Duration(seconds) * time.Second)}, nil
}

// source makes a function an oauth2.TokenSource.
type source func() (*oauth2.Token, error)

// Token gets a token.
func (s source) Token() (*oauth2.Token, error) { return s() }
