// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package awsmodel

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

// Violation is a value that AWS's model does not allow.
type Violation struct {
	Operation string
	// Member is the path of the value, such as "UserAttributes[0].Name".
	Member string
	// Rule is what the model demands. It holds no value of a request.
	Rule string
}

// String returns the operation, the member and the rule.
func (v Violation) String() string {
	return fmt.Sprintf("%s: %s %s", v.Operation, v.Member, v.Rule)
}

// The paths of members begin with one of these.
const requestBody, answerBody = "request", "answer"

// CheckRequest returns what a request's JSON body violates.
func (m *Model) CheckRequest(operation string, body []byte) []Violation {
	return m.checkBody(operation, requestBody, body, func(o Operation) string { return o.Input })
}

// CheckAnswer returns what the JSON body of a successful answer violates.
func (m *Model) CheckAnswer(operation string, body []byte) []Violation {
	return m.checkBody(operation, answerBody, body, func(o Operation) string { return o.Output })
}

// commonErrors can come from every operation, signed or not, without being in its list.
// https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/CommonErrors.html
var commonErrors = []string{
	"AccessDeniedException", "ExpiredTokenException", "IncompleteSignature", "InternalFailure",
	"InvalidSignatureException", "MissingAuthenticationTokenException", "NotAuthorized", "RequestExpired",
	"SerializationException", "ServiceUnavailable", "ThrottlingException", "UnknownOperationException",
	"UnrecognizedClientException", "ValidationError",
}

// CheckError returns a violation if the operation does not document the error.
func (m *Model) CheckError(operation, code string) []Violation {
	known, ok := m.Operations[operation]
	if !ok || slices.Contains(slices.Concat(known.Errors, commonErrors, furtherErrors[operation]), code) {
		return nil
	}
	return []Violation{{operation, "error", fmt.Sprintf("%q is not an error of this operation", code)}}
}

func (m *Model) checkBody(operation, what string, body []byte, shapeOf func(Operation) string) []Violation {
	c := &checker{model: m, operation: operation, ofAnswer: what == answerBody}
	known, ok := m.Operations[operation]
	if !ok {
		c.violate(what, "is of an operation that is not in the model: "+
			"add it to internal/awsmodel/operations.txt and run scripts/aws-model.sh")
		return c.found
	}
	value, err := decode(body)
	if err != nil {
		c.violate(what, "is not JSON")
		return c.found
	}
	c.check(what, shapeOf(known), value)
	return c.found
}

