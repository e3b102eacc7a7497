// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strings"
)

// hostPattern matches a DNS name or an IPv4 address.
var hostPattern = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$`)

// ParseDomain parses the domain of a user pool: a host, or its https URL without
// path, user, query or fragment. Plain http is allowed to loopback addresses
// only. The error does not repeat the value.
func ParseDomain(domain string) (*url.URL, error) {
	if !strings.Contains(domain, "://") {
		domain = "https://" + domain
	}
	return parseBaseURL(domain)
}

// ParseEndpoint parses the URL of an AWS endpoint by the rules of ParseDomain. The
// scheme is required, because the SDK requires it.
func ParseEndpoint(endpoint string) (*url.URL, error) {
	if !strings.Contains(endpoint, "://") {
		return nil, errors.New("it must be a URL that begins with https://")
	}
	return parseBaseURL(endpoint)
}

func parseBaseURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return nil, errors.New("it is not a host or URL")
	case u.User != nil:
		return nil, errors.New("it must not hold a user or password")
	case strings.Trim(u.Path, "/") != "" || u.Opaque != "":
		return nil, errors.New("it must not hold a path")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.Contains(raw, "#"):
		return nil, errors.New("it must not hold a query or fragment")
	case !validHost(u.Hostname()):
		return nil, errors.New("its host is not a DNS name or IP address")
	}
	if err := checkScheme(u); err != nil {
		return nil, err
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host}, nil
}

func checkScheme(u *url.URL) error {
	switch {
	case u.Scheme == "https":
		return nil
	case u.Scheme != "http":
		return fmt.Errorf("its scheme is %q where only https is allowed", u.Scheme)
	case !isLoopback(u.Hostname()):
		return errors.New("plain http is allowed to a loopback address only")
	default:
		return nil
	}
}

func validHost(host string) bool {
	return hostPattern.MatchString(host) || net.ParseIP(host) != nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}
