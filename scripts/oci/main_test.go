// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

const (
	version = "v1.2.3"
	// binaryVariable and baoVariable name the environment variables with the paths of a built
	// plugin and of OpenBao. make dist sets both.
	binaryVariable, baoVariable = "PLUGIN_BIN", "BAO_BIN"
)

// archive writes the image of content and returns its path.
func archive(t *testing.T, content []byte) string {
	t.Helper()
	dir := t.TempDir()
	binary, path := filepath.Join(dir, "binary"), filepath.Join(dir, "image.tar")
	if err := os.WriteFile(binary, content, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := run([]string{binary, path, version, runtime.GOARCH, "1700000000"}); err != nil {
		t.Fatal(err)
	}
	return path
}

// unpack extracts a tar archive and returns the directory.
func unpack(t *testing.T, path string) string {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	dir := t.TempDir()
	for reader := tar.NewReader(file); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return dir
		}
		if err != nil {
			t.Fatal(err)
		}
		target := filepath.Join(dir, filepath.FromSlash(header.Name))
		if err := os.MkdirAll(filepath.Dir(target), 0o700); err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(reader)
		if err == nil {
			err = os.WriteFile(target, content, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// load returns the only image of an archive.
func load(t *testing.T, path string) v1.Image {
	t.Helper()
	index, err := layout.ImageIndexFromPath(unpack(t, path))
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil || len(manifest.Manifests) != 1 {
		t.Fatalf("the index has %v, error %v", manifest, err)
	}
	image, err := index.Image(manifest.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func TestImageHoldsTheBinaryAsItsEntryPoint(t *testing.T) {
	content := []byte("a static binary")
	image := load(t, archive(t, content))
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if config.OS != "linux" || config.Architecture != runtime.GOARCH {
		t.Errorf("the platform is %s/%s", config.OS, config.Architecture)
	}
	if label := config.Config.Labels["org.opencontainers.image.version"]; label != version {
		t.Errorf("the version label is %q", label)
	}
	files := mutate.Extract(image)
	defer files.Close()
	reader := tar.NewReader(files)
	header, err := reader.Next()
	if err != nil {
		t.Fatal(err)
	}
	if "/"+header.Name != config.Config.Entrypoint[0] || header.Mode != 0o755 {
		t.Errorf("the file is %s with mode %o, and the entry point %v", header.Name, header.Mode, config.Config.Entrypoint)
	}
	if got, err := io.ReadAll(reader); err != nil || !bytes.Equal(got, content) {
		t.Errorf("the file holds %q, error %v", got, err)
	}
	if _, err := reader.Next(); !errors.Is(err, io.EOF) {
		t.Error("the image holds another file")
	}
}

func TestSameInputGivesTheSameBytes(t *testing.T) {
	first, err := os.ReadFile(archive(t, []byte("binary")))
	if err != nil {
		t.Fatal(err)
	}
	second, err := os.ReadFile(archive(t, []byte("binary")))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first, second) {
		t.Error("two archives of one binary differ")
	}
}

func TestUsageErrors(t *testing.T) {
	for _, args := range [][]string{{}, {"a", "b", "c", "d", "today"}, {"/nowhere", "b", "c", "d", "1"}} {
		if err := run(args); err == nil {
			t.Errorf("%q is accepted", args)
		}
	}
}

// TestOpenBaoInstallsTheImage serves the image of a built plugin from a registry on the loopback
// address, and installs it by OpenBao's own command.
func TestOpenBaoInstallsTheImage(t *testing.T) {
	bao, plugin := os.Getenv(baoVariable), os.Getenv(binaryVariable)
	if bao == "" || plugin == "" {
		t.Skipf("%s and %s are not set: `make dist` sets them where OpenBao is in bin/", baoVariable, binaryVariable)
	}
	content, err := os.ReadFile(plugin)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	repository := strings.TrimPrefix(server.URL, "http://") + "/" + binaryName
	reference, err := name.ParseReference(repository + ":" + version)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(reference, load(t, archive(t, content))); err != nil {
		t.Fatal(err)
	}

	plugins := t.TempDir()
	sum := sha256.Sum256(content)
	config := filepath.Join(t.TempDir(), "openbao.hcl")
	text := fmt.Sprintf("storage \"inmem\" {}\nplugin_directory = %q\nplugin \"secret\" \"cognito\" {\n  image = %q\n  version = %q\n  binary_name = %q\n  sha256sum = %q\n}\n",
		plugins, repository, version, binaryName, hex.EncodeToString(sum[:]))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), bao, "plugin", "init", "-config="+config).CombinedOutput(); err != nil {
		t.Fatalf("bao plugin init: %v\n%s", err, out)
	}
	requireInstalled(t, plugins, content)
}

// requireInstalled checks that a plugin directory holds one file with that content, which runs.
func requireInstalled(t *testing.T, plugins string, content []byte) {
	t.Helper()
	found := ""
	err := filepath.WalkDir(plugins, func(path string, entry os.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			if installed, _ := os.ReadFile(path); bytes.Equal(installed, content) {
				found = path
			}
		}
		return err
	})
	if err != nil || found == "" {
		t.Fatalf("the plugin is not in the plugin directory, error %v", err)
	}
	out, err := exec.CommandContext(t.Context(), found, "-version").Output()
	if err != nil || !strings.HasPrefix(string(out), "v") {
		t.Fatalf("the installed plugin answers %q, error %v", out, err)
	}
}
