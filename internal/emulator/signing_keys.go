// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/go-jose/go-jose/v4"
)

// SigningKeyBits is the size of the RSA key that signs tokens, which is that of Cognito's.
const SigningKeyBits = 2048

// signingKeys is the one key that signs the tokens of all pools.
type signingKeys struct {
	load func() *loadedKey
}

type loadedKey struct {
	public jose.JSONWebKey
	signer jose.Signer
}

// newSigningKeys makes a key at the first need when it is given none.
func newSigningKeys(key *rsa.PrivateKey) *signingKeys {
	return &signingKeys{load: sync.OnceValue(func() *loadedKey { return loadKey(key) })}
}

// loadKey panics when there is no key to be had, as there is no emulator without one.
func loadKey(key *rsa.PrivateKey) *loadedKey {
	var err error
	if key == nil {
		if key, err = rsa.GenerateKey(rand.Reader, SigningKeyBits); err != nil {
			panic(fmt.Errorf("making the emulator's signing key: %w", err))
		}
	}
	thumbprint := sha256.Sum256(key.N.Bytes())
	private := jose.JSONWebKey{Key: key, KeyID: base64.StdEncoding.EncodeToString(thumbprint[:]), Algorithm: string(jose.RS256), Use: "sig"}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: private}, nil)
	if err != nil {
		panic(fmt.Errorf("using the emulator's signing key: %w", err))
	}
	return &loadedKey{public: private.Public(), signer: signer}
}

func (k *signingKeys) keySet() jose.JSONWebKeySet {
	return jose.JSONWebKeySet{Keys: []jose.JSONWebKey{k.load().public}}
}

// token is a JWT that is signed when it is written out, which is after the state has been let go of.
type token struct {
	keys   *signingKeys
	claims claims
}

// MarshalJSON implements json.Marshaler.
func (t *token) MarshalJSON() ([]byte, error) {
	payload, err := json.Marshal(t.claims)
	if err != nil {
		return nil, err
	}
	signed, err := t.keys.load().signer.Sign(payload)
	if err != nil {
		return nil, fmt.Errorf("signing a token: %w", err)
	}
	compact, err := signed.CompactSerialize()
	if err != nil {
		return nil, fmt.Errorf("writing a token: %w", err)
	}
	return json.Marshal(compact)
}

// verify returns the claims of a JWT that the emulator has signed.
func (k *signingKeys) verify(compact string, into any) error {
	signed, err := jose.ParseSignedCompact(compact, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		return err
	}
	payload, err := signed.Verify(k.load().public)
	if err != nil {
		return err
	}
	return json.Unmarshal(payload, into)
}
