// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

// Package awsmodel checks requests to Amazon Cognito, and answers that claim to be Cognito's,
// against the model that AWS publishes of its API: required members, types, lengths, patterns,
// enums and the errors of each operation. It is for tests.
//
// The model is data in the directory model, with its source, version and licence in it.
// scripts/aws-model.sh renews it; operations.txt names the operations that it takes.
package awsmodel

import (
	_ "embed" // for the model
	"encoding/json"
	"maps"
	"slices"
	"sync"
)

//go:embed model/cognito-idp.json
var cognitoModel []byte

// Model is AWS's description of an API.
type Model struct {
	// Source says where the model comes from and under which licence.
	Source     string               `json:"source"`
	Operations map[string]Operation `json:"operations"`
	Shapes     map[string]*Shape    `json:"shapes"`
}

// Operation names the shapes of an operation's request and answer, and the errors that it
// documents.
type Operation struct {
	Input  string   `json:"input,omitempty"`
	Output string   `json:"output,omitempty"`
	Errors []string `json:"errors,omitempty"`
}

// Shape describes a value. Min and Max bound a number, the characters of a string and the elements
// of a list or map.
type Shape struct {
	Type      string            `json:"type"`
	Required  []string          `json:"required,omitempty"`
	Members   map[string]string `json:"members,omitempty"`
	Element   string            `json:"element,omitempty"`
	Key       string            `json:"key,omitempty"`
	Value     string            `json:"value,omitempty"`
	Enum      []string          `json:"enum,omitempty"`
	Pattern   string            `json:"pattern,omitempty"`
	Min       *int              `json:"min,omitempty"`
	Max       *int              `json:"max,omitempty"`
	Sensitive bool              `json:"sensitive,omitempty"`
}

// Cognito returns the model of Amazon Cognito user pools.
var Cognito = sync.OnceValue(func() *Model {
	model := &Model{}
	if err := json.Unmarshal(cognitoModel, model); err != nil {
		panic("reading the model of Cognito: " + err.Error())
	}
	return model
})

// OperationNames returns the names of all operations, sorted.
func (m *Model) OperationNames() []string {
	return slices.Sorted(maps.Keys(m.Operations))
}
