// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package sandbox

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"time"
)

// motoListens matches what moto prints when it listens.
var motoListens = regexp.MustCompile(`Running on (http://127\.0\.0\.1:\d+)`)

// MotoOptions says which moto to start.
type MotoOptions struct {
	// Binary is the moto_server executable; scripts/moto.sh installs one. Required.
	Binary string
	// Log, if set, gets what moto writes, as it writes it.
	Log io.Writer
}

// Moto is a running moto_server, an independent emulation of Cognito, STS and IAM.
type Moto struct {
	// Endpoint is the base URL of all of them.
	Endpoint string

	output  *output
	process *process
}

// StartMoto starts a moto_server on a port that the system chooses, and returns when it answers.
// ctx bounds the start only: the server runs until Stop.
func StartMoto(ctx context.Context, o MotoOptions) (*Moto, error) {
	if err := checkExecutable("moto_server", o.Binary); err != nil {
		return nil, err
	}
	m := &Moto{output: &output{tee: o.Log}}
	var err error
	m.process, err = start(ctx, command{
		name:   "moto",
		path:   o.Binary,
		args:   []string{"-H", "127.0.0.1", "-p", "0"},
		env:    cleanEnv(os.TempDir(), "PYTHONUNBUFFERED=1", "PYTHONDONTWRITEBYTECODE=1"),
		stdout: m.output,
		stderr: m.output,
	})
	if err != nil {
		return nil, err
	}
	if err := m.await(ctx); err != nil {
		m.Stop()
		return nil, err
	}
	return m, nil
}

func (m *Moto) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for attempt(ctx, m.answers) != nil {
		select {
		case <-m.process.done:
			return fmt.Errorf("moto ended: %w; its last output:\n%s", m.process.exitStatus(), tail(m.LogText()))
		case <-ctx.Done():
			return fmt.Errorf("moto is not ready: %w; its last output:\n%s", ctx.Err(), tail(m.LogText()))
		case <-ticker.C:
		}
	}
	return nil
}

// answers returns nil if moto answers at the address that it printed.
func (m *Moto) answers(ctx context.Context) error {
	said := motoListens.FindStringSubmatch(m.LogText())
	if said == nil {
		return fmt.Errorf("moto has not printed its address yet")
	}
	m.Endpoint = said[1]
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.Endpoint+"/moto-api/data.json", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("moto answers %s", resp.Status)
	}
	return nil
}

// Stop ends the server, and returns when no process is left. It may be called repeatedly.
func (m *Moto) Stop() { m.process.stop() }

// LogText returns all that the server wrote so far.
func (m *Moto) LogText() string { return m.output.String() }
