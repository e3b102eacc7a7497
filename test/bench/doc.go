// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"
	"time"
)

//go:embed performance.md.tmpl
var docTemplate string

// writeDoc writes the page at path, and its chart beside it.
func (r *results) writeDoc(path string) error {
	chartPath := strings.TrimSuffix(path, filepath.Ext(path)) + ".svg"
	text, err := r.doc(filepath.Base(chartPath))
	if err != nil {
		return err
	}
	if err := os.WriteFile(chartPath, []byte(chart(r.panels())), 0o644); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o644)
}

func (r *results) doc(chartName string) (string, error) {
	page, err := template.New("page").Parse(docTemplate)
	if err != nil {
		return "", fmt.Errorf("the page's template: %w", err)
	}
	var out strings.Builder
	err = page.Execute(&out, map[string]any{
		"Chart": chartName, "Machine": r.Machine, "Latency": r.Latency, "Clients": crowds[1], "QuickRounds": quickRounds, "SlowRounds": slowRounds,
		"Duration": r.Duration, "Roles": r.Scale.Roles, "ItemRoles": itemRoles, "ItemTokens": itemTokens, "SetSize": setSizes[engineMount],
		"GoalsTable": r.goalsTable().markdown(), "RequestsTable": r.requestsTable().markdown(), "EffortsTable": r.effortsTable().markdown(),
		"ScaleTable": r.scaleTable().markdown(), "ItemsTable": r.itemsTable().markdown(), "MetricsTable": r.metricsTable().markdown(),
		"MachineTable": r.machineTable().markdown(),
	})
	return out.String(), err
}

// panels returns the chart: cached and uncached reads, by one client and by many.
func (r *results) panels() []panel {
	var panels []panel
	for _, group := range []struct {
		what, mark string
		kinds      []kind
	}{
		{"From memory", "", quickKinds},
		{fmt.Sprintf("With AWS %s away", r.Latency), "the ideal", slowKinds},
	} {
		p50 := panel{title: group.what + ", 1 client: p50", mark: group.mark}
		rate := panel{title: fmt.Sprintf("%s, %d clients: requests a second", group.what, crowds[1]), mark: group.mark}
		for _, k := range group.kinds {
			p50.bars = append(p50.bars, r.p50Bar(k, group.mark != ""))
			rate.bars = append(rate.bars, r.rateBar(k, group.mark != ""))
		}
		panels = append(panels, p50, rate)
	}
	return panels
}

func (r *results) p50Bar(k kind, marked bool) bar {
	s := subject{k, crowds[0]}
	p50 := r.Requests[s].quantile(0.5)
	b := bar{label: titles[k], text: milliseconds(p50), value: float64(p50) / float64(time.Millisecond)}
	if marked {
		ideal, _ := r.ideal(s)
		b.mark = float64(ideal) / float64(time.Millisecond)
	}
	return b
}

func (r *results) rateBar(k kind, marked bool) bar {
	s := subject{k, crowds[1]}
	rate := r.Requests[s].perSecond()
	b := bar{label: titles[k], text: fmt.Sprintf("%.0f", rate), value: rate}
	if marked {
		_, b.mark = r.ideal(s)
	}
	return b
}
