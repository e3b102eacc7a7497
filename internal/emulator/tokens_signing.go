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

	"vault-plugin-secrets-cognito/internal/emulator/control"
)

// SigningKeyBits is the size of the RSA key that signs tokens, the same as Cognito's.
const SigningKeyBits = 2048

// signingKeys signs the tokens of all pools with the newest key; earlier keys stay valid.
type signingKeys struct {
	// cheap reuses one signature for all tokens of a key; see Options.CheapTokens.
	cheap bool

	mu   sync.Mutex
	keys []*loadedKey
}

type loadedKey struct {
	public jose.JSONWebKey
	signer jose.Signer
}

// newSigningKeys generates a key when it is first needed if none is passed.
func newSigningKeys(key *rsa.PrivateKey, cheap bool) *signingKeys {
	if key == nil {
		return &signingKeys{cheap: cheap}
	}
	return &signingKeys{cheap: cheap, keys: []*loadedKey{loadKey(key)}}
}

// loadKey panics if the key is unusable, because no emulator works without one.
func loadKey(key *rsa.PrivateKey) *loadedKey {
	thumbprint := sha256.Sum256(key.N.Bytes())
	private := jose.JSONWebKey{Key: key, KeyID: base64.StdEncoding.EncodeToString(thumbprint[:]), Algorithm: string(jose.RS256), Use: "sig"}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: private}, nil)
	if err != nil {
		panic(fmt.Errorf("loading the signing key: %w", err))
	}
	return &loadedKey{public: private.Public(), signer: signer}
}

// replace lets a new key sign from now on, as Cognito does from time to time.
func (k *signingKeys) replace(wanted control.SigningKey) error {
	key, err := rsa.GenerateKey(rand.Reader, wanted.Bits)
	if err != nil {
		return fmt.Errorf("generating a signing key of %d bits: %w", wanted.Bits, err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keys = append(k.keys, loadKey(key))
	return nil
}

// all returns at least one key; the last one signs.
func (k *signingKeys) all() []*loadedKey {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.keys) == 0 {
		key, err := rsa.GenerateKey(rand.Reader, SigningKeyBits)
		if err != nil {
			panic(fmt.Errorf("generating the signing key: %w", err))
		}
		k.keys = append(k.keys, loadKey(key))
	}
	return k.keys
}

// sign returns a compact JWT with the payload, signed by the newest key.
func (k *signingKeys) sign(payload []byte) (string, error) {
	if k.cheap {
		return k.signCheaply(payload)
	}
	keys := k.all()
	return signCompact(keys[len(keys)-1].signer, payload)
}

func (k *signingKeys) keySet() (set jose.JSONWebKeySet) {
	for _, key := range k.all() {
		set.Keys = append(set.Keys, key.public)
	}
	return set
}

// token is a JWT that is signed when it is encoded, which is after the lock on the state is
// released.
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
	compact, err := t.keys.sign(payload)
	if err != nil {
		return nil, err
	}
	return json.Marshal(compact)
}

// verify returns the claims of a JWT that the emulator has signed.
func (k *signingKeys) verify(compact string, into any) error {
	if k.cheap {
		return k.verifyCheaply(compact, into)
	}
	signed, err := jose.ParseSignedCompact(compact, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		return err
	}
	payload, err := signed.Verify(k.keySet())
	if err != nil {
		return err
	}
	return json.Unmarshal(payload, into)
}
