// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulatortest

import (
	"maps"
	"slices"
	"sync"
	"testing"

	"vault-plugin-secrets-cognito/internal/awsmodel"
	"vault-plugin-secrets-cognito/internal/emulator"
)

// Contract compares what goes to and comes from the emulator with the model that AWS publishes of
// Cognito: the requests of whoever is tested, and the emulator's own answers and errors. Its zero
// value is ready; give its Observe to emulator.Options.
type Contract struct {
	mu sync.Mutex
	// anyRequest is set for tests that send invalid requests on purpose.
	anyRequest bool
	violations map[string]bool
}

// AllowInvalidRequests is for tests that have AWS refuse what it does not allow. Answers are still
// checked.
func (c *Contract) AllowInvalidRequests() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.anyRequest = true
}

// Observe checks one call. Requests of Admin are the test's own and are not checked.
func (c *Contract) Observe(x emulator.Exchange) {
	model := awsmodel.Cognito()
	var found []awsmodel.Violation
	if x.AccessKey != adminAccessKey && !c.allowsAnyRequest() {
		found = model.CheckRequest(x.Operation, x.Request)
	}
	if x.Code == "" {
		found = append(found, model.CheckAnswer(x.Operation, x.Answer)...)
	} else {
		found = append(found, model.CheckError(x.Operation, x.Code)...)
	}
	c.add(found)
}

func (c *Contract) allowsAnyRequest() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.anyRequest
}

func (c *Contract) add(found []awsmodel.Violation) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, violation := range found {
		if c.violations == nil {
			c.violations = map[string]bool{}
		}
		c.violations[violation.String()] = true
	}
}

// Verify fails the test for each violation, once.
func (c *Contract) Verify(t *testing.T) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, violation := range slices.Sorted(maps.Keys(c.violations)) {
		t.Errorf("AWS's model of Cognito does not allow: %s", violation)
	}
}
