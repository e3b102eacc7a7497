// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"encoding/xml"
	"net/http"
	"strings"
)

const actionAssumeRoleWithWebIdentity = "AssumeRoleWithWebIdentity"

type webIdentityAnswer struct {
	XMLName     xml.Name       `xml:"AssumeRoleWithWebIdentityResponse"`
	Namespace   string         `xml:"xmlns,attr"`
	User        xmlAssumedUser `xml:"AssumeRoleWithWebIdentityResult>AssumedRoleUser"`
	Credentials xmlCredentials `xml:"AssumeRoleWithWebIdentityResult>Credentials"`
	Metadata    xmlMetadata    `xml:"ResponseMetadata"`
}

// authorizeWebIdentity needs no signature. It checks only that the token looks like a JWT, because
// the emulator does not know its issuer.
func (q query) authorizeWebIdentity() *exception {
	if strings.Count(q.form.Get("WebIdentityToken"), ".") != 2 {
		return newException("InvalidIdentityToken", "The web identity token that was passed could not be validated.")
	}
	return q.server.iam.permitAssuming(q.signer, q.form.Get("RoleArn"), "")
}

func (q query) assumeRoleWithWebIdentity() answer {
	assumed, err := q.newAssumedRole()
	if err != nil {
		return q.server.refuseQuery(err)
	}
	return q.server.xmlAnswer(http.StatusOK, webIdentityAnswer{
		Namespace: stsNamespace, User: assumed.user, Credentials: assumed.credentials, Metadata: q.metadata(),
	})
}
