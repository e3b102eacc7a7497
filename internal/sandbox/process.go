// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// stopGrace is how long a process may take to end by itself after SIGTERM.
	stopGrace = 10 * time.Second
	// pipeGrace is how long output is still read after the process has ended, should a child hold
	// the pipe open.
	pipeGrace = time.Second
	// groupGrace is how long SIGKILL may take to empty the process group.
	groupGrace = 5 * time.Second
	// tailLines is how many lines of a process's output an error shows.
	tailLines = 30
	// pollInterval is the pause between two checks of another process.
	pollInterval = 20 * time.Millisecond
)

// command says what to run.
type command struct {
	name   string // in messages
	path   string
	args   []string
	env    []string
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
}

// process is a child in its own process group, so that everything that it started ends with it.
type process struct {
	name string
	pid  int
	done chan struct{} // closed when no process of the group is left
	err  error         // how the child ended; set before done is closed

	keepGroup atomic.Bool // the others of the group may outlive the child
}

// start runs c. The child outlives ctx. It ends by stop or kill, and on Linux when this process
// ends.
func start(ctx context.Context, c command) (*process, error) {
	cmd := exec.CommandContext(context.WithoutCancel(ctx), c.path, c.args...)
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = c.env, c.stdin, c.stdout, c.stderr
	cmd.SysProcAttr = childAttributes()
	cmd.WaitDelay = pipeGrace

	p := &process{name: c.name, done: make(chan struct{})}
	started := make(chan error)
	go p.run(cmd, started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting %s: %w", c.name, err)
	}
	return p, nil
}

// run starts cmd and waits for its end on one OS thread, because Linux sends the parent-death
// signal when the thread that started the child ends.
func (p *process) run(cmd *exec.Cmd, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	if err := cmd.Start(); err != nil {
		started <- err
		return
	}
	p.pid = cmd.Process.Pid
	started <- nil

	p.err = cmd.Wait()
	// At once, while the group's number cannot be reused. A plugin outlives a killed server by
	// seconds.
	if !p.keepGroup.Load() {
		p.endGroup()
	}
	close(p.done)
}

// endGroup kills what is left of the process group and waits until it is gone.
func (p *process) endGroup() {
	_ = syscall.Kill(-p.pid, syscall.SIGKILL) // fails if no process is left
	for deadline := time.Now().Add(groupGrace); groupAlive(p.pid) && time.Now().Before(deadline); {
		time.Sleep(pollInterval) //nolint:forbidigo // there is no event for the end of a process group
	}
}

// stop sends SIGTERM, kills the group after a grace period, and returns when no process of it is
// left.
func (p *process) stop() {
	p.signal(p.pid, syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(stopGrace):
		p.kill()
	}
}

// kill ends the whole group with SIGKILL and returns when no process of it is left.
func (p *process) kill() {
	p.signal(-p.pid, syscall.SIGKILL)
	<-p.done
}

// killAlone kills the child and leaves the others of its group running. It returns when the child
// has ended.
func (p *process) killAlone() {
	p.keepGroup.Store(true)
	p.signal(p.pid, syscall.SIGKILL)
	<-p.done
}

// signal sends sig to the child, or with a negative pid to its group. It does nothing after the
// child has ended, because the number may have been reused.
func (p *process) signal(pid int, sig syscall.Signal) {
	select {
	case <-p.done:
	default:
		_ = syscall.Kill(pid, sig) // fails if it has just ended
	}
}

// exitStatus returns how the child ended. done must be closed.
func (p *process) exitStatus() error {
	if p.err == nil {
		return errors.New("exit status 0")
	}
	return p.err
}

// cleanEnv returns the environment of a child: what the system needs to run a program, a home
// directory, and nothing else of the caller's. The AWS SDK must neither find credentials nor wait
// for an instance metadata service. Temporary files are in home, too: killed plugins leave their
// sockets there.
func cleanEnv(home string, extra ...string) []string {
	env := []string{"HOME=" + home, "TMPDIR=" + home, "AWS_EC2_METADATA_DISABLED=true", "NO_COLOR=1"}
	for _, key := range []string{"PATH", "LANG"} {
		if value, ok := os.LookupEnv(key); ok {
			env = append(env, key+"="+value)
		}
	}
	return append(env, extra...)
}

// checkExecutable returns an error if path is not an executable program.
func checkExecutable(name, path string) error {
	if path == "" {
		return fmt.Errorf("no %s binary given", name)
	}
	if _, err := exec.LookPath(path); err != nil {
		return fmt.Errorf("%s binary %q: %w", name, path, errors.Unwrap(err))
	}
	return nil
}

// tail returns the last lines of text.
func tail(text string) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-tailLines):], "\n")
}
