// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package sandbox

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
)

// EmulatorOptions says which emulator to start and how.
type EmulatorOptions struct {
	// Binary is the cognito-emulator executable. Required.
	Binary string
	// Region is the region of the seeded pool; empty means eu-west-1.
	Region string
	// Port is where it listens; 0 means a free port.
	Port int
	// Issuer is the emulator's -issuer; empty means the issuer of real tokens.
	Issuer string
	// CheapTokens lets all JWTs have the same signature, which saves CPU time.
	CheapTokens bool
	// Log, if set, gets what the emulator writes after its first line.
	Log io.Writer
}

// Seed is what the emulator created at its start.
type Seed struct {
	Region          string   `json:"region"`
	UserPoolID      string   `json:"user_pool_id"`
	AppClientID     string   `json:"app_client_id"`
	AppClientSecret string   `json:"app_client_secret"`
	PublicClientID  string   `json:"public_client_id"`
	Group           string   `json:"group"`
	Groups          []string `json:"groups"`
	M2MClientID     string   `json:"m2m_client_id"`
	M2MClientSecret string   `json:"m2m_client_secret"`
	Domain          string   `json:"domain"`
	Scopes          []string `json:"scopes"`
}

// Emulator is a running Cognito emulator.
type Emulator struct {
	// Endpoint is its base URL: Cognito, STS, IAM and the control API.
	Endpoint string
	// Seed is the pool that it created at its start.
	Seed Seed

	output  *output
	process *process
	stdin   io.Closer
}

func (o EmulatorOptions) args() []string {
	return []string{
		"-listen", fmt.Sprintf("127.0.0.1:%d", o.Port), "-seed", "-region", o.Region, "-issuer", o.Issuer,
		"-cheap-tokens=" + strconv.FormatBool(o.CheapTokens), "-exit-with-stdin",
	}
}

// StartEmulator starts a seeded emulator on a loopback port and returns when it listens. ctx
// bounds the start only.
func StartEmulator(ctx context.Context, o EmulatorOptions) (*Emulator, error) {
	if err := checkExecutable("emulator", o.Binary); err != nil {
		return nil, err
	}
	if o.Region == "" {
		o.Region = "eu-west-1"
	}
	// The emulator ends when its standard input does, and the system closes this pipe when this
	// process ends, whatever the reason.
	childStdin, stdin, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("starting the emulator: %w", err)
	}
	first := make(chan []byte, 1)
	e := &Emulator{output: &output{tee: o.Log}, stdin: stdin}
	e.process, err = start(ctx, command{
		name:   "the emulator",
		path:   o.Binary,
		args:   o.args(),
		env:    cleanEnv(os.TempDir()),
		stdin:  childStdin,
		stdout: &firstLine{line: first, rest: e.output},
		stderr: e.output,
	})
	_ = childStdin.Close() // the child has its own
	if err != nil {
		_ = stdin.Close()
		return nil, err
	}
	if err := e.awaitFirstLine(ctx, first); err != nil {
		e.Stop()
		return nil, err
	}
	return e, nil
}

// awaitFirstLine waits for the line that says where the emulator listens and what it created.
func (e *Emulator) awaitFirstLine(ctx context.Context, first <-chan []byte) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	select {
	case line := <-first:
		return e.read(line)
	case <-e.Done():
		return fmt.Errorf("the emulator ended: %w; its last output:\n%s", e.process.exitStatus(), tail(e.LogText()))
	case <-ctx.Done():
		return fmt.Errorf("the emulator is not ready: %w; its last output:\n%s", ctx.Err(), tail(e.LogText()))
	}
}

func (e *Emulator) read(line []byte) error {
	var greeting struct {
		Endpoint string `json:"endpoint"`
		Seed
	}
	if err := json.Unmarshal(line, &greeting); err != nil {
		return fmt.Errorf("reading the emulator's first line %q: %w", line, err)
	}
	if greeting.Endpoint == "" || greeting.UserPoolID == "" {
		return fmt.Errorf("the emulator's first line %q names no endpoint or no pool", line)
	}
	e.Endpoint, e.Seed = greeting.Endpoint, greeting.Seed
	return nil
}

// Stop ends the emulator and returns when it is gone. It may be called repeatedly.
func (e *Emulator) Stop() {
	e.process.stop()
	_ = e.stdin.Close()
}

// Kill ends the emulator with SIGKILL and returns when it is gone.
func (e *Emulator) Kill() {
	e.process.kill()
	_ = e.stdin.Close()
}

// Done is closed when the emulator has exited.
func (e *Emulator) Done() <-chan struct{} { return e.process.done }

// LogText returns what the emulator wrote so far, without its first line.
func (e *Emulator) LogText() string { return e.output.String() }
