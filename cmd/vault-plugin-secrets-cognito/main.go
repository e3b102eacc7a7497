// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

// Command vault-plugin-secrets-cognito is a secrets engine that Vault runs: it
// issues short-lived users and tokens of Amazon Cognito user pools.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/api"
	"github.com/hashicorp/vault/sdk/plugin"

	"vault-plugin-secrets-cognito/backend"
)

// Set by the linker, see the Makefile.
var (
	// version is what Vault shows in `vault plugin list`: semantic, with a leading v.
	version = "v0.0.0-dev"
	// walMinAge replaces the age from which Vault rolls back, in builds for tests.
	walMinAge = ""
)

// gcPercent lets the garbage collector wait longer than it does by default: the
// engine holds few megabytes, so that it would run hundreds of times a second
// under load. The price is some ten megabytes. GOGC in the environment, which
// can be registered with the plugin, replaces it.
const gcPercent = 400

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	logger := hclog.New(&hclog.LoggerOptions{Level: hclog.Trace, Output: os.Stderr, JSONFormat: true})
	if err := run(os.Args[1:]); err != nil {
		logger.Error("plugin shutting down", "error", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	meta := &api.PluginAPIClientMeta{}
	flags := meta.FlagSet()
	showVersion := flags.Bool("version", false, "print the version and exit")
	flags.Init("vault-plugin-secrets-cognito", flag.ContinueOnError)
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return nil // the usage has been printed
	} else if err != nil {
		return err
	}
	if *showVersion {
		fmt.Println(version)
		return nil
	}
	options, err := buildOptions()
	if err != nil {
		return err
	}
	return plugin.ServeMultiplex(&plugin.ServeOpts{
		BackendFactoryFunc: backend.Factory(options),
		TLSProviderFunc:    api.VaultPluginTLSProvider(meta.GetTLSConfig()),
	})
}

func buildOptions() (backend.Options, error) {
	options := backend.Options{Version: version}
	if walMinAge == "" {
		return options, nil
	}
	age, err := time.ParseDuration(walMinAge)
	if err != nil {
		return options, fmt.Errorf("this binary was built with a WAL_MIN_AGE that is no duration: %w", err)
	}
	options.WALMinAge = age
	return options, nil
}
