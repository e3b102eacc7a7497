// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
)

const (
	// responseMax is far more than any response that the engine asks AWS for.
	responseMax = 4 << 20
	// sendAttempts bounds how many closed connections one request may meet.
	sendAttempts = 3
)

// errPage is an HTML page with a status of success, from a captive portal or a
// proxy. The SDK would treat it as success of a call without output.
var errPage = errors.New("a web page was returned instead of an answer of AWS")

// sdkTransport returns the SDK's own kind of HTTP client, because the SDK adds
// the certificates of AWS_CA_BUNDLE to no other kind.
func sdkTransport() *awshttp.BuildableClient {
	return awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
		t.MaxIdleConns = 0
		t.MaxIdleConnsPerHost = idleConnections
		t.Proxy = proxyOf
	})
}

// httpClient returns the client of every request to AWS and to token
// endpoints. It is made of the transport that the SDK configured for the first
// of them, so that AWS_CA_BUNDLE holds for all.
func (s *Service) httpClient(configured aws.HTTPClient) *http.Client {
	s.httpOnce.Do(func() {
		next := s.settings.Transport
		if sdk, ok := configured.(*awshttp.BuildableClient); ok && next == nil {
			transport := sdk.GetTransport()
			transport.DialContext = newDialer().DialContext
			next = transport
		}
		s.http = &http.Client{
			Transport: transport{next},
			Timeout:   s.settings.RequestTimeout,
			// No redirect is part of any protocol here, and the request carries secrets.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	})
	return s.http
}

// proxyOf keeps plain http away from proxies. Plain http is for loopback
// addresses, which net/http reaches without a proxy; but a name like
// "LOCALHOST" and the secrets of its request would go to the proxy unencrypted.
func proxyOf(req *http.Request) (*url.URL, error) {
	if req.URL.Scheme != "https" {
		return nil, nil
	}
	return http.ProxyFromEnvironment(req)
}

// transport sends a copy of the body, and sends it again where an idle
// connection was closed by the server before the request was written. It marks
// the errors after which the request was certainly not sent.
type transport struct{ next http.RoundTripper }

// RoundTrip sends a request. The body is copied because the SDK closes its own
// when the response comes: if net/http has not seen the end of the body by
// then, it takes that for a failed write and closes the connection.
func (t transport) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := readBody(req)
	if err != nil {
		return nil, err
	}
	for attempt := 1; ; attempt++ {
		sent := &sendTrace{}
		resp, err := t.next.RoundTrip(sent.attach(req, body))
		if err == nil {
			return resp, nil
		}
		if !sent.certainlyNot() || req.Context().Err() != nil {
			return nil, err
		}
		if !sent.reused || attempt == sendAttempts {
			return nil, &notSentError{err}
		}
	}
}

func readBody(req *http.Request) ([]byte, error) {
	if req.Body == nil {
		return nil, nil
	}
	body, err := io.ReadAll(req.Body)
	if err := errors.Join(err, req.Body.Close()); err != nil {
		return nil, fmt.Errorf("reading the request: %w", err)
	}
	return body, nil
}

// sendTrace records how far a request came. A transport that reports nothing,
// such as that of a test, counts as one that sent the request.
type sendTrace struct {
	mu                      sync.Mutex
	started, reused, headed bool
}

// attach returns a copy of the request that reports to the trace.
func (s *sendTrace) attach(req *http.Request, body []byte) *http.Request {
	ctx := httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		GetConn: func(string) { s.set(func() { s.started, s.reused, s.headed = true, false, false }) },
		GotConn: func(info httptrace.GotConnInfo) { s.set(func() { s.reused = info.Reused }) },
		// It follows the headers into the buffer. Without it no complete request can have left.
		WroteHeaders: func() { s.set(func() { s.headed = true }) },
	})
	req = req.Clone(ctx)
	if body != nil {
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
		req.Body = io.NopCloser(bytes.NewReader(body))
	}
	return req
}

func (s *sendTrace) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func (s *sendTrace) certainlyNot() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.started && !s.headed
}

// notSentError is a failure before anything of a request was sent.
type notSentError struct{ err error }

func (e *notSentError) Error() string { return e.err.Error() }

func (e *notSentError) Unwrap() error { return e.err }

// notSent reports a failure to send the request at all, after which nothing
// can have happened at AWS.
func notSent(err error) bool {
	var marked *notSentError
	var op *net.OpError
	return errors.As(err, &marked) || errors.As(err, &op) && (op.Op == "dial" || op.Op == "proxyconnect")
}

// awsClient is the HTTP client of the SDK.
type awsClient struct{ next aws.HTTPClient }

// Do refuses pages, and bounds what is read of a response.
func (c awsClient) Do(req *http.Request) (*http.Response, error) {
	resp, err := c.next.Do(req)
	if err != nil {
		return resp, err
	}
	media, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err == nil && media == "text/html" && resp.StatusCode < http.StatusMultipleChoices {
		return nil, errors.Join(errPage, resp.Body.Close())
	}
	resp.Body = http.MaxBytesReader(nil, resp.Body, responseMax)
	return resp, nil
}
