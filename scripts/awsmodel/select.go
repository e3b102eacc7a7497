// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"fmt"
	"slices"

	"vault-plugin-secrets-cognito/internal/awsmodel"
)

// fullModel is botocore's model of a service, as far as it is used here.
type fullModel struct {
	Operations map[string]fullOperation
	Shapes     map[string]fullShape
}

type fullOperation struct {
	Input, Output reference
	Errors        []reference
}

type fullShape struct {
	Type      string
	Required  []string
	Members   map[string]reference
	Member    reference
	Key       reference
	Value     reference
	Enum      []string
	Pattern   string
	Min, Max  *int
	Sensitive bool
	// Document marks a structure of any members.
	Document bool
}

// reference names a shape.
type reference struct{ Shape string }

// selectOperations returns the named operations and every shape that they use.
func selectOperations(full *fullModel, names []string) (*awsmodel.Model, error) {
	selected := &awsmodel.Model{Operations: map[string]awsmodel.Operation{}, Shapes: map[string]*awsmodel.Shape{}}
	for _, name := range names {
		operation, ok := full.Operations[name]
		if !ok {
			return nil, fmt.Errorf("the model has no operation %q", name)
		}
		selected.Operations[name] = awsmodel.Operation{
			Input: operation.Input.Shape, Output: operation.Output.Shape, Errors: shapeNames(operation.Errors),
		}
		add(selected, full, operation.Input.Shape)
		add(selected, full, operation.Output.Shape)
	}
	return selected, nil
}

// shapeNames returns each name once: the model repeats some.
func shapeNames(references []reference) []string {
	var names []string
	for _, r := range references {
		names = append(names, r.Shape)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// add copies a shape and the shapes that it refers to.
func add(to *awsmodel.Model, full *fullModel, name string) {
	if name == "" || to.Shapes[name] != nil {
		return
	}
	shape := full.Shapes[name]
	members := map[string]string{}
	kind := shape.Type
	if shape.Document {
		kind = awsmodel.TypeDocument
	}
	to.Shapes[name] = &awsmodel.Shape{
		Type: kind, Required: shape.Required, Members: members,
		Element: shape.Member.Shape, Key: shape.Key.Shape, Value: shape.Value.Shape,
		Enum: shape.Enum, Pattern: shape.Pattern, Min: shape.Min, Max: shape.Max, Sensitive: shape.Sensitive,
	}
	for member, r := range shape.Members {
		members[member] = r.Shape
		add(to, full, r.Shape)
	}
	for _, r := range []reference{shape.Member, shape.Key, shape.Value} {
		add(to, full, r.Shape)
	}
}
