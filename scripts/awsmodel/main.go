// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

// Command awsmodel writes the part of botocore's model of Amazon Cognito that this project's tests
// need. scripts/aws-model.sh calls it.
package main

import (
	"archive/zip"
	"compress/gzip"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"vault-plugin-secrets-cognito/internal/awsmodel"
)

const modelPath = "botocore/data/cognito-idp/2016-04-18/service-2.json.gz"

// legalFiles are copied unchanged, as the Apache License demands.
var legalFiles = []string{"LICENSE.txt", "NOTICE"}

func main() {
	operations := flag.String("operations", "", "file that names the operations, one a line")
	out := flag.String("out", "", "directory to write to")
	flag.Parse()
	if err := run(flag.Arg(0), *operations, *out); err != nil {
		fmt.Fprintln(os.Stderr, "awsmodel:", err)
		os.Exit(1)
	}
}

func run(wheelFile, operationsFile, out string) error {
	names, err := os.ReadFile(operationsFile)
	if err != nil {
		return err
	}
	wheel, err := zip.OpenReader(wheelFile)
	if err != nil {
		return fmt.Errorf("opening the wheel %q: %w", wheelFile, err)
	}
	defer func() { _ = wheel.Close() }()
	full, err := readModel(wheel)
	if err != nil {
		return err
	}
	selected, err := selectOperations(full, strings.Fields(string(names)))
	if err != nil {
		return err
	}
	distribution := distribution(wheelFile)
	selected.Source = source(distribution)
	return errors.Join(writeModel(filepath.Join(out, "cognito-idp.json"), selected), copyLegal(wheel, distribution, out))
}

// distribution returns the first two parts of a wheel's file name, such as "botocore-1.44.8".
func distribution(wheelFile string) string {
	parts := strings.Split(filepath.Base(wheelFile), "-")
	return strings.Join(parts[:min(len(parts), 2)], "-")
}

func source(distribution string) string {
	return fmt.Sprintf("The file %s of %s from PyPI, Apache License 2.0, shortened by scripts/aws-model.sh: "+
		"some of its operations, without documentation", modelPath, distribution)
}

// readModel decodes the service model. Parts of it that this project does not use are left out.
func readModel(wheel fs.FS) (*fullModel, error) {
	file, err := wheel.Open(modelPath)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	plain, err := gzip.NewReader(file)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", modelPath, err)
	}
	model := &fullModel{}
	if err := json.NewDecoder(plain).Decode(model); err != nil {
		return nil, fmt.Errorf("reading %s: %w", modelPath, err)
	}
	return model, nil
}

func writeModel(file string, model *awsmodel.Model) error {
	encoded, err := json.MarshalIndent(model, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(encoded, '\n'), 0o600)
}

func copyLegal(wheel fs.FS, distribution, out string) error {
	for _, name := range legalFiles {
		text, err := readFile(wheel, path.Join(distribution+".dist-info", name))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(out, name), text, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func readFile(wheel fs.FS, name string) ([]byte, error) {
	file, err := wheel.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	return io.ReadAll(file)
}
