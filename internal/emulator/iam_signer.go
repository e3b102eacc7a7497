// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"net/http"
	"strings"
)

const (
	signatureAlgorithm = "AWS4-HMAC-SHA256"
	securityToken      = "X-Amz-Security-Token"
	serviceCognito     = "cognito-idp"
	serviceSTS         = "sts"
)

// signer is who signed a request, and for which region and service.
type signer struct {
	accessKey    string
	region       string
	service      string
	sessionToken string
}

// readSigner reads the credential scope in the Authorization header of a Signature Version 4
// request. The zero signer means that the request is not signed.
func readSigner(r *http.Request) signer {
	algorithm, parameters, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if algorithm != signatureAlgorithm {
		return signer{}
	}
	scope := strings.Split(credentialOf(parameters), "/")
	if len(scope) != 5 {
		return signer{}
	}
	return signer{
		accessKey:    scope[0],
		region:       scope[2],
		service:      scope[3],
		sessionToken: r.Header.Get(securityToken),
	}
}

// credentialOf returns the value of Credential in "Credential=…, SignedHeaders=…, Signature=…".
func credentialOf(parameters string) string {
	for parameter := range strings.SplitSeq(parameters, ",") {
		if value, ok := strings.CutPrefix(strings.TrimSpace(parameter), "Credential="); ok {
			return value
		}
	}
	return ""
}

// authenticate refuses requests that are not signed for the service. It does not verify the
// signature, because the emulator does not know secret access keys.
func (s signer) authenticate(service string) *exception {
	if s.accessKey == "" {
		return newException("MissingAuthenticationTokenException", "Missing Authentication Token")
	}
	if s.service != service {
		return newException("InvalidSignatureException", "Credential should be scoped to correct service: '%s'.", service)
	}
	return nil
}
