// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package sandbox

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
)

const (
	// portAttempts is how many ports are tried if other processes take them first.
	portAttempts = 5
	// firstPort and lastPort are below the ports of outgoing connections, so that a restarted
	// server finds its port free.
	firstPort, lastPort = 10_000, 32_000
)

// errPortTaken is returned if another process took the port between its choice and its use.
var errPortTaken = errors.New("the port is in use")

// onFreePort calls begin with a free port, and again with another one if that was taken meanwhile.
func onFreePort(ctx context.Context, begin func(port int) (*Vault, error)) (*Vault, error) {
	var err error
	for range portAttempts {
		var port int
		if port, err = freePort(ctx); err != nil {
			return nil, err
		}
		var v *Vault
		if v, err = begin(port); err == nil {
			return v, nil
		}
		if !errors.Is(err, errPortTaken) {
			return nil, err
		}
	}
	return nil, fmt.Errorf("starting a server: no free port in %d attempts: %w", portAttempts, err)
}

// freePort returns a loopback port that is free together with the next one, which is for the
// cluster listener.
func freePort(ctx context.Context) (int, error) {
	var err error
	for range portAttempts {
		port := firstPort + rand.N(lastPort-firstPort) //nolint:gosec // which one does not matter
		if err = portFree(ctx, port); err == nil {
			err = portFree(ctx, port+1)
		}
		if err == nil {
			return port, nil
		}
	}
	return 0, fmt.Errorf("looking for a free port: %w", err)
}

func portFree(ctx context.Context, port int) error {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return err
	}
	return listener.Close()
}
