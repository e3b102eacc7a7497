// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

// Command oci writes an OCI image of the plugin for Linux as a tar archive in OCI image layout,
// without Docker: one layer with one static binary, which is the entry point. OpenBao's plugin
// stanza and Vault's -oci_image take such images. The same binary, version and time give the same
// bytes. It is a module of its own, so that its dependencies are none of the plugin's.
//
// Usage: oci BINARY ARCHIVE VERSION ARCHITECTURE UNIX_TIME
package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/google/go-containerregistry/pkg/compression"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// binaryName is the name of the plugin's file in the image.
const binaryName = "vault-plugin-secrets-cognito"

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "oci:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 5 {
		return errors.New("usage: oci BINARY ARCHIVE VERSION ARCHITECTURE UNIX_TIME")
	}
	seconds, err := strconv.ParseInt(args[4], 10, 64)
	if err != nil {
		return fmt.Errorf("parsing the time %q: %w", args[4], err)
	}
	image, err := build(args[0], args[2], args[3], time.Unix(seconds, 0).UTC())
	if err != nil {
		return fmt.Errorf("building an image of %s: %w", args[0], err)
	}
	if err := write(image, args[1], args[3]); err != nil {
		return fmt.Errorf("writing %s: %w", args[1], err)
	}
	return nil
}

// build returns the image of a binary. created is the time of everything in it.
func build(binary, version, architecture string, created time.Time) (v1.Image, error) {
	content, err := os.ReadFile(binary)
	if err != nil {
		return nil, err
	}
	layer, err := layerOf(content, created)
	if err != nil {
		return nil, err
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err = mutate.ConfigFile(image, &v1.ConfigFile{
		Architecture: architecture,
		OS:           "linux",
		Created:      v1.Time{Time: created},
		RootFS:       v1.RootFS{Type: "layers"},
		Config: v1.Config{
			Entrypoint: []string{"/" + binaryName},
			Labels: map[string]string{
				"org.opencontainers.image.title":       binaryName,
				"org.opencontainers.image.description": "Secrets engine for Vault and OpenBao that issues short-lived access to Amazon Cognito user pools",
				"org.opencontainers.image.version":     version,
				"org.opencontainers.image.licenses":    "MPL-2.0",
				"org.opencontainers.image.created":     created.Format(time.RFC3339),
			},
		},
	})
	if err != nil {
		return nil, err
	}
	return mutate.Append(image, mutate.Addendum{
		Layer:   layer,
		History: v1.History{Created: v1.Time{Time: created}, CreatedBy: "scripts/oci"},
	})
}

// layerOf returns a layer with the binary as its only file.
func layerOf(binary []byte, modified time.Time) (v1.Layer, error) {
	var archive bytes.Buffer
	writer := tar.NewWriter(&archive)
	header := &tar.Header{Name: binaryName, Mode: 0o755, Size: int64(len(binary)), ModTime: modified, Format: tar.FormatPAX}
	if err := writer.WriteHeader(header); err != nil {
		return nil, err
	}
	if _, err := writer.Write(binary); err != nil {
		return nil, err
	}
	if err := writer.Close(); err != nil {
		return nil, err
	}
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(archive.Bytes())), nil }
	return tarball.LayerFromOpener(open, tarball.WithMediaType(types.OCILayer), tarball.WithCompression(compression.GZip))
}

// write writes an image layout with one image as a tar archive.
func write(image v1.Image, path, architecture string) error {
	dir, err := os.MkdirTemp("", "oci")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	index, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	if err := index.AppendImage(image, layout.WithPlatform(v1.Platform{OS: "linux", Architecture: architecture})); err != nil {
		return err
	}
	return archiveDir(dir, path)
}

// archiveDir writes the files below dir to a tar archive, in the order of their names and without
// anything that depends on the machine or the time.
func archiveDir(dir, path string) (err error) {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	writer := tar.NewWriter(file)
	err = filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		relative, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		content, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		header := &tar.Header{Name: filepath.ToSlash(relative), Mode: 0o644, Size: int64(len(content)), Format: tar.FormatUSTAR}
		if err := writer.WriteHeader(header); err != nil {
			return err
		}
		_, err = writer.Write(content)
		return err
	})
	return errors.Join(err, writer.Close())
}
