// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"math/big"
	"strings"
)

const (
	passwordVerifier = "PASSWORD_VERIFIER"

	parameterSRPA = "SRP_A"

	responseSecretBlock = "PASSWORD_CLAIM_SECRET_BLOCK"
	responseSignature   = "PASSWORD_CLAIM_SIGNATURE"
	responseTimestamp   = "TIMESTAMP"

	srpSaltBytes        = 16
	srpPrivateBytes     = 128
	srpSecretBlockBytes = 400
	srpKeyBytes         = 16
	srpKeyInfo          = "Caldera Derived Key"
)

// srpPrime is the 3072-bit prime of RFC 3526, group 15, which Cognito's SDKs use. The generator is
// 2.
const srpPrime = "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74" +
	"020BBEA63B139B22514A08798E3404DDEF9519B3CD3A431B302B0A6DF25F1437" +
	"4FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED" +
	"EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF05" +
	"98DA48361C55D39A69163FA8FD24CF5F83655D23DCA3AD961C62F356208552BB" +
	"9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3B" +
	"E39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF695581718" +
	"3995497CEA956AE515D2261898FA051015728E5A8AAAC42DAD33170D04507A33" +
	"A85521ABDF1CBA64ECFB850458DBEF0A8AEA71575D060C7DB3970F85A6E1E4C7" +
	"ABF5AE8CDB0933D71E8C94E04A25619DCEE3D2261AD2EE6BF12FFA06D98A0864" +
	"D87602733EC86A64521F2B18177B200CBBE117577A615D6C770988C0BAD946E2" +
	"08E24FA074E5AB3143DB5BFCE0FD108E4B82D120A93AD2CAFFFFFFFFFFFFFFFF"

// srpGroup holds the numbers that both sides know.
type srpGroup struct {
	n, g, k *big.Int
}

func newSRPGroup() srpGroup {
	n, ok := new(big.Int).SetString(srpPrime, 16)
	if !ok {
		panic("the prime of the SRP group is not a number")
	}
	g := big.NewInt(2)
	return srpGroup{n: n, g: g, k: srpHash(padded(n), padded(g))}
}

// srpExchange is a sign-in with the Secure Remote Password protocol (RFC 5054): the user proves to
// know the password without sending it.
type srpExchange struct {
	// a and b are the public numbers of the user and of Cognito; private belongs to b.
	a, b, private *big.Int
	salt          *big.Int
	verifier      *big.Int
	secretBlock   []byte
}

// padded returns the bytes of a positive number as Cognito's SDKs hash them, with a leading zero
// where the first bit is set.
func padded(number *big.Int) []byte {
	b := number.Bytes()
	if len(b) == 0 || b[0]&0x80 != 0 {
		return append([]byte{0}, b...)
	}
	return b
}

func srpHash(parts ...[]byte) *big.Int {
	hash := sha256.New()
	for _, part := range parts {
		hash.Write(part)
	}
	return new(big.Int).SetBytes(hash.Sum(nil))
}

// identity returns the name that the password is hashed with: pool name and username.
func (u *user) identity() string {
	_, poolName, _ := strings.Cut(u.pool.id, "_")
	return poolName + u.username
}

// signInBySRP answers the user's public number with a PASSWORD_VERIFIER challenge. Like Cognito's
// it has no session: the secret block identifies it.
func (r *request) signInBySRP(c *client, in initiateAuthInput) (any, error) {
	if !c.allows(in.AuthFlow) {
		return nil, flowNotEnabled(in.AuthFlow)
	}
	if err := requireParameters(in.AuthParameters, parameterUsername, parameterSRPA); err != nil {
		return nil, err
	}
	name := in.AuthParameters[parameterUsername]
	if err := c.checkSecretHash(name, in.AuthParameters[parameterSecretHash]); err != nil {
		return nil, err
	}
	u, err := r.userSigningIn(c, name)
	if err != nil {
		return nil, err
	}
	exchange, err := r.newSRPExchange(u, in.AuthParameters[parameterSRPA])
	if err != nil {
		return nil, err
	}
	block := base64.StdEncoding.EncodeToString(exchange.secretBlock)
	r.storeChallenge(block, c, u, passwordVerifier).srp = exchange
	return authOutput{ChallengeName: passwordVerifier, ChallengeParameters: map[string]string{
		"SALT":            exchange.salt.Text(16),
		"SRP_B":           exchange.b.Text(16),
		"SECRET_BLOCK":    block,
		parameterUsername: u.username,
		"USER_ID_FOR_SRP": u.username,
	}}, nil
}

func (r *request) newSRPExchange(u *user, publicA string) (*srpExchange, error) {
	group := newSRPGroup()
	a, ok := new(big.Int).SetString(publicA, 16)
	if !ok || new(big.Int).Mod(a, group.n).Sign() == 0 {
		return nil, invalidParameter("Invalid SRP_A.")
	}
	x := &srpExchange{
		a:           a,
		private:     new(big.Int).SetBytes(r.server.random.bytes(srpPrivateBytes)),
		salt:        new(big.Int).SetBytes(r.server.random.bytes(srpSaltBytes)),
		secretBlock: r.server.random.bytes(srpSecretBlockBytes),
	}
	secret := sha256.Sum256([]byte(u.identity() + ":" + u.password()))
	x.verifier = new(big.Int).Exp(group.g, srpHash(padded(x.salt), secret[:]), group.n)
	x.b = new(big.Int).Mul(group.k, x.verifier)
	x.b.Add(x.b, new(big.Int).Exp(group.g, x.private, group.n)).Mod(x.b, group.n)
	return x, nil
}

// key returns the key that both sides derive if the user knows the password.
func (x *srpExchange) key() []byte {
	group := newSRPGroup()
	u := srpHash(padded(x.a), padded(x.b))
	s := new(big.Int).Exp(x.verifier, u, group.n)
	s.Mul(s, x.a).Exp(s, x.private, group.n)
	pseudoRandom := hmacSHA256(padded(u), padded(s))
	return hmacSHA256(pseudoRandom, []byte(srpKeyInfo), []byte{1})[:srpKeyBytes]
}

func hmacSHA256(key []byte, parts ...[]byte) []byte {
	mac := hmac.New(sha256.New, key)
	for _, part := range parts {
		mac.Write(part)
	}
	return mac.Sum(nil)
}

// answerPasswordVerifier uses the challenge up even if the password is wrong. It does not compare
// the timestamp with the clock.
func (r *request) answerPasswordVerifier(asked *challenge, responses map[string]string) error {
	if err := requireParameters(responses, responseSignature, responseTimestamp); err != nil {
		return err
	}
	asked.used = true
	got, err := base64.StdEncoding.DecodeString(responses[responseSignature])
	if err != nil {
		return invalidParameter("%s is not base64.", responseSignature)
	}
	want := hmacSHA256(asked.srp.key(), []byte(asked.user.identity()), asked.srp.secretBlock, []byte(responses[responseTimestamp]))
	return asked.user.checkProof(hmac.Equal(want, got), r.now)
}
