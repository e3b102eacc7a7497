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

// setRateLimits replaces all rate limits: a category that the request does not name gets its
// default.
func setRateLimits(in input, to *map[string]float64) error {
	if !in.has("rate_limits") {
		return nil
	}
	var given map[string]string
	setField(in, "rate_limits", &given)
	limits := map[string]float64{}
	for _, category := range slices.Sorted(maps.Keys(given)) {
		// The framework reads the one text "A=1,B=2" as the value "1,B=2" of A.
		for _, part := range strings.Split(category+"="+given[category], ",") {
			name, value, _ := strings.Cut(part, "=")
			limit, err := parseRateLimit(strings.TrimSpace(name), strings.TrimSpace(value))
			if err != nil {
				return err
			}
			limits[strings.TrimSpace(name)] = limit
		}
	}
	*to = limits
	return nil
}

func parseRateLimit(category, text string) (float64, error) {
	known := cognito.RateLimits(nil)
	if _, ok := known[category]; !ok {
		return 0, badRequest("rate_limits holds %q: it must be one of the Cognito quota categories %s",
			category, strings.Join(slices.Sorted(maps.Keys(known)), ", "))
	}
	limit, err := strconv.ParseFloat(text, 64)
	if err != nil || !(limit > 0) || math.IsInf(limit, 1) {
		return 0, badRequest("rate_limits holds %s=%q: it must be a positive number of requests per second", category, text)
	}
	return limit, nil
}

// rateLimitsText returns the limits in effect, defaults included, as a write accepts them.
func rateLimitsText(given map[string]float64) string {
	limits := cognito.RateLimits(given)
	texts := make([]string, 0, len(limits))
	for _, category := range slices.Sorted(maps.Keys(limits)) {
		texts = append(texts, category+"="+strconv.FormatFloat(limits[category], 'f', -1, 64))
	}
	return strings.Join(texts, ",")
}
