// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

// Bench is what `make bench` runs: it measures the built plugin on a real server with the Cognito
// emulator, and compares it with a plugin that does nothing.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// options holds the command's flags.
type options struct {
	vault, plugin, emulator string
	out, profiles           string
	duration                time.Duration
	latency                 time.Duration
	staticRoles             int
	check                   bool
}

func main() {
	var o options
	flag.StringVar(&o.vault, "vault", "", "the vault `binary`")
	flag.StringVar(&o.plugin, "plugin", "", "the plugin `binary`")
	flag.StringVar(&o.emulator, "emulator", "", "the cognito-emulator `binary`")
	flag.StringVar(&o.out, "out", "", "the Markdown `file` to write, with a chart beside it")
	flag.StringVar(&o.profiles, "profiles", "", "the `directory` that gets CPU profiles of Vault and the plugin")
	flag.DurationVar(&o.duration, "duration", 6*time.Second, "how long each kind of request is measured with each number of clients")
	flag.DurationVar(&o.latency, "latency", 30*time.Millisecond, "how long each call to AWS waits for its answer")
	flag.IntVar(&o.staticRoles, "static-roles", 10000, "how many static roles the engine is started with")
	flag.BoolVar(&o.check, "check", false, "fail when a goal is missed")
	flag.Parse()

	ctx, forget := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer forget()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run measures everything and reports it.
func run(ctx context.Context, o options) error {
	w, err := build(ctx, o)
	if err != nil {
		return err
	}
	defer w.close()
	found, err := measureAll(ctx, w, o)
	if err != nil {
		return err
	}
	if err := found.print(os.Stdout); err != nil {
		return err
	}
	if o.out != "" {
		if err := found.writeDoc(o.out); err != nil {
			return err
		}
	}
	if missed := found.missed(); o.check && missed > 0 {
		return fmt.Errorf("%d goals were missed", missed)
	}
	return nil
}

// measureAll measures one thing after the other, so that nothing else uses the machine.
func measureAll(ctx context.Context, w *setup, o options) (*results, error) {
	found := &results{Latency: o.latency, Duration: o.duration}
	steps := []struct {
		what string
		do   func() error
	}{
		{"the machine", func() (err error) { found.Machine, err = describeMachine(ctx, w); return err }},
		{"requests", func() (err error) { found.Requests, err = measureRequests(ctx, w, o); return err }},
		{"what the plugin does for one read", func() (err error) { found.Efforts, err = measureEfforts(ctx, w); return err }},
		{"profiles", func() error { return writeProfiles(ctx, w, o) }},
		{"static roles", func() (err error) { found.Scale, err = measureScale(ctx, w, o.staticRoles); return err }},
		{"memory for each item", func() (err error) { found.Items, err = measureItems(ctx); return err }},
		{"metrics", func() (err error) { found.Metrics, err = measureMetrics(ctx); return err }},
	}
	for _, step := range steps {
		began := time.Now()
		if err := step.do(); err != nil {
			return nil, fmt.Errorf("measuring %s: %w", step.what, err)
		}
		fmt.Fprintf(os.Stderr, "%s: %s\n", step.what, time.Since(began).Round(100*time.Millisecond))
	}
	found.Goals = compareWithGoals(found)
	return found, nil
}
