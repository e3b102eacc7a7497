// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"vault-plugin-secrets-cognito/internal/cognito"
)

// setRateLimits takes limits as a whole: what a request does not name has its
// default again.
func setRateLimits(in input, to *map[string]float64) error {
	var given map[string]string
	setField(in, "rate_limits", &given)
	if !in.has("rate_limits") {
		return nil
	}
	limits := make(map[string]float64, len(given))
	for _, category := range slices.Sorted(maps.Keys(given)) {
		limit, err := parseRateLimit(category, given[category])
		if err != nil {
			return err
		}
		limits[category] = limit
	}
	*to = limits
	return nil
}

func parseRateLimit(category, text string) (float64, error) {
	known := cognito.RateLimits(nil)
	if _, ok := known[category]; !ok {
		return 0, badRequest("rate_limits holds %q: it must be one of Cognito's quota categories %s",
			category, strings.Join(slices.Sorted(maps.Keys(known)), ", "))
	}
	limit, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil || !(limit > 0) || math.IsInf(limit, 1) {
		return 0, badRequest("rate_limits holds %s=%q: it must be a positive number of requests a second", category, text)
	}
	return limit, nil
}

// rateLimitsData are those in effect, defaults included.
func rateLimitsData(given map[string]float64) map[string]any {
	shown := map[string]any{}
	for category, limit := range cognito.RateLimits(given) {
		shown[category] = limit
	}
	return shown
}
