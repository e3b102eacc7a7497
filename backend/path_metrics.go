// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
)

// Values of the field "format".
const (
	formatData        = "data"
	formatPrometheus  = "prometheus"
	formatOpenMetrics = "openmetrics"
)

func pathMetrics(b *backend) []*framework.Path {
	return []*framework.Path{{
		Pattern:      "metrics$",
		DisplayAttrs: &framework.DisplayAttributes{OperationPrefix: operationPrefix},
		Fields: map[string]*framework.FieldSchema{
			"format": {
				Type:          framework.TypeString,
				Query:         true,
				Default:       formatData,
				AllowedValues: []any{formatData, formatPrometheus, formatOpenMetrics},
				Description:   `"data" for a JSON response, "prometheus" or "openmetrics" for text that Prometheus scrapes.`,
			},
		},
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.ReadOperation: &framework.PathOperation{
				Callback:     b.pathMetricsRead,
				Summary:      "Read the metrics of this mount on this node.",
				Responses:    responseSchema(metricsResponseFields(b.metrics)),
				DisplayAttrs: &framework.DisplayAttributes{OperationVerb: "read", OperationSuffix: "metrics"},
			},
		},
		HelpSynopsis:    metricsHelpSynopsis,
		HelpDescription: strings.TrimSpace(metricsHelpDescription),
	}}
}

// metricsResponseFields describes every metric as the data form has it.
func metricsResponseFields(m *metrics) map[string]*framework.FieldSchema {
	fields := map[string]*framework.FieldSchema{
		"scope": {Type: framework.TypeString, Description: `Always "node": every node counts what it does itself.`},
		"since": {Type: framework.TypeString, Description: "When this node began to count, in RFC 3339."},
	}
	for _, family := range m.families {
		field := &framework.FieldSchema{Type: framework.TypeFloat, Description: family.help}
		if len(family.labels) > 0 {
			field.Type = framework.TypeMap
			field.Description += " Labels: " + strings.Join(family.labels, ", ") + "."
		}
		fields[family.name] = field
	}
	return fields
}

func (b *backend) pathMetricsRead(_ context.Context, _ *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	families, err := b.metrics.registry.Gather()
	if err != nil {
		return nil, fmt.Errorf("gathering the metrics: %w", err)
	}
	switch format := data.Get("format").(string); format {
	case formatData:
		return &logical.Response{Data: b.metrics.data(families)}, nil
	case formatPrometheus:
		return metricsText(families, expfmt.NewFormat(expfmt.TypeTextPlain))
	case formatOpenMetrics:
		return metricsText(families, expfmt.NewFormat(expfmt.TypeOpenMetrics))
	default:
		return toResponse(badRequest("format %q is not allowed: it must be %q, %q or %q", format, formatData, formatPrometheus, formatOpenMetrics))
	}
}

// metricsText returns a response without Vault's JSON around it. A body of bytes crosses the
// plugin boundary in base64, which Vault decodes.
func metricsText(families []*dto.MetricFamily, format expfmt.Format) (*logical.Response, error) {
	var text bytes.Buffer
	encoder := expfmt.NewEncoder(&text, format)
	for _, family := range families {
		if err := encoder.Encode(family); err != nil {
			return nil, fmt.Errorf("encoding the metric %s: %w", family.GetName(), err)
		}
	}
	if closer, ok := encoder.(expfmt.Closer); ok { // it writes the end mark of OpenMetrics
		if err := closer.Close(); err != nil {
			return nil, fmt.Errorf("encoding the metrics: %w", err)
		}
	}
	return &logical.Response{Data: map[string]any{
		logical.HTTPStatusCode:  http.StatusOK,
		logical.HTTPContentType: string(format),
		logical.HTTPRawBody:     text.Bytes(),
	}}, nil
}

// data returns the metrics by name. A metric with labels is a map by their values.
func (m *metrics) data(families []*dto.MetricFamily) map[string]any {
	data := map[string]any{"scope": "node", "since": m.began.UTC().Format(time.RFC3339)}
	for _, family := range families {
		data[strings.TrimPrefix(family.GetName(), metricsPrefix)] = familyData(family.GetMetric())
	}
	return data
}

func familyData(series []*dto.Metric) any {
	values := make(map[string]any, len(series))
	for _, one := range series {
		if len(one.GetLabel()) == 0 {
			return seriesValue(one)
		}
		values[labelText(one.GetLabel())] = seriesValue(one)
	}
	return values
}

// labelText writes labels as in kind=user,role=ci.
func labelText(labels []*dto.LabelPair) string {
	pairs := make([]string, 0, len(labels))
	for _, label := range labels {
		pairs = append(pairs, label.GetName()+"="+label.GetValue())
	}
	return strings.Join(pairs, ",")
}

// seriesValue is a number, or of a histogram how many there were and their sum.
func seriesValue(series *dto.Metric) any {
	switch {
	case series.GetHistogram() != nil:
		return map[string]any{"count": series.GetHistogram().GetSampleCount(), "sum": series.GetHistogram().GetSampleSum()}
	case series.GetCounter() != nil:
		return series.GetCounter().GetValue()
	default:
		return series.GetGauge().GetValue()
	}
}

const (
	metricsHelpSynopsis    = `Read the metrics of this mount on this node.`
	metricsHelpDescription = `
Counters begin at zero when the engine starts on a node, and count what this
node does: a cluster's active node does nearly everything. Gauges that come from
stored records are absent until the engine has read these once after its start.

    vault read cognito/metrics

With format=prometheus or format=openmetrics the response is text that
Prometheus scrapes from /v1/cognito/metrics with a Vault token as bearer. Labels
name roles, kinds, AWS operations and error codes, and never a user. Reading the
metrics reads no storage and makes no call to AWS.
`
)
