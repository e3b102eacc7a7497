// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	v1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"sigs.k8s.io/yaml"
)

// source is a Go module that has definitions of custom resources, pinned by its hash.
type source struct{ module, sum, files string }

var sources = []source{
	{
		module: "github.com/hashicorp/vault-secrets-operator@v0.10.0",
		sum:    "h1:BjOTBJRqx1SLo7NeyqNJWRPDyfRscbqPtGU1U2LzArg=",
		files:  "config/crd/bases/*.yaml",
	},
	{
		module: "github.com/external-secrets/external-secrets@v1.3.2",
		sum:    "h1:u2J8RjlHIeF0oZCqtl92adI/uZWUwOesJIDkfql6LqQ=",
		files:  "config/crds/bases/*.yaml",
	},
	{
		module: "sigs.k8s.io/secrets-store-csi-driver@v1.4.8",
		sum:    "h1:YmL0lx9HMYqeZCnLyOZRMuGAZXmP/e42UGCCAnMKjgE=",
		files:  "config/crd/bases/*.yaml",
	},
}

// downloadLimit bounds the download of a module.
const downloadLimit = 3 * time.Minute

// definitions holds the schemas of custom resources by "group/version kind".
type definitions map[string]*apiextensions.JSONSchemaProps

// loadDefinitions downloads the sources, which Go caches, and reads their definitions.
func loadDefinitions(out io.Writer) (definitions, error) {
	known := definitions{}
	for _, s := range sources {
		dir, err := s.download()
		if err != nil {
			return nil, err
		}
		files, err := filepath.Glob(filepath.Join(dir, s.files))
		if err != nil || len(files) == 0 {
			return nil, errors.Join(err, fmt.Errorf("%s has no %s", s.module, s.files))
		}
		for _, file := range files {
			if err := known.add(file); err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
		}
		fmt.Fprintln(out, "definitions of", s.module)
	}
	return known, nil
}

// download returns the directory of the module, if it has the hash that is expected.
func (s source) download() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), downloadLimit)
	defer cancel()
	command := exec.CommandContext(ctx, "go", "mod", "download", "-json", s.module)
	command.Stderr = os.Stderr
	output, err := command.Output()
	var answer struct{ Dir, Sum, Error string }
	if failed := json.Unmarshal(output, &answer); failed != nil {
		return "", fmt.Errorf("downloading %s: %w", s.module, errors.Join(err, failed))
	}
	switch {
	case err != nil:
		return "", fmt.Errorf("downloading %s: %s: %w", s.module, answer.Error, err)
	case answer.Sum != s.sum:
		return "", fmt.Errorf("%s has the hash %s, not %s", s.module, answer.Sum, s.sum)
	}
	return answer.Dir, nil
}

func (d definitions) add(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var crd v1.CustomResourceDefinition
	if err := yaml.Unmarshal(text, &crd); err != nil {
		return err
	}
	for _, version := range crd.Spec.Versions {
		if version.Schema == nil || version.Schema.OpenAPIV3Schema == nil {
			continue
		}
		var props apiextensions.JSONSchemaProps
		if err := v1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(version.Schema.OpenAPIV3Schema, &props, nil); err != nil {
			return err
		}
		d[crd.Spec.Group+"/"+version.Name+" "+crd.Spec.Names.Kind] = &props
	}
	return nil
}

// check checks an object as the API server does.
func (d definitions) check(h head, document []byte) error {
	props := d[h.APIVersion+" "+h.Kind]
	if props == nil {
		return errors.New("no operator of this project's examples defines this kind and version")
	}
	var object map[string]any
	if err := yaml.UnmarshalStrict(document, &object); err != nil {
		return err
	}
	structural, err := schema.NewStructural(props)
	if err != nil {
		return err
	}
	defaulting.Default(object, structural)
	validator, _, err := validation.NewSchemaValidator(props)
	if err != nil {
		return err
	}
	if wrong := validation.ValidateCustomResource(nil, object, validator); len(wrong) > 0 {
		return wrong.ToAggregate()
	}
	if rules := cel.NewValidator(structural, true, celconfig.PerCallLimit); rules != nil {
		wrong, _ := rules.Validate(context.Background(), nil, structural, object, nil, celconfig.RuntimeCELCostBudget)
		if len(wrong) > 0 {
			return wrong.ToAggregate()
		}
	}
	options := schema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true}
	if unknown := pruning.PruneWithOptions(object, structural, true, options); len(unknown) > 0 {
		return fmt.Errorf("unknown fields: %v", unknown)
	}
	return nil
}
