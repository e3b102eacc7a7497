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

// probe asks a Cognito, STS or IAM one question, without the plugin.
type probe struct {
	asks string
	// needs is a feature that not every account has, or empty.
	needs need
	// answer returns the AWS error code or a word for the outcome.
	answer func(b *prober) string
}

// difference is a probe that moto and the emulator answer differently.
type difference struct {
	emulator, moto string
	// page is the page of AWS's documentation that decides, below awsDocs.
	page string
	// says summarises that page.
	says string
}

// prober is what a probe uses: a fixture, and a client that never retries, so that failures are
// visible.
type prober struct {
	*builder
	has *fixture
}

func newProber(t *testing.T, e *fixture) *prober {
	t.Helper()
	p := *e.provider
	p.config.Retryer = func() aws.Retryer { return aws.NopRetryer{} }
	return &prober{builder: &builder{T: t, provider: &p, pool: e.pool}, has: e}
}

// outcome returns "ok" or the AWS error code. A server that crashes has none.
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

// TestEmulatorAgainstMoto sends the same requests to both, and checks that exactly the documented
// differences exist.
func TestEmulatorAgainstMoto(t *testing.T) {
	t.Parallel()
	moto, emulator := makeFixture(t, startMoto(t)), makeFixture(t, emulatedForProbes(t))
	count := counters.Open(t, "Second opinion", "same requests to emulator and moto")
	for _, p := range probes {
		t.Run(p.asks, func(t *testing.T) {
			count.Tried(1)
			ours, theirs := p.answer(newProber(t, emulator)), p.answer(newProber(t, moto))
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
	emulator := makeFixture(t, emulatedForProbes(t))
	for _, p := range openPoints {
		t.Run(p.asks, func(t *testing.T) {
			require.Equal(t, p.chosen, p.answer(newProber(t, emulator)))
		})
	}
}

// TestSecondOpinionDocument checks that the page shows the tables that the tests run, and that each
// difference belongs to a probe.
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

// acceptanceTable returns the table of cases and the providers that they run on.
func acceptanceTable() string {
	var table strings.Builder
	table.WriteString("| done through Vault | true at Cognito | emulator | moto | AWS |\n|---|---|---|---|---|\n")
	for _, c := range acceptanceCases {
		fmt.Fprintf(&table, "| %s | %s | %s | %s | %s |\n", c.does, c.must, mark(c, lacksOfEmulator), mark(c, lacksOfMoto), markAWS(c))
	}
	return table.String()
}

// markAWS returns "not run" for a case that AWS has: no run of it on AWS is recorded.
func markAWS(c acceptanceCase) string {
	if lacks := mark(c, lacksOfAWS); lacks != "yes" {
		return lacks
	}
	return "not run"
}

// mark returns "yes", or what the provider lacks for the case.
func mark(c acceptanceCase, lacks map[need]string) string {
	for _, need := range c.needs {
		if lacks[need] != "" {
			return "lacks " + string(need)
		}
	}
	return "yes"
}
