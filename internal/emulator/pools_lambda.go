// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"fmt"
	"slices"

	"vault-plugin-secrets-cognito/internal/emulator/control"
)

// The Lambda triggers that are invoked; LambdaConfig may name others.
// https://docs.aws.amazon.com/cognito/latest/developerguide/cognito-user-pools-working-with-lambda-triggers.html
const (
	triggerPreSignUp          = "PreSignUp"
	triggerPreAuthentication  = "PreAuthentication"
	triggerPostAuthentication = "PostAuthentication"
	triggerPreTokenGeneration = "PreTokenGeneration"
)

// SetLambda sets what a Lambda function does.
func (s *Server) SetLambda(function control.Lambda) error {
	outcomes := []string{control.LambdaSucceeds, control.LambdaThrows, control.LambdaAnswersRubbish, control.LambdaTimesOut}
	switch {
	case function.ARN == "":
		return fmt.Errorf("arn of a Lambda function is required: use the one in LambdaConfig")
	case !slices.Contains(outcomes, function.Outcome):
		return fmt.Errorf("outcome %q of a Lambda function is unknown: use one of %q", function.Outcome, outcomes)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.lambdas[function.ARN] = function
	return nil
}

// invoke calls the functions of the pool's triggers. It stops at the first that fails.
func (r *request) invoke(p *pool, triggers ...string) error {
	for _, trigger := range triggers {
		arn, _ := p.settings.LambdaConfig[trigger].(string)
		if arn == "" {
			continue
		}
		if err := lambda(r.lambdas[arn]).run(trigger); err != nil {
			return err
		}
	}
	return nil
}

// lambda is a function; one that the control API does not know does not exist.
type lambda control.Lambda

// run returns the exceptions and texts that people report from AWS. The one of a time-out is a
// guess.
func (l lambda) run(trigger string) error {
	switch l.Outcome {
	case control.LambdaSucceeds:
		return nil
	case control.LambdaThrows:
		return newException("UserLambdaValidationException", "%s failed with error %s.", trigger, l.Message)
	case control.LambdaAnswersRubbish:
		return newException("InvalidLambdaResponseException", "Unrecognizable lambda output")
	case control.LambdaTimesOut:
		return newException("UnexpectedLambdaException", "%s invocation failed due to error TimeoutException.", trigger)
	default:
		return newException("UnexpectedLambdaException", "%s invocation failed due to configuration.", trigger)
	}
}
