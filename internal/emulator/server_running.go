// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"
)

// loopback is the address that Start listens on: a free port that other machines cannot reach.
const loopback = "127.0.0.1:0"

// Running is an emulator that listens.
type Running struct {
	// URL is the endpoint of Cognito, STS, IAM, the token endpoint and the control API.
	URL string
	// Server is the emulator itself.
	Server *Server

	http *http.Server
	// done is closed when the listener has ended.
	done chan struct{}
}

// Start returns an emulator that listens on a free port of the loopback interface.
func Start(opts Options) (*Running, error) {
	return Listen(context.Background(), loopback, opts)
}

// Listen returns an emulator that listens on address, such as "127.0.0.1:9229". The context only
// limits the start of listening; Close ends it.
func Listen(ctx context.Context, address string, opts Options) (*Running, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listening for the emulator: %w", err)
	}
	url := "http://" + listener.Addr().String()
	if opts.Issuer == LocalIssuer {
		opts.Issuer = url
	}
	server := New(opts)
	running := &Running{
		URL:    url,
		Server: server,
		http:   &http.Server{Handler: server, ConnContext: server.ConnContext, ReadHeaderTimeout: time.Minute},
		done:   make(chan struct{}),
	}
	go running.serve(listener)
	return running, nil
}

// serve ends with http.ErrServerClosed after Close.
func (r *Running) serve(listener net.Listener) {
	defer close(r.done)
	_ = r.http.Serve(listener)
}

// Seed calls Server.Seed with the emulator's own URL as the domain.
func (r *Running) Seed(region string) (Seed, error) {
	return r.Server.Seed(region, r.URL)
}

// Close stops listening, closes all connections, including those that hang in a fault, and waits
// for the listener to end. It may be called twice.
func (r *Running) Close() error {
	err := r.http.Close()
	<-r.done
	return err
}
