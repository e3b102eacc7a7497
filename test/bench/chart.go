// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"fmt"
	"html"
	"strings"
)

// panel is one group of bars with its own scale.
type panel struct {
	title string
	bars  []bar
	// mark is the legend of the marks of its bars, or empty.
	mark string
}

// bar is a value and the one to compare it with.
type bar struct {
	label, text string
	value, mark float64
}

// The dimensions of the chart in pixels.
const (
	chartWidth  = 860
	labelWidth  = 350
	barLength   = 400
	rowHeight   = 24
	titleHeight = 40
	chartMargin = 16
)

// chartStyle has colours for light and dark pages, because the chart may be shown on either.
const chartStyle = `<style>
text { font: 13px system-ui, sans-serif; fill: #24292f; }
.title { font-weight: 600; }
.bar { fill: #0969da; }
.mark { stroke: #bc4c00; stroke-width: 2; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; }
  .bar { fill: #4493f8; }
  .mark { stroke: #f0883e; }
}
</style>
`

// chart draws panels one below the other, as SVG.
func chart(panels []panel) string {
	var body strings.Builder
	y := chartMargin
	for _, p := range panels {
		y = p.draw(&body, y)
	}
	height := y + chartMargin
	return fmt.Sprintf("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%[1]d\" height=\"%[2]d\" role=\"img\">\n%s%s</svg>\n",
		chartWidth, height, chartStyle, body.String())
}

// draw starts at y and returns where the next panel may start.
func (p panel) draw(out *strings.Builder, y int) int {
	title := p.title
	if p.mark != "" {
		title += " (line: " + p.mark + ")"
	}
	fmt.Fprintf(out, "<text class=\"title\" x=\"%d\" y=\"%d\">%s</text>\n", chartMargin, y+titleHeight/2, html.EscapeString(title))
	y += titleHeight
	longest := p.longest()
	for _, b := range p.bars {
		b.draw(out, y, longest)
		y += rowHeight
	}
	return y
}

func (p panel) longest() float64 {
	longest := 0.0
	for _, b := range p.bars {
		longest = max(longest, b.value, b.mark)
	}
	return longest
}

func (b bar) draw(out *strings.Builder, y int, longest float64) {
	middle := y + rowHeight/2 + 4
	length := along(b.value, longest)
	fmt.Fprintf(out, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text>\n", labelWidth-8, middle, html.EscapeString(b.label))
	fmt.Fprintf(out, "<rect class=\"bar\" x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"%d\" rx=\"2\"/>\n", labelWidth, y+4, length, rowHeight-8)
	if b.mark > 0 {
		x := labelWidth + along(b.mark, longest)
		fmt.Fprintf(out, "<line class=\"mark\" x1=\"%.1f\" y1=\"%d\" x2=\"%.1[1]f\" y2=\"%[3]d\"/>\n", x, y+1, y+rowHeight-1)
	}
	end := labelWidth + max(length, along(b.mark, longest))
	fmt.Fprintf(out, "<text x=\"%.1f\" y=\"%d\">%s</text>\n", end+8, middle, html.EscapeString(b.text))
}

func along(value, longest float64) float64 {
	if longest == 0 {
		return 0
	}
	return value / longest * barLength
}
