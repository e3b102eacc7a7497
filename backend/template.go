// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"regexp"
	"strings"
	texttemplate "text/template"
	"time"
	"unicode/utf8"

	"github.com/hashicorp/go-secure-stdlib/base62"
	"github.com/hashicorp/vault/sdk/helper/template"
)

const (
	usernameMax  = 128  // Cognito's limit
	attributeMax = 2048 // Cognito's limit

	// templateMax bounds the text of a template, randomMax the result of one call of random, and
	// partMax the result of every other function. Without a bound on each call, a template of a
	// hundred calls could double its result a hundred times.
	templateMax = 1024
	randomMax   = 128
	partMax     = 4096

	// randomCharsMin is how many characters of a username must be random. With fewer, a username
	// could be that of an existing user, and the engine could delete the wrong one.
	randomCharsMin = 7
)

var (
	// usernamePattern is Cognito's: no spaces.
	usernamePattern = regexp.MustCompile(`^[\pL\pM\pS\pN\pP]{1,128}$`)
	// loops matches the actions that could keep a template from ending.
	loops = regexp.MustCompile(`{{-?\s*(range|define|template|block)\b`)
	// wideFormat matches a width or precision of four digits or more, or one that is an argument.
	wideFormat = regexp.MustCompile(`%[^a-zA-Z%]*([0-9]{4}|\*)`)
)

// randomness is the source of the random functions of templates.
type randomness struct {
	letters, digits func(length int) (string, error)
	// fixed replaces the other functions whose result differs from call to call.
	fixed map[string]any
}

func trueRandomness() randomness {
	return randomness{letters: base62.Random, digits: randomDigits}
}

// fixedRandomness fills everything random with one character and stops the clock. The results for
// two characters differ exactly where a template is random.
func fixedRandomness(char string) randomness {
	fill := func(length int) (string, error) { return strings.Repeat(char, length), nil }
	now := time.Unix(1_700_000_000, 0).UTC()
	return randomness{letters: fill, digits: fill, fixed: map[string]any{
		"uuid":             func() string { return strings.Repeat(char, 36) },
		"unix_time":        func() string { return fmt.Sprint(now.Unix()) },
		"unix_time_millis": func() string { return fmt.Sprint(now.UnixMilli()) },
		"timestamp":        func(layout string) (string, error) { return bounded(now.Format(layout)) },
	}}
}

func randomDigits(length int) (string, error) {
	digits := make([]byte, length)
	for i := range digits {
		n, err := rand.Int(rand.Reader, big.NewInt(10))
		if err != nil {
			return "", fmt.Errorf("reading random numbers: %w", err)
		}
		digits[i] = "0123456789"[n.Int64()]
	}
	return string(digits), nil
}

// render executes a template with the SDK's functions, random_digits and identity templates.
func render(text string, data templateData, r randomness) (string, error) {
	if len(text) > templateMax {
		return "", fmt.Errorf("it is longer than %d characters", templateMax)
	}
	if loops.MatchString(text) {
		return "", errors.New("range, define, template and block are not allowed in it")
	}
	text, identity, err := data.resolveIdentity(text)
	if err != nil {
		return "", err
	}
	options := []template.Opt{
		template.Template(text),
		template.Function("random", boundedRandom(r.letters)),
		template.Function("random_digits", boundedRandom(r.digits)),
	}
	for _, functions := range []map[string]any{boundedFunctions, r.fixed} {
		for name, function := range functions {
			options = append(options, template.Function(name, function))
		}
	}
	parsed, err := template.NewTemplate(options...)
	if err != nil {
		return "", err
	}
	return parsed.Generate(renderData{data, identity})
}

// boundedFunctions replace the functions whose result may be longer than their arguments.
var boundedFunctions = map[string]any{
	"print":     func(values ...any) (string, error) { return bounded(fmt.Sprint(values...)) },
	"println":   func(values ...any) (string, error) { return bounded(fmt.Sprintln(values...)) },
	"printf":    boundedPrintf,
	"html":      func(values ...any) (string, error) { return bounded(texttemplate.HTMLEscaper(values...)) },
	"js":        func(values ...any) (string, error) { return bounded(texttemplate.JSEscaper(values...)) },
	"urlquery":  func(values ...any) (string, error) { return bounded(texttemplate.URLQueryEscaper(values...)) },
	"replace":   func(find, with, text string) (string, error) { return bounded(strings.ReplaceAll(text, find, with)) },
	"base64":    func(text string) (string, error) { return bounded(base64.StdEncoding.EncodeToString([]byte(text))) },
	"timestamp": func(layout string) (string, error) { return bounded(time.Now().Format(layout)) },
}

// bounded refuses the result of a function that is too long. With arguments that were bounded
// themselves, no result needs more than some 16 MiB before it is refused.
func bounded(result string) (string, error) {
	if len(result) > partMax {
		return "", fmt.Errorf("a function in it returns more than %d characters", partMax)
	}
	return result, nil
}

// boundedPrintf also refuses widths that would fill the memory.
func boundedPrintf(format string, values ...any) (string, error) {
	if wideFormat.MatchString(format) {
		return "", errors.New("a width of 1000 characters or more is not allowed in printf")
	}
	return bounded(fmt.Sprintf(format, values...))
}

func boundedRandom(random func(int) (string, error)) func(int) (string, error) {
	return func(length int) (string, error) {
		if length < 0 || length > randomMax {
			return "", fmt.Errorf("%d random characters are not allowed: it must be up to %d", length, randomMax)
		}
		return random(length)
	}
}

// renderUsername returns a username, or an error if it is invalid in Cognito or not guaranteed to
// be unique. Values of the caller are made safe first.
func renderUsername(text string, data templateData) (string, error) {
	data = data.safe()
	if err := checkRandomness(text, data); err != nil {
		return "", err
	}
	username, err := render(text, data, data.randomness())
	switch {
	case err != nil:
		return "", err
	case len(username) > usernameMax:
		return "", fmt.Errorf("the username that it renders is longer than the %d characters that Cognito allows", usernameMax)
	case !isUsername(username):
		return "", errors.New("the username that it renders is empty or holds a space or another character that Cognito refuses")
	}
	return username, nil
}

// isUsername reports whether Cognito accepts a username. In JSON, what is no UTF-8 turns into the
// replacement character: the name of another user.
func isUsername(name string) bool {
	return usernamePattern.MatchString(name) && !strings.ContainsRune(name, utf8.RuneError)
}

// checkRandomness requires that enough characters of a username come from random, random_digits or
// uuid and are not cut off.
func checkRandomness(text string, data templateData) error {
	one, err := render(text, data, fixedRandomness("7"))
	if err != nil {
		return err
	}
	other, err := render(text, data, fixedRandomness("8"))
	if err != nil {
		return err
	}
	if n := differences(one, other); n < randomCharsMin {
		return fmt.Errorf("only %d characters of the username that it renders are random: at least %d must be, for example from {{random 20}}, and no truncate may cut them off", n, randomCharsMin)
	}
	return nil
}

func differences(a, b string) int {
	n := 0
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			n++
		}
	}
	return n
}

func renderAttribute(text string, data templateData) (string, error) {
	if text == "" {
		return "", nil
	}
	value, err := render(text, data, data.randomness())
	switch {
	case err != nil:
		return "", err
	case len(value) > attributeMax:
		return "", fmt.Errorf("the value that it renders is longer than the %d characters that Cognito allows", attributeMax)
	case !utf8.ValidString(value):
		return "", errors.New("the value that it renders is not valid UTF-8")
	}
	return value, nil
}
