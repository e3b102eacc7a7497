// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/go-jose/go-jose/v4"
)

// cheapSignatures holds one header and signature per key, by key id. It is shared by all emulators
// of a process, because a model test starts thousands with the same key and each RS256 signature
// costs a millisecond.
var cheapSignatures sync.Map

// cheapParts are the two parts of a JWT that all cheap tokens of a key share.
type cheapParts struct {
	header    string
	signature string
}

// cheapPartsOf signs an empty payload once per key.
func cheapPartsOf(key *loadedKey) (cheapParts, error) {
	if known, ok := cheapSignatures.Load(key.public.KeyID); ok {
		return known.(cheapParts), nil
	}
	compact, err := signCompact(key.signer, []byte("{}"))
	if err != nil {
		return cheapParts{}, err
	}
	parts := strings.Split(compact, ".")
	cheap := cheapParts{header: parts[0], signature: parts[2]}
	cheapSignatures.Store(key.public.KeyID, cheap)
	return cheap, nil
}

// signCheaply returns a JWT with a real header and payload and the signature of another payload.
func (k *signingKeys) signCheaply(payload []byte) (string, error) {
	keys := k.all()
	parts, err := cheapPartsOf(keys[len(keys)-1])
	if err != nil {
		return "", err
	}
	return parts.header + "." + base64.RawURLEncoding.EncodeToString(payload) + "." + parts.signature, nil
}

// verifyCheaply accepts a JWT whose header and signature signCheaply used, whatever its payload is.
func (k *signingKeys) verifyCheaply(compact string, into any) error {
	parts := strings.Split(compact, ".")
	if len(parts) != 3 || !k.isCheap(cheapParts{header: parts[0], signature: parts[2]}) {
		return errors.New("not a cheap token of this emulator")
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return err
	}
	return json.Unmarshal(payload, into)
}

func (k *signingKeys) isCheap(parts cheapParts) bool {
	for _, key := range k.all() {
		if known, err := cheapPartsOf(key); err == nil && known == parts {
			return true
		}
	}
	return false
}

func signCompact(signer jose.Signer, payload []byte) (string, error) {
	signed, err := signer.Sign(payload)
	if err != nil {
		return "", fmt.Errorf("signing a token: %w", err)
	}
	compact, err := signed.CompactSerialize()
	if err != nil {
		return "", fmt.Errorf("serializing a token: %w", err)
	}
	return compact, nil
}
