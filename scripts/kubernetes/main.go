// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

// Kubernetes checks manifests: custom resources against the published definitions of their
// operators with their rules, Kubernetes' own kinds against their types, and annotations for the
// Vault Agent Injector with the injector's own code. Unknown fields and annotations are errors. It
// prints one line for each object.
//
//	kubernetes FILE…
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"sigs.k8s.io/yaml"
)

func main() {
	if err := run(os.Stdout, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(out io.Writer, files []string) error {
	known, err := loadDefinitions(out)
	if err != nil {
		return err
	}
	var failures error
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		for _, document := range bytes.Split(text, []byte("\n---\n")) {
			failures = errors.Join(failures, checkDocument(out, known, file, document))
		}
	}
	return failures
}

// head is what all objects have.
type head struct {
	APIVersion string
	Kind       string
	Metadata   struct{ Name string }
}

func checkDocument(out io.Writer, known definitions, file string, document []byte) error {
	var h head
	if err := yaml.Unmarshal(document, &h); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	check := known.check
	if isBuiltIn(h) {
		check = checkBuiltIn
	}
	if err := check(h, document); err != nil {
		return fmt.Errorf("%s: %s %s %q: %w", file, h.APIVersion, h.Kind, h.Metadata.Name, err)
	}
	fmt.Fprintf(out, "%s: %s %s %q matches\n", file, h.APIVersion, h.Kind, h.Metadata.Name)
	return nil
}
