// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

// Package check finds what would stop a role from working.
//
// A subject (User, Machine, Issuer, Member, Library, StaticPassword, StaticSecret) is plain values:
// what a role says and what it would issue. Its Run method reads the user pool and returns
// findings, in a fixed order. A check changes nothing at Cognito and signs in no user. A finding
// holds no secret.
//
// The package imports internal/cognito only; it knows neither Vault nor how roles are stored.
package check

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"vault-plugin-secrets-cognito/internal/cognito"
)

// Statuses of findings.
const (
	OK      = "ok"
	Warn    = "warn"
	Unknown = "unknown"
	Fail    = "fail"
)

// severity orders the statuses. An unknown may hide a failure, so it is worse than a warning.
var severity = []string{OK, Warn, Unknown, Fail}

// Finding is the result of one comparison.
type Finding struct {
	// Name is what was compared, such as app_client.
	Name string
	// Status is one of the constants above.
	Status string
	// Detail and Remedy are sentences; Remedy may be empty.
	Detail, Remedy string

	// skipped is set when another finding explains this one.
	skipped bool
}

// Passed returns a finding without a problem.
func Passed(name, detail string) Finding { return Finding{Name: name, Status: OK, Detail: detail} }

// Failed returns a finding that stops the role from working.
func Failed(name, detail, remedy string) Finding {
	return Finding{Name: name, Status: Fail, Detail: detail, Remedy: remedy}
}

// Warned returns a finding that may not be intended.
func Warned(name, detail, remedy string) Finding {
	return Finding{Name: name, Status: Warn, Detail: detail, Remedy: remedy}
}

func unknown(name, detail, remedy string) Finding {
	return Finding{Name: name, Status: Unknown, Detail: detail, Remedy: remedy}
}

// skipped returns a finding for a comparison that another finding makes pointless.
func skipped(name, because string) Finding {
	return Finding{Name: name, Status: Unknown, Detail: fmt.Sprintf("Skipped because of %s.", because), skipped: true}
}

// lookupFailed returns a finding for a value that could not be read. It is a failure only if AWS
// said that the object does not exist or that the request is invalid. The remedy is for a wrong
// name: other refusals say themselves what they are about.
func lookupFailed(name string, err error, remedy string) Finding {
	detail := sentence(err.Error())
	if action := cognito.DeniedAction(err); action != "" {
		return unknown(name, detail, fmt.Sprintf("Allow %s to the engine's IAM identity.", action))
	}
	switch cognito.KindOf(err) {
	case cognito.KindInvalid, cognito.KindNotFound:
		if !cognito.MayBeWrongName(err) {
			remedy = ""
		}
		return Failed(name, detail, remedy)
	case cognito.KindThrottled:
		if strings.Contains(detail, "try again") {
			return unknown(name, detail, "")
		}
	}
	return unknown(name, detail, "Try again later.")
}

// sentence ends a text with a full stop, unless it has an end.
func sentence(text string) string {
	if strings.HasSuffix(text, ".") || strings.HasSuffix(text, "…") {
		return text
	}
	return text + "."
}

// Worst returns the most severe status of the findings, or OK if there are none.
func Worst(findings []Finding) string {
	status := OK
	for _, f := range findings {
		if compareSeverity(f.Status, status) > 0 {
			status = f.Status
		}
	}
	return status
}

// Problems returns one sentence per finding that is not OK, the most severe first. It leaves out
// findings that were skipped because of another one.
func Problems(findings []Finding) []string {
	bad := slices.DeleteFunc(slices.Clone(findings), func(f Finding) bool { return f.Status == OK || f.skipped })
	slices.SortStableFunc(bad, func(a, b Finding) int { return compareSeverity(b.Status, a.Status) })
	problems := make([]string, 0, len(bad))
	for _, f := range bad {
		problems = append(problems, strings.TrimSpace(fmt.Sprintf("%s (%s): %s %s", f.Name, f.Status, f.Detail, f.Remedy)))
	}
	return problems
}

// FirstFailure returns the first finding that is a failure, and false if there is none.
func FirstFailure(findings []Finding) (Finding, bool) {
	i := slices.IndexFunc(findings, func(f Finding) bool { return f.Status == Fail })
	if i < 0 {
		return Finding{}, false
	}
	return findings[i], true
}

func compareSeverity(a, b string) int {
	return cmp.Compare(slices.Index(severity, a), slices.Index(severity, b))
}

// Result is a value, or the error because of which it is not known.
type Result[T any] struct {
	Value T
	Err   error
}

// ResultOf returns the result of a function that returns a value and an error.
func ResultOf[T any](value T, err error) Result[T] { return Result[T]{value, err} }

// errNotRead is the error of a Result that no check asked for.
var errNotRead = errors.New("not read")

func notRead[T any]() Result[T] { return Result[T]{Err: errNotRead} }

func (r Result[T]) known() bool { return r.Err == nil }

func quoted(names []string) string {
	quotes := make([]string, 0, len(names))
	for _, name := range names {
		quotes = append(quotes, fmt.Sprintf("%q", name))
	}
	return strings.Join(quotes, ", ")
}
