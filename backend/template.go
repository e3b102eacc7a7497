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
	usernameMax  = 128  // Cognito's limits
	attributeMax = 2048 //

	// templateMax bounds a template, randomMax what one call of random makes, and
	// partMax the result of every other function: a hundred calls, each of which
	// doubles what the one before made, fit into a template.
	templateMax = 1024
	randomMax   = 128
	partMax     = 4096

	// randomCharsMin is how many characters of a username must be random. With
	// fewer the engine could meet a user that somebody else made, and would not
	// always know it from its own.
	randomCharsMin = 7
)

// usernamePattern is Cognito's: no spaces.
var usernamePattern = regexp.MustCompile(`^[\pL\pM\pS\pN\pP]{1,128}$`)

// looping are the actions of a template that could keep it from ending.
var looping = regexp.MustCompile(`{{-?\s*(range|define|template|block)\b`)

// wideFormat is a width or precision of more than three digits, or one that is
// an argument.
var wideFormat = regexp.MustCompile(`%[^a-zA-Z%]*([0-9]{4}|\*)`)

// templateData is what templates see.
type templateData struct {
	RoleName string
	// DisplayName is that of the token that asks, such as "ldap-anna".
	DisplayName string
	MountPoint  string
	UserPoolID  string
	// Username is empty in the template of the username itself.
	Username string
}

// trialData tries a template before anybody asks for it.
func trialData(roleName, mountPoint, userPoolID string) templateData {
	return templateData{RoleName: roleName, DisplayName: "token-trial", MountPoint: mountPoint, UserPoolID: userPoolID}
}

// randomness is where the random functions of a template get their characters.
type randomness struct {
	random, digits func(length int) (string, error)
	// trial, when set, takes the place of what else differs from run to run.
	trial map[string]any
}

// trueRandomness is for users that are made.
func trueRandomness() randomness {
	return randomness{random: base62.Random, digits: randomDigits}
}

// marked fills everything random with one character and stops the clock, so
// that two runs differ just where the result is random.
func marked(mark string) randomness {
	fill := func(length int) (string, error) { return strings.Repeat(mark, length), nil }
	then := time.Unix(1_700_000_000, 0).UTC()
	return randomness{random: fill, digits: fill, trial: map[string]any{
		"uuid":             func() string { return strings.Repeat(mark, 36) },
		"unix_time":        func() string { return fmt.Sprint(then.Unix()) },
		"unix_time_millis": func() string { return fmt.Sprint(then.UnixMilli()) },
		"timestamp":        shortTime(func() time.Time { return then }),
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

// render runs a template of the SDK's kind, which also knows random_digits.
func render(text string, data templateData, r randomness) (string, error) {
	if len(text) > templateMax {
		return "", fmt.Errorf("it is longer than %d characters", templateMax)
	}
	if looping.MatchString(text) {
		return "", errors.New("range, define, template and block are not allowed in it")
	}
	options := []template.Opt{
		template.Template(text),
		template.Function("random", bounded(r.random)),
		template.Function("random_digits", bounded(r.digits)),
	}
	for _, functions := range []map[string]any{growing, r.trial} {
		for name, function := range functions {
			options = append(options, template.Function(name, function))
		}
	}
	parsed, err := template.NewTemplate(options...)
	if err != nil {
		return "", err
	}
	return parsed.Generate(data)
}

// growing are the functions of a template whose result may be many times as
// long as what they are given, with a bound on it.
var growing = map[string]any{
	"print":    short(fmt.Sprint),
	"println":  short(fmt.Sprintln),
	"printf":   narrowPrintf,
	"html":     short(texttemplate.HTMLEscaper),
	"js":       short(texttemplate.JSEscaper),
	"urlquery": short(texttemplate.URLQueryEscaper),
	"replace":  shortReplace,
	"base64":   func(text string) (string, error) { return shortOnly(base64.StdEncoding.EncodeToString([]byte(text))) },
	// In November a layout of ones gives twice as many.
	"timestamp": shortTime(time.Now),
}

var errLongPart = fmt.Errorf("a part of more than %d characters is not allowed", partMax)

func short(function func(...any) string) func(...any) (string, error) {
	return func(values ...any) (string, error) { return shortOnly(function(values...)) }
}

func shortTime(now func() time.Time) func(string) (string, error) {
	return func(layout string) (string, error) { return shortOnly(now().Format(layout)) }
}

func shortOnly(part string) (string, error) {
	if len(part) > partMax {
		return "", errLongPart
	}
	return part, nil
}

// narrowPrintf also refuses widths that would fill the memory.
func narrowPrintf(format string, values ...any) (string, error) {
	if wideFormat.MatchString(format) {
		return "", errors.New("a width of a thousand characters or more is not allowed in printf")
	}
	return shortOnly(fmt.Sprintf(format, values...))
}

// shortReplace counts first: a result can have the length of one text times
// that of another.
func shortReplace(find, replacement, text string) (string, error) {
	if length := len(text) + strings.Count(text, find)*(len(replacement)-len(find)); length > max(partMax, len(text)) {
		return "", errLongPart
	}
	return strings.ReplaceAll(text, find, replacement), nil
}

func bounded(random func(int) (string, error)) func(int) (string, error) {
	return func(length int) (string, error) {
		if length < 0 || length > randomMax {
			return "", fmt.Errorf("a random part of %d characters is not allowed, only up to %d", length, randomMax)
		}
		return random(length)
	}
}

// renderUsername makes a username, and an error when it would not be unique or
// not Cognito's to take.
func renderUsername(text string, data templateData) (string, error) {
	if err := checkRandomness(text, data); err != nil {
		return "", err
	}
	username, err := render(text, data, trueRandomness())
	switch {
	case err != nil:
		return "", err
	case len(username) > usernameMax:
		return "", fmt.Errorf("the username it makes is longer than Cognito's %d characters", usernameMax)
	case !utf8.ValidString(username) || !usernamePattern.MatchString(username):
		return "", errors.New("the username it makes is empty or holds a space or another character that Cognito refuses")
	}
	return username, nil
}

// checkRandomness counts the characters of a username that come from random,
// random_digits or uuid and have not been cut off.
func checkRandomness(text string, data templateData) error {
	one, err := render(text, data, marked("7"))
	if err != nil {
		return err
	}
	other, err := render(text, data, marked("8"))
	if err != nil {
		return err
	}
	if n := differences(one, other); n < randomCharsMin {
		return fmt.Errorf("only %d characters of the username it makes are random: it needs %d, as from {{random 20}}, that no truncate cuts off", n, randomCharsMin)
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
	value, err := render(text, data, trueRandomness())
	switch {
	case err != nil:
		return "", err
	case len(value) > attributeMax:
		return "", fmt.Errorf("the value it makes is longer than Cognito's %d characters", attributeMax)
	case !utf8.ValidString(value):
		return "", errors.New("the value it makes is not UTF-8")
	}
	return value, nil
}
