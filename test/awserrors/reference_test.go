// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package awserrors_test

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/awsmodel"
	"vault-plugin-secrets-cognito/internal/emulator/control"
)

var update = flag.Bool("update", false, "write the generated part of docs/errors.md")

const (
	reference = "../../docs/errors.md"
	// fromAWS stands for AWS's own message.
	fromAWS = "…"
)

// effect is what the engine does about an error.
type effect struct {
	retried bool
	status  int
	// warning is set if the request succeeds and the text is a warning.
	warning bool
	// adds is what the answer says besides AWS's own message.
	adds string
	// undoes names the calls that undo what was done before.
	undoes string
	// outcome is that of the flow.
	outcome string
}

// observation is the effect of one error in one flow.
type observation struct {
	operation, code, flow string
	effect                effect
}

// TestErrorReference lets each call of each flow answer each error that AWS documents for its
// operation, once without and once with retries, and compares what the engine does with
// docs/errors.md.
func TestErrorReference(t *testing.T) {
	seen := &observations{}
	t.Run("flows", func(t *testing.T) {
		for _, f := range flows() {
			t.Run(f.name, func(t *testing.T) {
				t.Parallel()
				f.observe(t, seen)
			})
		}
	})
	if !t.Failed() {
		compare(t, document(seen.all))
	}
}

// observations collects what parallel tests find.
type observations struct {
	mu  sync.Mutex
	all []observation
}

func (o *observations) add(found observation) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.all = append(o.all, found)
}

// observe injects every error of every operation that the flow calls.
func (f flow) observe(t *testing.T, seen *observations) {
	t.Helper()
	learnt := f.start(t, 0)
	ok := f.run(learnt)
	require.False(t, ok.failed(), "the flow fails without any fault: %s", ok.text)
	usual := learnt.operations()
	for _, operation := range distinct(usual) {
		if slices.Contains(f.others, operation) {
			continue
		}
		for _, code := range slices.Concat(awsmodel.Cognito().Operations[operation].Errors, f.further[operation]) {
			t.Run(operation+" answers "+code, func(t *testing.T) {
				t.Parallel()
				seen.add(observation{operation, code, f.name, f.effectOf(t, operation, code, usual)})
			})
		}
	}
}

// start prepares a mount for the flow, and forgets the calls so far.
func (f flow) start(t *testing.T, maxRetries int) *mount {
	t.Helper()
	m := newMount(t, maxRetries)
	if f.prepare != nil {
		f.prepare(m)
	}
	require.NoError(t, m.Control.ResetCalls(t.Context()))
	return m
}

// effectOf runs the flow with retries, to see whether they help, and without.
func (f flow) effectOf(t *testing.T, operation, code string, usual []string) effect {
	t.Helper()
	e := effect{retried: f.isRetried(t, operation, code, usual)}
	m := f.start(t, 0)
	m.Fault(control.Fault{Operation: operation, Kind: control.FaultError, Code: code, Message: fromAWS, Times: f.failures()})
	got := f.run(m)
	e.status, e.warning, e.adds = got.status, got.warnings, added(m.maskIDs(got.text), code)
	e.undoes = undone(operation, usual, m.operations())
	m.Heal()
	if f.outcome != nil {
		e.outcome = f.outcome(m)
	}
	return e
}

// failures returns how many calls fail; 0 means all. A check makes the same call more than once at
// a time, and which of them would fail is chance.
func (f flow) failures() int {
	if strings.HasPrefix(f.name, "`check/`") || strings.HasPrefix(f.name, "check/") {
		return 0
	}
	return 1
}

// isRetried reports whether a call that failed is repeated at once.
func (f flow) isRetried(t *testing.T, operation, code string, usual []string) bool {
	t.Helper()
	m := f.start(t, 1)
	m.Fault(control.Fault{Operation: operation, Kind: control.FaultError, Code: code, Message: fromAWS, Times: 1})
	got := f.run(m)
	return !got.failed() && !got.warnings && count(m.operations(), operation) > count(usual, operation)
}

var undoing = []string{"AdminDeleteUser", "AdminDisableUser", "DeleteUserPoolClient", "AdminRemoveUserFromGroup", "DeleteUserPoolClientSecret", "DeleteAccessKey"}

// undone returns the calls that undo something and that the flow does not make when all is well.
// Other calls of the operation that failed are retries.
func undone(failed string, usual, calls []string) string {
	var names []string
	for _, name := range undoing {
		if name != failed && count(calls, name) > count(usual, name) {
			names = append(names, "`"+name+"`")
		}
	}
	return strings.Join(names, ", ")
}

