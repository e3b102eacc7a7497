// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// runAt returns a run in which the floor takes a millisecond and everything else its ideal times
// factor.
func runAt(factor float64) *results {
	r := &results{Latency: 30 * time.Millisecond, Duration: time.Second, Requests: map[subject]*samples{}, Efforts: map[kind]effort{kindFloor: {Objects: 7}}}
	for _, clients := range crowds {
		for _, k := range allKinds {
			p50 := time.Millisecond + time.Duration(trips[k])*r.Latency
			if k != kindFloor && k != kindFloorLease {
				p50 = time.Duration(float64(p50) * factor)
			}
			r.Requests[subject{k, clients}] = &samples{took: []time.Duration{p50}, busy: p50 / time.Duration(clients)}
		}
	}
	r.Goals = compareWithGoals(r)
	return r
}

func TestGoals(t *testing.T) {
	for _, c := range []struct {
		factor float64
		missed int
	}{
		{1, 0},
		{1.04, 0},
		{1.08, 1}, // the p50 of a user
		{1.12, 8}, // and the rates, and the p50 of a token and of check-outs
		{1.2, 10},
	} {
		require.Equal(t, c.missed, runAt(c.factor).missed(), "everything takes %v of the ideal", c.factor)
	}
}

func TestGoalsAreMetAtTheirBounds(t *testing.T) {
	for _, c := range []struct {
		found  float64
		atMost bool
		met    bool
	}{{1, true, true}, {1.01, true, false}, {0.99, true, true}, {1, false, true}, {1.01, false, true}, {0.99, false, false}} {
		require.Equal(t, c.met, goal{found: c.found, bound: 1, atMost: c.atMost}.met(), "%+v", c)
	}
}

func TestTheTerminalShowsGoalsLast(t *testing.T) {
	var out strings.Builder
	require.NoError(t, runAt(1.08).print(&out))
	_, goals, found := strings.Cut(out.String(), "\nGoals\n")
	require.True(t, found)
	require.Regexp(t, `in 2 groups: p50, 1 client +1\.08 +at most 1\.05 +MISSED`, goals)
	require.Regexp(t, `machine token from memory: p50, 1 client +1\.08 +at most 1\.10 +met`, goals)
}

func TestTheDocument(t *testing.T) {
	page, err := runAt(1).doc("picture.svg")
	require.NoError(t, err)
	require.Contains(t, page, "](picture.svg)")
	require.Contains(t, page, "at\n30ms each")
	require.NotContains(t, page, "<no value>")
	for line := range strings.Lines(page) {
		if strings.HasPrefix(line, "|") {
			require.True(t, strings.HasSuffix(line, "|\n"), line)
		}
	}
}

func TestMarkdownTables(t *testing.T) {
	var measured table
	measured.head = []string{"", "µs"}
	measured.add("read", "12")
	measured.add("a write", "3456")
	require.Equal(t, "|         |   µs |\n|---------|-----:|\n| read    |   12 |\n| a write | 3456 |\n", measured.markdown())
}

func TestFiguresAreReadable(t *testing.T) {
	require.Equal(t, "0.52 ms", milliseconds(523*time.Microsecond))
	require.Equal(t, "33.4 ms", milliseconds(33400*time.Microsecond))
	require.Equal(t, "2646 ms", milliseconds(2646*time.Millisecond))
	require.Equal(t, "12 µs", microseconds(12345))
	require.Equal(t, "–", microseconds(0))
	require.Equal(t, "640 B", bytesText(640))
	require.Equal(t, "20 KiB", bytesText(20<<10))
	require.Equal(t, "38 MiB", bytesText(38<<20))
	require.Equal(t, "23 GiB", gibibytes("24117248 kB"))
	require.Equal(t, "unknown", gibibytes("unknown"))
}

func TestChart(t *testing.T) {
	drawn := chart([]panel{
		{title: "Reads & writes", bars: []bar{{label: "a <b>", text: "10 ms", value: 10}, {label: "half", text: "5 ms", value: 5}}},
		{title: "Users", mark: "the ideal", bars: []bar{{label: "user", text: "100 ms", value: 100, mark: 50}}},
		{title: "Nothing", bars: []bar{{label: "none", text: "0"}}},
	})
	require.Equal(t, []string{"Reads & writes", "a <b>", "10 ms", "half", "5 ms", "Users (line: the ideal)", "user", "100 ms", "Nothing", "none", "0"}, textsOf(t, drawn))
	require.Regexp(t, `(?s)class="bar"[^>]*width="400\.0".*class="bar"[^>]*width="200\.0"`, drawn, "bars are as long as their figures say")
	require.Contains(t, drawn, `x1="550.0"`, "a mark stands where its figure is")
	require.Contains(t, drawn, "prefers-color-scheme: dark")
	require.NotContains(t, drawn, "NaN")
}

// textsOf parses a drawing as XML and returns its texts.
func textsOf(t *testing.T, drawn string) []string {
	t.Helper()
	var texts []string
	inText := false
	for decoder := xml.NewDecoder(strings.NewReader(drawn)); ; {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return texts
		}
		require.NoError(t, err)
		switch token := token.(type) {
		case xml.StartElement:
			inText = token.Name.Local == "text"
		case xml.EndElement:
			inText = false
		case xml.CharData:
			if inText {
				texts = append(texts, string(token))
			}
		}
	}
}

func TestMetricsCost(t *testing.T) {
	cost, err := parseMetricsCost(`goos: linux
BenchmarkMetricsTokenRead-2   	14210048	        82.51 ns/op
BenchmarkMetricsScrape-2      	      38	  31041222 ns/op	 0 storage-calls	 512 B/op	 9 allocs/op
BenchmarkCachedTokenRead-2    	   52040	     22910 ns/op
PASS
`)
	require.NoError(t, err)
	require.Equal(t, metricsCost{Scrape: 31041222, Recording: 82, TokenRead: 22910}, cost)
	_, err = parseMetricsCost("BenchmarkMetricsScrape-2 38 31041222 ns/op\n")
	require.ErrorContains(t, err, "BenchmarkMetricsTokenRead has no result")
}
