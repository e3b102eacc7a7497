// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

// Command vault-plugin-secrets-cognito is a secrets engine for Vault and OpenBao that issues
// short-lived users and tokens of Amazon Cognito user pools. The server starts it and ends it;
// package backend is the engine.
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

// The Makefile sets these through the linker.
var (
	// version is what `vault plugin list` shows: a semantic version with a leading v.
	version = "v0.0.0-dev"
	// walMinAge replaces the minimum age for a roll-back in test builds.
	walMinAge = ""
)

// gcPercent makes the garbage collector run less often than by default: the engine's heap has few
// megabytes, so that it would run hundreds of times a second under load. This costs about ten
// megabytes. GOGC in the environment, which can be registered with the plugin, overrides it.
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
		return nil // flag has printed the usage
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
	exitWithServer()
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
		return options, fmt.Errorf("parsing the WAL_MIN_AGE that this binary was built with: %w", err)
	}
	options.WALMinAge = age
	return options, nil
}