// decode decodes a body. An empty one means that there is nothing in it.
func decode(body []byte) (any, error) {
	if len(bytes.TrimSpace(body)) == 0 {
		return map[string]any{}, nil
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	var value any
	err := decoder.Decode(&value)
	return value, err
}

// checker collects the violations of one body.
type checker struct {
	model     *Model
	operation string
	ofAnswer  bool
	found     []Violation
}

func (c *checker) violate(member, format string, args ...any) {
	c.found = append(c.found, Violation{c.operation, member, fmt.Sprintf(format, args...)})
}

// TypeDocument is the type of shapes that hold any JSON object.
const TypeDocument = "document"

// noShape describes the body of an operation that has none.
var noShape = &Shape{Type: "structure"}

func (c *checker) check(member, shapeName string, value any) {
	shape := noShape
	if shapeName != "" {
		shape = c.model.Shapes[shapeName]
	}
	switch shape.Type {
	case "structure":
		c.checkStructure(member, shape, value)
	case "list":
		c.checkList(member, shape, value)
	case "map":
		c.checkMap(member, shape, value)
	case "string", "blob":
		c.checkString(member, shapeName, value)
	case "integer", "long", "timestamp":
		c.checkNumber(member, shape, value)
	case TypeDocument:
		if _, ok := value.(map[string]any); !ok {
			c.violate(member, "must be an object")
		}
	case "boolean":
		if _, ok := value.(bool); !ok {
			c.violate(member, "must be true or false")
		}
	default:
		c.violate(member, "has the type %q, which this package does not know", shape.Type)
	}
}

// checkStructure treats a member that is null as absent, as AWS does.
func (c *checker) checkStructure(path string, shape *Shape, value any) {
	members, ok := value.(map[string]any)
	if !ok {
		c.violate(path, "must be an object")
		return
	}
	for _, name := range shape.Required {
		if members[name] == nil {
			c.violate(join(path, name), "is required")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		switch of, ok := shape.Members[name]; {
		case !ok:
			c.violate(join(path, name), "is not a member of the model")
		case members[name] != nil:
			c.check(join(path, name), of, members[name])
		}
	}
}

func join(path, name string) string {
	return path + "." + name
}

func (c *checker) checkList(path string, shape *Shape, value any) {
	elements, ok := value.([]any)
	if !ok {
		c.violate(path, "must be a list")
		return
	}
	c.checkSize(path, shape, len(elements), "size")
	for i, element := range elements {
		c.check(fmt.Sprintf("%s[%d]", path, i), shape.Element, element)
	}
}

func (c *checker) checkMap(path string, shape *Shape, value any) {
	entries, ok := value.(map[string]any)
	if !ok {
		c.violate(path, "must be an object")
		return
	}
	c.checkSize(path, shape, len(entries), "size")
	for _, key := range slices.Sorted(maps.Keys(entries)) {
		c.check(path+"'s key", shape.Key, key)
		c.check(join(path, key), shape.Value, entries[key])
	}
}

func (c *checker) checkString(path, shapeName string, value any) {
	text, ok := value.(string)
	if !ok {
		c.violate(path, "must be a string")
		return
	}
	shape := c.model.Shapes[shapeName]
	if lax[shapeName] || c.ofAnswer && laxInAnswers[shapeName] {
		return
	}
	c.checkSize(path, shape, utf8.RuneCountInString(text), "length")
	if shape.Pattern != "" && !compiled(shape.Pattern).MatchString(text) {
		c.violate(path, "must match the pattern %s", shape.Pattern)
	}
	if allowed := slices.Concat(shape.Enum, furtherValues[shapeName]); len(allowed) > 0 && !slices.Contains(allowed, text) {
		c.violate(path, "must be one of %s", strings.Join(allowed, ", "))
	}
}

func (c *checker) checkNumber(path string, shape *Shape, value any) {
	number, ok := value.(json.Number)
	if !ok {
		c.violate(path, "must be a number")
		return
	}
	if shape.Type == "timestamp" {
		return
	}
	whole, err := number.Int64()
	if err != nil {
		c.violate(path, "must be a whole number")
		return
	}
	c.checkSize(path, shape, int(whole), "value")
}

func (c *checker) checkSize(path string, shape *Shape, size int, measure string) {
	if shape.Min != nil && size < *shape.Min {
		c.violate(path, "must have a %s of at least %d, has %d", measure, *shape.Min, size)
	}
	if shape.Max != nil && size > *shape.Max {
		c.violate(path, "must have a %s of at most %d, has %d", measure, *shape.Max, size)
	}
}

// equivalents replaces the patterns that Go's regular expressions cannot have: this one looks
// behind.
var equivalents = map[string]string{
	`^[0-9A-Za-z\.\-_]*(?<!\.)$`: `(?:[0-9A-Za-z.\-_]*[0-9A-Za-z\-_])?`,
}

// patterns caches compiled patterns.
var patterns sync.Map

// compiled returns a pattern of the model as AWS applies it: to the whole value.
func compiled(pattern string) *regexp.Regexp {
	if known, ok := patterns.Load(pattern); ok {
		return known.(*regexp.Regexp)
	}
	expression := pattern
	if other, ok := equivalents[pattern]; ok {
		expression = other
	}
	re := regexp.MustCompile(`^(?:` + expression + `)$`)
	patterns.Store(pattern, re)
	return re
}
