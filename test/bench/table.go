// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"
)

// table is shown on a terminal and in the documentation.
type table struct {
	title string
	head  []string
	rows  [][]string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// print shows the table with its title on a terminal.
func (t table) print(out io.Writer) error {
	fmt.Fprintf(out, "\n%s\n\n", t.title)
	columns := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if strings.Join(t.head, "") != "" {
		fmt.Fprintln(columns, "  "+strings.Join(t.head, "\t"))
	}
	for _, row := range t.rows {
		fmt.Fprintln(columns, "  "+strings.Join(row, "\t"))
	}
	return columns.Flush()
}

// markdown returns the table without its title, with numbers aligned right.
func (t table) markdown() string {
	rows := append([][]string{t.head}, t.rows...)
	widths := make([]int, len(t.head))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell), 3)
		}
	}
	var out strings.Builder
	for n, row := range rows {
		for i, cell := range row {
			padding := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i == 0 {
				fmt.Fprintf(&out, "| %s%s ", cell, padding)
			} else {
				fmt.Fprintf(&out, "| %s%s ", padding, cell)
			}
		}
		out.WriteString("|\n")
		if n == 0 {
			out.WriteString(rule(widths))
		}
	}
	return out.String()
}

// rule returns the line below the head of a Markdown table.
func rule(widths []int) string {
	var out strings.Builder
	for i, width := range widths {
		if i == 0 {
			out.WriteString("|" + strings.Repeat("-", width+2))
		} else {
			out.WriteString("|" + strings.Repeat("-", width+1) + ":")
		}
	}
	return out.String() + "|\n"
}

func ratio(r float64) string { return fmt.Sprintf("%.2f", r) }

// milliseconds formats with up to three significant digits.
func milliseconds(d time.Duration) string {
	ms := d.Seconds() * 1e3
	switch {
	case ms < 10:
		return fmt.Sprintf("%.2f ms", ms)
	case ms < 100:
		return fmt.Sprintf("%.1f ms", ms)
	default:
		return fmt.Sprintf("%.0f ms", ms)
	}
}

// microseconds formats nanoseconds; zero means that the system does not report them.
func microseconds(ns float64) string {
	if ns == 0 {
		return "–"
	}
	return fmt.Sprintf("%.0f µs", ns/1e3)
}

func bytesText(n float64) string {
	switch {
	case n == 0:
		return "–"
	case n < 10<<10:
		return fmt.Sprintf("%.0f B", n)
	case n < 10<<20:
		return fmt.Sprintf("%.0f KiB", n/(1<<10))
	default:
		return fmt.Sprintf("%.0f MiB", n/(1<<20))
	}
}
