// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

// Command cognito-emulator runs a strict local Amazon Cognito for development and tests.
package main

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"vault-plugin-secrets-cognito/internal/emulator"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "cognito-emulator:", err)
		os.Exit(1)
	}
}

type settings struct {
	listen        string
	region        string
	issuer        string
	seed          bool
	cheapTokens   bool
	exitWithStdin bool
}

// greeting is the single line on stdout. Without a seed it holds only the endpoint.
type greeting struct {
	Endpoint string `json:"endpoint"`
	*emulator.Seed
}

func readSettings(args []string, stderr io.Writer) (settings, error) {
	var s settings
	flags := flag.NewFlagSet("cognito-emulator", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&s.listen, "listen", "127.0.0.1:0", "address to listen on")
	flags.StringVar(&s.region, "region", "eu-west-1", "region of the seed")
	flags.StringVar(&s.issuer, "issuer", "", "`URL` that the issuer of JWTs begins with; \"local\" for the address of the emulator (default the URL of Cognito)")
	flags.BoolVar(&s.seed, "seed", false, "begin with a user pool, groups and app clients")
	flags.BoolVar(&s.cheapTokens, "cheap-tokens", false, "let all JWTs have the same signature, which saves CPU time; only the emulator accepts them")
	flags.BoolVar(&s.exitWithStdin, "exit-with-stdin", false, "stop when standard input is closed")
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	if flags.NArg() > 0 {
		return s, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	return s, s.checkIssuer()
}

// checkIssuer removes a slash at the end, because the issuer of a pool adds one.
func (s *settings) checkIssuer() error {
	s.issuer = strings.TrimSuffix(s.issuer, "/")
	if s.issuer == "" || s.issuer == emulator.LocalIssuer {
		return nil
	}
	issuer, err := url.Parse(s.issuer)
	if err != nil || issuer.Scheme != "http" && issuer.Scheme != "https" || issuer.Host == "" || issuer.RawQuery != "" || issuer.Fragment != "" {
		return fmt.Errorf("-issuer is %q: it must be local or a URL such as http://127.0.0.1:8202", s.issuer)
	}
	return nil
}

// run serves until the context ends or, with -exit-with-stdin, until standard input ends.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	s, err := readSettings(args, stderr)
	if err != nil {
		return err
	}
	running, err := listen(ctx, s)
	if err != nil {
		return err
	}
	if err := greet(running, s, stdout); err != nil {
		return errors.Join(err, running.Close())
	}
	if s.exitWithStdin {
		ctx = untilEnd(ctx, stdin)
	}
	<-ctx.Done()
	fmt.Fprintln(stderr, "cognito-emulator: stopping")
	return running.Close()
}

// listen generates the signing key first, so that the first sign-in is as fast as the others.
func listen(ctx context.Context, s settings) (*emulator.Running, error) {
	key, err := rsa.GenerateKey(rand.Reader, emulator.SigningKeyBits)
	if err != nil {
		return nil, fmt.Errorf("generating the signing key: %w", err)
	}
	return emulator.Listen(ctx, s.listen, emulator.Options{SigningKey: key, CheapTokens: s.cheapTokens, Issuer: s.issuer})
}

func greet(running *emulator.Running, s settings, stdout io.Writer) error {
	hello := greeting{Endpoint: running.URL}
	if s.seed {
		seed, err := running.Seed(s.region)
		if err != nil {
			return err
		}
		hello.Seed = &seed
	}
	return json.NewEncoder(stdout).Encode(hello)
}

// untilEnd returns a context that ends with the reader: the process at the other end of the pipe
// closed it or died.
func untilEnd(ctx context.Context, stdin io.Reader) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		defer cancel()
		_, _ = io.Copy(io.Discard, stdin)
	}()
	return ctx
}