func count(names []string, name string) int {
	n := 0
	for _, other := range names {
		if other == name {
			n++
		}
	}
	return n
}

func distinct(names []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(names)))
}

var quoted = regexp.MustCompile(`"[^"]*"`)

// added returns what the engine adds to AWS's code and message.
func added(text, code string) string {
	_, after, found := strings.Cut(text, code+": ")
	if !found {
		after = text
	}
	after = quoted.ReplaceAllString(after, "…")
	if after == fromAWS {
		return ""
	}
	return after
}

// document returns the generated part of the reference.
func document(all []observation) string {
	var b strings.Builder
	byOperation := group(all, func(o observation) string { return o.operation })
	for _, operation := range slices.Sorted(maps.Keys(byOperation)) {
		fmt.Fprintf(&b, "## %s\n\n", operation)
		callers := slices.Sorted(maps.Keys(group(byOperation[operation], func(o observation) string { return o.flow })))
		fmt.Fprintf(&b, "Called by: %s.\n\n", strings.Join(callers, "; "))
		b.WriteString("| error | flow | answer | retried | undoes | the answer adds |\n|---|---|---|---|---|---|\n")
		for _, row := range rows(byOperation[operation], len(callers)) {
			b.WriteString("| " + strings.Join(row, " | ") + " |\n")
		}
		b.WriteString("\n")
	}
	return b.String()
}

// rows merges errors that have the same effect in the same flows, of which there are so many.
func rows(observations []observation, flows int) [][]string {
	type line struct {
		flows []string
		effect
	}
	var table [][]string
	codesOf := map[string][]string{}
	linesOf := map[string][]line{}
	for code, ofCode := range group(observations, func(o observation) string { return o.code }) {
		byEffect := map[effect][]string{}
		for _, o := range ofCode {
			byEffect[o.effect] = append(byEffect[o.effect], o.flow)
		}
		var lines []line
		for e, names := range byEffect {
			slices.Sort(names)
			lines = append(lines, line{names, e})
		}
		slices.SortFunc(lines, func(a, b line) int { return cmp.Compare(strings.Join(a.flows, ","), strings.Join(b.flows, ",")) })
		key := fmt.Sprint(lines)
		codesOf[key] = append(codesOf[key], code)
		linesOf[key] = lines
	}
	for key, codes := range codesOf {
		slices.Sort(codes)
		for _, l := range linesOf[key] {
			names := strings.Join(l.flows, "; ")
			if len(l.flows) == flows {
				names = "all"
			}
			table = append(table, []string{
				"`" + strings.Join(codes, "`, `") + "`", names, l.answer(), yes(l.retried), cmp.Or(l.undoes, "–"), cmp.Or(l.adds, "–"),
			})
		}
	}
	slices.SortFunc(table, func(a, b []string) int { return cmp.Compare(strings.Join(a, "|"), strings.Join(b, "|")) })
	return table
}

func (e effect) answer() string {
	text := fmt.Sprint(e.status)
	if e.warning {
		text += " with a warning"
	}
	if e.outcome != "" {
		text += "; " + e.outcome
	}
	return text
}

func yes(is bool) string {
	if is {
		return "yes"
	}
	return "no"
}

func group(all []observation, key func(observation) string) map[string][]observation {
	groups := map[string][]observation{}
	for _, o := range all {
		groups[key(o)] = append(groups[key(o)], o)
	}
	return groups
}

const generatedMark = "<!-- generated by TestErrorReference: go generate ./test/awserrors -->\n"

func compare(t *testing.T, generated string) {
	t.Helper()
	text, err := os.ReadFile(reference)
	require.NoError(t, err)
	prose, present, found := strings.Cut(string(text), generatedMark)
	require.True(t, found, "%s has no line %s", reference, generatedMark)
	if *update {
		require.NoError(t, os.WriteFile(reference, []byte(prose+generatedMark+"\n"+generated), 0o600))
		return
	}
	requireSameLines(t, strings.TrimSpace(present), strings.TrimSpace(generated))
}

// requireSameLines names the lines that differ, because the whole is too long to read.
func requireSameLines(t *testing.T, documented, observed string) {
	t.Helper()
	before, after := strings.Split(documented, "\n"), strings.Split(observed, "\n")
	for _, line := range before {
		if !slices.Contains(after, line) {
			t.Errorf("documented but not so: %s", line)
		}
	}
	for _, line := range after {
		if !slices.Contains(before, line) {
			t.Errorf("not documented: %s", line)
		}
	}
	if t.Failed() || documented != observed {
		t.Error("docs/errors.md does not say what the engine does: run go generate ./test/awserrors and read what changed")
	}
}
