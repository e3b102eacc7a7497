// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

// Command sbom writes a CycloneDX bill of materials of a Go binary, from what the Go linker noted
// in it: every module with its version and the checksum of go.sum. The same binary always gives the
// same bytes. It is a module of its own, so that its dependency is none of the plugin's.
//
// Usage: sbom BINARY BILL VERSION
package main

import (
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

const licence = "MPL-2.0"

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

func run(args []string) (err error) {
	if len(args) != 3 {
		return errors.New("usage: sbom BINARY BILL VERSION")
	}
	bill, err := billOf(args[0], args[2])
	if err != nil {
		return err
	}
	file, err := os.Create(args[1])
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return cdx.NewBOMEncoder(file, cdx.BOMFileFormatJSON).SetPretty(true).Encode(bill)
}

func billOf(path, version string) (*cdx.BOM, error) {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return nil, err
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(content)
	root := cdx.Component{
		BOMRef: "binary", Type: cdx.ComponentTypeApplication, Name: filepath.Base(info.Path), Version: version,
		Hashes:   &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: hex.EncodeToString(sum[:])}},
		Licenses: &cdx.Licenses{{License: &cdx.License{ID: licence}}},
	}
	components, err := componentsOf(info)
	if err != nil {
		return nil, err
	}
	uses := make([]string, 0, len(components))
	for _, component := range components {
		uses = append(uses, component.BOMRef)
	}
	bill := cdx.NewBOM()
	bill.Metadata = &cdx.Metadata{Component: &root}
	bill.Components = &components
	bill.Dependencies = &[]cdx.Dependency{{Ref: root.BOMRef, Dependencies: &uses}}
	return bill, nil
}

// componentsOf are the Go standard library and all modules in the binary.
func componentsOf(info *debug.BuildInfo) ([]cdx.Component, error) {
	components := []cdx.Component{component("std", "v"+strings.TrimPrefix(info.GoVersion, "go"), nil)}
	for _, module := range info.Deps {
		if module.Replace != nil {
			module = module.Replace
		}
		hashes, err := hashesOf(module.Sum)
		if err != nil {
			return nil, fmt.Errorf("module %s: %w", module.Path, err)
		}
		components = append(components, component(module.Path, module.Version, hashes))
	}
	return components, nil
}

func component(path, version string, hashes *[]cdx.Hash) cdx.Component {
	url := "pkg:golang/" + path + "@" + version
	return cdx.Component{BOMRef: url, Type: cdx.ComponentTypeLibrary, Name: path, Version: version, PackageURL: url, Hashes: hashes}
}

// hashesOf reads the checksum of go.sum, which is a SHA-256 in base64 behind "h1:".
func hashesOf(sum string) (*[]cdx.Hash, error) {
	encoded, isH1 := strings.CutPrefix(sum, "h1:")
	if !isH1 {
		return nil, fmt.Errorf("the checksum %q is of an unknown kind", sum)
	}
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, err
	}
	return &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: hex.EncodeToString(raw)}}, nil
}
