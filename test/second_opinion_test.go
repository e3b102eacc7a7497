// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/counters"
)

const secondOpinionDoc = "../docs/second-opinion.md"

// probe asks a Cognito, an STS or an IAM one thing, without Vault.
type probe struct {
	asks string
	// needs is what not every account has; mostly empty.
	needs need
	// answer is the name of AWS's error, or a word about the outcome.
	answer func(b *bench) string
}

// difference is a probe that moto answers otherwise than the emulator does.
type difference struct {
	emulator, moto string
	// page of AWS's documentation decides, below awsDocs.
	page string
	// says is what that page says, in a few words.
	says string
}

// bench is what a probe has: an estate, and a client that never repeats a
// request, so that a server's failure is seen as it is.
type bench struct {
	*builder
	has *estate
}

func newBench(t *testing.T, e *estate) *bench {
	t.Helper()
	p := *e.provider
	p.config.Retryer = func() aws.Retryer { return aws.NopRetryer{} }
	return &bench{builder: &builder{T: t, provider: &p, pool: e.pool}, has: e}
}

// outcome is ok, or the name of the error. A server that breaks down has none.
func outcome(err error) string {
	var response *smithyhttp.ResponseError
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &response) && response.HTTPStatusCode() >= http.StatusInternalServerError:
		return fmt.Sprintf("HTTP %d", response.HTTPStatusCode())
	default:
		return codeOf(err)
	}
}

// TestEmulatorAgainstMoto sends the same requests to both, and demands that
// they differ in what is documented, and in nothing else.
func TestEmulatorAgainstMoto(t *testing.T) {
	t.Parallel()
	moto, emulator := makeEstate(t, startMoto(t)), makeEstate(t, emulated(t))
	count := counters.Open(t, "Second opinion", "same requests to emulator and moto")
	for _, p := range probes {
		t.Run(p.asks, func(t *testing.T) {
			count.Tried(1)
			ours, theirs := p.answer(newBench(t, emulator)), p.answer(newBench(t, moto))
			known, differs := differences[p.asks]
			if !differs {
				require.Equal(t, theirs, ours, "a difference that docs/second-opinion.md does not know")
				return
			}
			require.NotEqual(t, known.emulator, known.moto)
			require.Equal(t, known.emulator, ours, "what the emulator answers")
			require.Equal(t, known.moto, theirs, "what moto answers")
		})
	}
}

// TestOpenPoints asks the emulator what the documentation leaves open.
func TestOpenPoints(t *testing.T) {
	t.Parallel()
	emulator := makeEstate(t, emulated(t))
	for _, p := range openPoints {
		t.Run(p.asks, func(t *testing.T) {
			require.Equal(t, p.chosen, p.answer(newBench(t, emulator)))
		})
	}
}

// TestSecondOpinionDocument demands that the page shows the tables that the
// tests run, and that each difference is one of a probe.
func TestSecondOpinionDocument(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(secondOpinionDoc)
	require.NoError(t, err)
	for _, table := range []string{differenceTable(), agreementList(), openTable(), acceptanceTable()} {
		require.Contains(t, string(page), table, "docs/second-opinion.md should have:\n"+table)
	}
	asked := map[string]bool{}
	for _, p := range probes {
		require.False(t, asked[p.asks], "two probes ask: %s", p.asks)
		asked[p.asks] = true
	}
	for asks := range differences {
		require.True(t, asked[asks], "no probe asks: %s", asks)
	}
}

const awsDocs = "https://docs.aws.amazon.com/"

func differenceTable() string {
	var table strings.Builder
	table.WriteString("| asked | moto | emulator | what AWS says |\n|---|---|---|---|\n")
	for _, p := range probes {
		if d, ok := differences[p.asks]; ok {
			name := d.page[strings.LastIndex(d.page, "/")+1:]
			fmt.Fprintf(&table, "| %s | %s | %s | [%s](%s): %s |\n", p.asks, d.moto, d.emulator, strings.TrimSuffix(name, ".html"), awsDocs+d.page, d.says)
		}
	}
	return table.String()
}

func agreementList() string {
	var list strings.Builder
	for _, p := range probes {
		if _, ok := differences[p.asks]; !ok {
			fmt.Fprintf(&list, "- %s\n", p.asks)
		}
	}
	return list.String()
}

func openTable() string {
	var table strings.Builder
	table.WriteString("| asked | emulator |\n|---|---|\n")
	for _, p := range openPoints {
		fmt.Fprintf(&table, "| %s | %s |\n", p.asks, p.chosen)
	}
	return table.String()
}

// acceptanceTable shows for which providers a case is run.
func acceptanceTable() string {
	var table strings.Builder
	table.WriteString("| done through Vault | true at Cognito | emulator | moto | AWS |\n|---|---|---|---|---|\n")
	for _, c := range acceptanceCases {
		fmt.Fprintf(&table, "| %s | %s | %s | %s | %s |\n", c.does, c.must, mark(c, lacksOfEmulator), mark(c, lacksOfMoto), mark(c, lacksOfAWS))
	}
	return table.String()
}

// mark is yes, or what the provider lacks for the case.
func mark(c acceptanceCase, lacks map[need]string) string {
	for _, need := range c.needs {
		if lacks[need] != "" {
			return "lacks " + string(need)
		}
	}
	return "yes"
}
