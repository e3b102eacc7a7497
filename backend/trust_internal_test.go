// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"crypto/rand"
	"errors"
	"math"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
)

const (
	// drawn is how many passwords are generated: every symbol occurs at every place at least 200
	// times.
	drawn = 20_000
	// falseAlarm is the probability that TestPasswordsAreEven fails by chance.
	falseAlarm = 1e-10
)

func TestPasswordsHaveEveryClass(t *testing.T) {
	seen := map[string]bool{}
	for range drawn {
		password, err := newPassword(rand.Reader)
		require.NoError(t, err)
		require.Len(t, password, passwordLength)
		for _, class := range passwordClasses {
			require.True(t, strings.ContainsAny(password, class), "no one of %q", class)
		}
		require.Empty(t, strings.Trim(password, strings.Join(passwordClasses, "")), "a character of no class")
		require.True(t, strings.ContainsAny(password[:1], passwordClasses[0]+passwordClasses[1]), "it begins with no letter")
		seen[password] = true
	}
	require.Len(t, seen, drawn, "a password came twice")
}

// TestPasswordsAreEven compares the frequency of each character at each place with what newPassword
// promises: the first is a letter; the others hold one of each class, and the rest are of all
// classes.
func TestPasswordsAreEven(t *testing.T) {
	counts := [passwordLength]map[byte]int{}
	for place := range counts {
		counts[place] = map[byte]int{}
	}
	for range drawn {
		password, err := newPassword(rand.Reader)
		require.NoError(t, err)
		for place := range counts {
			counts[place][password[place]]++
		}
	}
	for place, count := range counts {
		expected := expectedAt(place)
		limit := chiSquareLimit(len(expected)-1, falseAlarm/passwordLength)
		require.Less(t, chiSquare(count, expected), limit, "at place %d", place)
	}
}

// expectedAt returns the probability of each character at a place.
func expectedAt(place int) map[byte]float64 {
	expected := map[byte]float64{}
	add := func(characters string, share float64) {
		for i := range len(characters) {
			expected[characters[i]] += share / float64(len(characters))
		}
	}
	if place == 0 {
		add(passwordClasses[0]+passwordClasses[1], 1)
		return expected
	}
	const others = passwordLength - 1
	for _, class := range passwordClasses {
		add(class, 1.0/others)
	}
	add(strings.Join(passwordClasses, ""), float64(others-len(passwordClasses))/others)
	return expected
}

func chiSquare(count map[byte]int, expected map[byte]float64) float64 {
	sum := 0.0
	for character, share := range expected {
		off := float64(count[character]) - share*drawn
		sum += off * off / (share * drawn)
	}
	return sum
}

// chiSquareLimit returns a value that a chi-square exceeds with less than the probability, by the
// bound of Laurent and Massart.
func chiSquareLimit(degrees int, probability float64) float64 {
	x, d := -math.Log(probability), float64(degrees)
	return d + 2*math.Sqrt(d*x) + 2*x
}

// TestPasswordsNeedRandomness requires an error if the source of randomness fails.
func TestPasswordsNeedRandomness(t *testing.T) {
	dry := errors.New("no randomness")
	_, err := newPassword(iotest.ErrReader(dry))
	require.ErrorIs(t, err, dry)
}
