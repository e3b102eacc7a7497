// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"fmt"
	"io"
	"time"
)

// results holds everything that one run measured.
type results struct {
	Machine           machine
	Latency, Duration time.Duration
	Requests          map[subject]*samples
	Efforts           map[kind]effort
	Scale             scale
	Items             items
	Metrics           metricsCost
	Goals             []goal
}

// trips is the number of sequential calls to AWS that a request needs.
var trips = map[kind]int{kindUncached: 1, kindDirect: 3, kindUser0: 3, kindUser2: 3, kindUser5: 3, kindRevoke: 1, kindLent: 1}

// ideal returns the result of a plugin that needs no time itself. For what needs no call to AWS
// this is the floor plugin under the same load, otherwise the latency of AWS and one read of the
// floor plugin without load.
func (r *results) ideal(s subject) (p50 time.Duration, perSecond float64) {
	if trips[s.kind] == 0 {
		floor := r.Requests[subject{floorOf(s.kind), s.clients}]
		return floor.quantile(0.5), floor.perSecond()
	}
	p50 = time.Duration(trips[s.kind])*r.Latency + r.Requests[subject{kindFloor, 1}].quantile(0.5)
	return p50, float64(s.clients) / p50.Seconds()
}

// floorOf returns the floor of a kind that needs no call to AWS. A check-out cannot do without a
// lease and a write of who has the user.
func floorOf(k kind) kind {
	if k == kindLentBare {
		return kindFloorLease
	}
	return kindFloor
}

// ratios compares a subject with its ideal.
func (r *results) ratios(s subject) (p50, perSecond float64) {
	idealP50, idealRate := r.ideal(s)
	t := r.Requests[s]
	return float64(t.quantile(0.5)) / float64(idealP50), t.perSecond() / idealRate
}

// goal is an upper or lower bound for a ratio of this run.
type goal struct {
	what         string
	found, bound float64
	atMost       bool
}

func (g goal) met() bool {
	if g.atMost {
		return g.found <= g.bound
	}
	return g.found >= g.bound
}

// compareWithGoals compares the results with the goals.
func compareWithGoals(r *results) []goal {
	p50 := func(k kind, bound float64) goal {
		found, _ := r.ratios(subject{k, crowds[0]})
		return goal{titles[k] + ": p50, 1 client", found, bound, true}
	}
	rate := func(k kind, bound float64) goal {
		_, found := r.ratios(subject{k, crowds[1]})
		return goal{fmt.Sprintf("%s: requests/s, %d clients", titles[k], crowds[1]), found, bound, false}
	}
	return []goal{
		p50(kindToken, 1.10), rate(kindToken, 0.90),
		p50(kindUser2, 1.05), rate(kindUser2, 0.90),
		p50(kindPassword, 1.15), p50(kindSecret, 1.15),
		p50(kindLent, 1.08), rate(kindLent, 0.90),
		p50(kindLentBare, 1.08), rate(kindLentBare, 0.90),
	}
}

// missed returns the number of missed goals.
func (r *results) missed() int {
	missed := 0
	for _, g := range r.Goals {
		if !g.met() {
			missed++
		}
	}
	return missed
}

// print shows everything on a terminal, ratios first.
func (r *results) print(out io.Writer) error {
	for _, t := range []table{r.requestsTable(), r.effortsTable(), r.scaleTable(), r.itemsTable(), r.metricsTable(), r.machineTable(), r.goalsTable()} {
		if err := t.print(out); err != nil {
			return err
		}
	}
	return nil
}

func (r *results) goalsTable() table {
	t := table{title: "Goals", head: []string{"", "ratio to the ideal", "goal", ""}}
	for _, g := range r.Goals {
		word := "at least"
		if g.atMost {
			word = "at most"
		}
		t.add(g.what, ratio(g.found), word+" "+ratio(g.bound), outcome(g.met()))
	}
	return t
}

func (r *results) requestsTable() table {
	t := table{title: "Requests", head: []string{
		"", "clients", "p50 ÷ ideal", "rate ÷ ideal", "p50", "p99", "requests/s", "calls to AWS", "CPU in Vault", "CPU in the plugin", "CPU in the emulator", "measured",
	}}
	for _, clients := range crowds {
		for _, k := range allKinds {
			s := subject{k, clients}
			found := r.Requests[s]
			p50, rate := r.ratios(s)
			t.add(titles[k], fmt.Sprint(clients), ratio(p50), ratio(rate), milliseconds(found.quantile(0.5)), milliseconds(found.quantile(0.99)),
				fmt.Sprintf("%.0f", found.perSecond()), fmt.Sprintf("%.2f", found.each(float64(found.calls))),
				microseconds(found.each(float64(found.cpu.vault))), microseconds(found.each(float64(found.cpu.owner))),
				microseconds(found.each(float64(found.cpu.emulator))), fmt.Sprint(len(found.took)))
		}
	}
	return t
}

func (r *results) effortsTable() table {
	t := table{title: "What one read makes the plugin do", head: []string{"", "allocations", "bytes allocated", "calls back to Vault"}}
	for _, k := range allKinds {
		if e, known := r.Efforts[k]; known {
			t.add(titles[k], fmt.Sprintf("%.0f", e.Objects), bytesText(e.Bytes), fmt.Sprintf("%.1f", e.CallsBack))
		}
	}
	return t
}

func (r *results) scaleTable() table {
	s := r.Scale
	t := table{title: fmt.Sprintf("%d static roles", s.Roles), head: []string{"", ""}}
	t.add("from the order to restart the plugin to the first static-creds", milliseconds(s.Start))
	t.add("to read all static roles into the rotation queue", milliseconds(s.Queue))
	t.add(fmt.Sprintf("to read static-creds of each once, %d clients", crowds[1]), milliseconds(s.Read))
	t.add("memory of the plugin's process (RSS) after its start", bytesText(float64(s.Started)))
	t.add("the same, with the rotation queue", bytesText(float64(s.Queued)))
	t.add("the same, with every static role in memory", bytesText(float64(s.Held)))
	return t
}

func (r *results) itemsTable() table {
	i := r.Items
	t := table{title: "The engine by itself", head: []string{"", ""}}
	t.add("memory of a role that has been used", bytesText(i.Role))
	t.add(fmt.Sprintf("memory of a machine token of %d bytes in the cache", tokenLength), bytesText(i.Token))
	t.add("memory of a static role in the rotation queue", bytesText(i.StaticQueued))
	t.add("further memory of a static role that has been read", bytesText(i.StaticHeld))
	t.add("time to answer creds/ with a machine token from memory", microseconds(float64(i.TokenHandling)))
	t.add("time to answer static-creds/", microseconds(float64(i.StaticHandling)))
	return t
}

func (r *results) machineTable() table {
	m := r.Machine
	t := table{title: "Measured on", head: []string{"", ""}}
	t.add("processor", fmt.Sprintf("%s, %d cores", m.CPU, m.Cores))
	t.add("memory", m.Memory)
	t.add("system", m.OS)
	t.add("Go", m.Go)
	t.add("Vault", m.Vault)
	t.add("plugin", m.Plugin)
	t.add("day", m.Day)
	return t
}
