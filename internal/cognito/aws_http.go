// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
)

// answerMax is far more than any answer that the engine asks AWS for.
const answerMax = 4 << 20

// errPage is an HTML page with a status of success: a captive portal's or a
// proxy's. The SDK would take it for success of calls that answer nothing.
var errPage = errors.New("a web page answered in the place of AWS")

// newAWSHTTPClient keeps to the SDK's own kind of client, because only that
// one takes a certificate bundle from AWS_CA_BUNDLE.
func newAWSHTTPClient(timeout time.Duration) aws.HTTPClient {
	return awshttp.NewBuildableClient().WithTimeout(timeout).WithTransportOptions(func(t *http.Transport) {
		t.MaxIdleConns = 0
		t.MaxIdleConnsPerHost = idleConnections
		t.Proxy = proxyOf
	})
}

// proxyOf keeps plain http away from proxies. It is for loopback addresses,
// which net/http reaches without one, but for a name like "LOCALHOST" it would
// hand the request, and the secrets in it, to the proxy in the clear.
func proxyOf(req *http.Request) (*url.URL, error) {
	if req.URL.Scheme != "https" {
		return nil, nil
	}
	return http.ProxyFromEnvironment(req)
}

// guardedClient stands between the SDK and its HTTP client.
type guardedClient struct{ next aws.HTTPClient }

// Do sends a copy of the body: the SDK closes its own when the answer comes,
// and when net/http has not yet seen the body's end by then, it takes that for
// a failed write and gives the connection up.
func (c guardedClient) Do(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return nil, fmt.Errorf("reading the request: %w", err)
		}
		req.Body = io.NopCloser(bytes.NewReader(body))
	}
	// The SDK's client follows redirects of status 307 and 308, with all that the body holds, when it can read the body
	// again. AWS answers with none.
	req.GetBody = nil
	resp, err := c.next.Do(req)
	if err != nil {
		return resp, err
	}
	return checked(resp)
}

// checked refuses pages and bounds what is read of an answer.
func checked(resp *http.Response) (*http.Response, error) {
	media, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err == nil && media == "text/html" && resp.StatusCode < http.StatusMultipleChoices {
		return nil, errors.Join(errPage, resp.Body.Close())
	}
	resp.Body = http.MaxBytesReader(nil, resp.Body, answerMax)
	return resp, nil
}
