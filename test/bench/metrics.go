// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"time"
)

const (
	benchScrape    = "BenchmarkMetricsScrape"
	benchRecording = "BenchmarkMetricsTokenRead"
	benchTokenRead = "BenchmarkCachedTokenRead"

	scrapeGoal         = 100 * time.Millisecond
	recordingShareGoal = 0.01
)

// metricsCost is what metrics cost, in the engine itself.
type metricsCost struct {
	// Scrape is one read of metrics/ in a mount with 1,000 roles, 10,000 static roles and 100,000
	// living users.
	Scrape time.Duration
	// Recording is the part of metrics in TokenRead, a read of a cached machine token.
	Recording, TokenRead time.Duration
}

// benchmarkLine matches a result of go test -bench. The name ends with the number of processors.
var benchmarkLine = regexp.MustCompile(`(?m)^(Benchmark\w+?)(?:-\d+)?\s+\d+\s+([\d.]+) ns/op`)

// measureMetrics runs the Go benchmarks of package backend, which see the engine's memory.
func measureMetrics(ctx context.Context) (metricsCost, error) {
	pattern := fmt.Sprintf("^(%s|%s|%s)$", benchScrape, benchRecording, benchTokenRead)
	output, err := exec.CommandContext(ctx, "go", "test", "./backend", "-run", "^$", "-bench", pattern).CombinedOutput() // #nosec G204 -- constants
	if err != nil {
		return metricsCost{}, fmt.Errorf("running the benchmarks of ./backend: %w: %s", err, output)
	}
	return parseMetricsCost(string(output))
}

func parseMetricsCost(output string) (metricsCost, error) {
	times := map[string]time.Duration{}
	for _, match := range benchmarkLine.FindAllStringSubmatch(output, -1) {
		nanoseconds, err := strconv.ParseFloat(match[2], 64)
		if err != nil {
			return metricsCost{}, fmt.Errorf("reading the result of %s: %w", match[1], err)
		}
		times[match[1]] = time.Duration(nanoseconds)
	}
	for _, name := range []string{benchScrape, benchRecording, benchTokenRead} {
		if times[name] == 0 {
			return metricsCost{}, fmt.Errorf("%s has no result in %q", name, output)
		}
	}
	return metricsCost{Scrape: times[benchScrape], Recording: times[benchRecording], TokenRead: times[benchTokenRead]}, nil
}

func (r *results) metricsTable() table {
	t := table{title: "Metrics", head: []string{"", "measured", "goal", ""}}
	share := float64(r.Metrics.Recording) / float64(r.Metrics.TokenRead)
	t.add("one scrape with 1,000 roles, 10,000 static roles and 100,000 living users",
		r.Metrics.Scrape.Round(100*time.Microsecond).String(), "less than "+scrapeGoal.String(), outcome(r.Metrics.Scrape < scrapeGoal))
	t.add("recording one read of a cached machine token", fmt.Sprintf("%s of %s, %.2f %%", r.Metrics.Recording, r.Metrics.TokenRead, 100*share),
		fmt.Sprintf("less than %g %%", 100*recordingShareGoal), outcome(share < recordingShareGoal))
	return t
}

func outcome(met bool) string {
	if met {
		return "met"
	}
	return "MISSED"
}
