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
	// portAttempts is how many ports are tried when others take them first.
	portAttempts = 5
	// firstPort and lastPort are below those that systems give to outgoing connections: a server that is started again
	// must find its port free.
	firstPort, lastPort = 10_000, 32_000
)

// errPortTaken says that somebody took the port between its choice and its use.
var errPortTaken = errors.New("the port was taken meanwhile")

// onFreePort calls begin with a free port, and again with another one when somebody was faster.
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
	return nil, fmt.Errorf("starting vault: no free port in %d attempts: %w", portAttempts, err)
}

// freePort returns a loopback port that is free together with its successor, where Vault puts its cluster listener.
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
