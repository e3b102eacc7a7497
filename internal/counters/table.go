// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package counters

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
)

// Print reads the lines that Counters wrote and prints them as a table that ends with their sum. It
// reports whether the run was good: something was tried, nothing was lost, and no test failed.
func Print(out io.Writer, written io.Reader) (good bool, err error) {
	lines, err := read(written)
	if err != nil {
		return false, err
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "\t\t"+strings.Join(append([]string{"tried"}, headings()...), "\t")+"\t")
	total := line{Suite: "All", Lost: map[Loss]int{}}
	for _, l := range lines {
		fmt.Fprintln(table, l.row())
		total.add(l)
	}
	total.Notes = nil
	fmt.Fprintln(table, total.row())
	return total.Tried > 0 && len(total.Lost) == 0 && !total.Failed, table.Flush()
}

// read adds up lines with the same name and sorts the sums by name.
func read(written io.Reader) ([]line, error) {
	byName := map[string]line{}
	scanner := bufio.NewScanner(written)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		var l line
		if err := json.Unmarshal(scanner.Bytes(), &l); err != nil {
			return nil, fmt.Errorf("reading the counters: %w", err)
		}
		sum := byName[l.name()]
		sum.Suite, sum.What = l.Suite, l.What
		sum.add(l)
		byName[l.name()] = sum
	}
	names := slices.Sorted(maps.Keys(byName))
	lines := make([]line, 0, len(names))
	for _, name := range names {
		lines = append(lines, byName[name])
	}
	return lines, scanner.Err()
}

func headings() []string {
	names := make([]string, 0, len(losses))
	for _, loss := range losses {
		names = append(names, string(loss))
	}
	return names
}

func (l line) name() string { return l.Suite + "\x00" + l.What }

func (l *line) add(other line) {
	if l.Lost == nil {
		l.Lost = map[Loss]int{}
	}
	l.Tried += other.Tried
	for loss, n := range other.Lost {
		l.Lost[loss] += n
	}
	for _, note := range other.Notes {
		if !slices.Contains(l.Notes, note) {
			l.Notes = append(l.Notes, note)
		}
	}
	l.Failed = l.Failed || other.Failed
}

func (l line) row() string {
	cells := []string{l.Suite, l.What, fmt.Sprint(l.Tried)}
	for _, loss := range losses {
		cells = append(cells, fmt.Sprint(l.Lost[loss]))
	}
	notes := strings.Join(l.Notes, "; ")
	if l.Failed {
		notes = strings.TrimSuffix("FAILED; "+notes, "; ")
	}
	return strings.Join(append(cells, notes), "\t")
}
