// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"maps"
	"net/http"
	"strings"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
)

const (
	jsonType        = "application/json"
	patchType       = "application/merge-patch+json"
	schemaReference = "#/components/schemas/"

	// namePattern is the pattern of GenericNameRegex, which path parameters must match. It spells
	// out \w, which means more letters in other dialects.
	namePattern = `^[0-9A-Za-z_]([0-9A-Za-z_.-]*[0-9A-Za-z_])?$`
)

// errorStatuses are the statuses of an error that any operation may return. A server returns 405
// where list=true is missing.
var errorStatuses = []int{
	http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusTooManyRequests,
	http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable,
}

// describeForServer completes the OpenAPI document in an answer to the help operation. A server
// loses every $ref of a plugin's document (hashicorp/vault#30714), so schemas are put where they
// are used.
func describeForServer(response *logical.Response) {
	if response == nil {
		return
	}
	document, ok := response.Data["openapi"].(*framework.OASDocument)
	if !ok {
		return
	}
	for _, path := range document.Paths {
		describeNames(path.Parameters)
		for _, operation := range []*framework.OASOperation{path.Get, path.Post, path.Patch, path.Delete} {
			if operation != nil {
				describeOperation(document.Components.Schemas, operation)
			}
		}
		describePatch(path.Patch)
	}
	describeTexts(document.Paths["/metrics"])
	clear(document.Components.Schemas)
}

func describeOperation(schemas map[string]*framework.OASSchema, operation *framework.OASOperation) {
	if operation.RequestBody != nil {
		operation.RequestBody.Content = inlined(schemas, operation.RequestBody.Content)
	}
	responses := maps.Clone(operation.Responses)
	for status, response := range responses {
		described := *response
		described.Content = inlined(schemas, response.Content)
		describeAnswers(described.Content)
		responses[status] = &described
	}
	if responses[http.StatusOK] == nil {
		responses[http.StatusOK] = &framework.OASResponse{Description: "Done, with warnings"}
	}
	for _, status := range errorStatuses {
		responses[status] = errorDescription(status)
	}
	operation.Responses = responses
}

// describePatch names the media type that servers require of a PATCH.
func describePatch(operation *framework.OASOperation) {
	if operation != nil && operation.RequestBody != nil {
		operation.RequestBody.Content = framework.OASContent{patchType: operation.RequestBody.Content[jsonType]}
	}
}

// inlined returns the content with the schemas that it refers to.
func inlined(schemas map[string]*framework.OASSchema, content framework.OASContent) framework.OASContent {
	result := maps.Clone(content)
	for mediaType, object := range content {
		if object.Schema == nil || object.Schema.Ref == "" {
			continue
		}
		schema := *schemas[strings.TrimPrefix(object.Schema.Ref, schemaReference)]
		result[mediaType] = &framework.OASMediaTypeObject{Schema: &schema}
	}
	return result
}

// describeAnswers describes durations as answers have them: in seconds. The framework describes
// them as texts, which only requests may hold.
func describeAnswers(content framework.OASContent) {
	for _, object := range content {
		if object.Schema == nil {
			continue
		}
		for _, property := range object.Schema.Properties {
			if property.Format == "duration" {
				property.Type, property.Format = "integer", "int64"
				property.Description += " In seconds."
			}
		}
	}
}

func describeNames(parameters []framework.OASParameter) {
	for _, parameter := range parameters {
		if parameter.In == "path" && parameter.Schema != nil {
			parameter.Schema.Pattern = namePattern
		}
	}
}

// describeTexts adds the formats of the metrics for Prometheus.
func describeTexts(metrics *framework.OASPathItem) {
	if metrics == nil {
		return
	}
	for _, mediaType := range []string{"text/plain", "application/openmetrics-text"} {
		metrics.Get.Responses[http.StatusOK].Content[mediaType] = &framework.OASMediaTypeObject{Schema: &framework.OASSchema{Type: "string"}}
	}
}

// errorDescription describes the body of every error.
func errorDescription(status int) *framework.OASResponse {
	return &framework.OASResponse{
		Description: http.StatusText(status),
		Content: framework.OASContent{jsonType: &framework.OASMediaTypeObject{Schema: &framework.OASSchema{
			Type: "object",
			Properties: map[string]*framework.OASSchema{"errors": {
				Type:        "array",
				Items:       &framework.OASSchema{Type: "string"},
				Description: "What went wrong. Empty if there is nothing at the path.",
			}},
			Required: []string{"errors"},
		}}},
	}
}
