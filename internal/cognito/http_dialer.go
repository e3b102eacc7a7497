// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
	"time"
)

const (
	dialTimeout   = 30 * time.Second
	dialKeepAlive = 30 * time.Second
)

// errLinkLocal is the error for a domain or endpoint that resolves to a link-local address.
var errLinkLocal = errors.New("link-local addresses are not allowed")

// hostServicesIPv6 has the addresses of AWS's services on each host, which are not link-local:
// those of instance metadata, of EKS Pod Identity, and others.
var hostServicesIPv6 = netip.MustParsePrefix("fd00:ec2::/32")

// newDialer returns a dialer that refuses link-local addresses, whatever name resolved to them: the
// metadata services of clouds listen there, and no endpoint of Cognito does. The SDK reaches them
// for credentials with a client of its own.
func newDialer() *net.Dialer {
	return &net.Dialer{Timeout: dialTimeout, KeepAlive: dialKeepAlive, Control: refuseLinkLocal}
}

func refuseLinkLocal(_, address string, _ syscall.RawConn) error {
	target, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	if ip := target.Addr().Unmap().WithZone(""); ip.IsLinkLocalUnicast() || hostServicesIPv6.Contains(ip) {
		return errLinkLocal
	}
	return nil
}
