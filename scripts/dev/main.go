// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

// Dev is what `make dev` runs: it starts a server with the plugin and the Cognito emulator, and
// shows what the plugin returns.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// options holds the command's flags.
type options struct {
	vault, plugin, emulator, log string
	// issuer is the -issuer of the emulator.
	issuer string
	demo   bool
	// port is the server's; the emulator has the one after the next, because a server takes two. 0
	// means free ports.
	port int
}

func main() {
	var o options
	flag.StringVar(&o.vault, "vault", "", "the `binary` of Vault or OpenBao")
	flag.StringVar(&o.plugin, "plugin", "", "the plugin `binary`, alone with other plugins in its directory")
	flag.StringVar(&o.emulator, "emulator", "", "the cognito-emulator `binary`")
	flag.StringVar(&o.log, "log", "", "the `file` for the logs of the server, the plugin and the emulator")
	flag.BoolVar(&o.demo, "demo", false, "revoke the lease, show that the user is deleted, and end")
	flag.IntVar(&o.port, "port", 0, "the `port` of the server; the emulator listens on port+2 (default free ports)")
	flag.StringVar(&o.issuer, "issuer", "", "the emulator's -issuer: local or a `URL` (default the URL of Cognito)")
	flag.Parse()

	ctx, forget := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		<-ctx.Done()
		forget() // a second Ctrl-C ends the process at once
	}()
	if err := run(ctx, o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "\nmake dev:", err)
		os.Exit(1)
	}
}

// run sets everything up and shows it. Then it waits until ctx ends, or in a demo revokes the
// lease.
func run(ctx context.Context, o options, stdout io.Writer) (err error) {
	log, err := openLog(o.log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()

	s, err := start(ctx, o, log, screen{Writer: stdout, bold: colourful(stdout)})
	if err != nil {
		return err
	}
	defer s.stop()
	lease, username, err := s.show(ctx)
	switch {
	case err != nil:
		return fmt.Errorf("%w%s", err, s.hint(o.log))
	case o.demo:
		return s.revoke(ctx, lease, username)
	default:
		s.invite(lease, o.log)
		return s.stay(ctx)
	}
}

func openLog(path string) (io.WriteCloser, error) {
	if path == "" {
		path = os.DevNull
	}
	return os.Create(path)
}

// screen is the output for the user. bold is set if it can show more than plain text.
type screen struct {
	io.Writer

	bold bool
}

func (s screen) printf(format string, args ...any) {
	_, _ = fmt.Fprintf(s.Writer, format, args...)
}

// command shows a command line like one that was typed at a prompt.
func (s screen) command(line string) {
	if s.bold {
		line = "\033[1m" + line + "\033[0m"
	}
	s.printf("\n$ %s\n", line)
}

// colourful reports whether w is a terminal whose user has not asked for plain text.
func colourful(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
