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
	// drawn passwords make every symbol stand at every place 200 times and more.
	drawn = 20_000
	// falseAlarm is how likely TestPasswordsAreEven fails with nothing wrong.
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

// TestPasswordsAreEven holds the frequency of each character at each place
// against what newPassword promises: the first is any letter; of the others
// one is of each class, the rest are of all, and all are shuffled.
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

// expectedAt is how likely each character is at a place.
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

// chiSquareLimit is a value that a chi-square of so many degrees of freedom
// exceeds less often than that, by the bound of Laurent and Massart.
func chiSquareLimit(degrees int, probability float64) float64 {
	x, d := -math.Log(probability), float64(degrees)
	return d + 2*math.Sqrt(d*x) + 2*x
}

// TestPasswordsNeedRandomness shows that there is no second source that is
// taken when the first one fails.
func TestPasswordsNeedRandomness(t *testing.T) {
	dry := errors.New("no randomness")
	_, err := newPassword(iotest.ErrReader(dry))
	require.ErrorIs(t, err, dry)
}
