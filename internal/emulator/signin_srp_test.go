// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/stretchr/testify/require"
)

// srpClient is the user's side of SRP, in hexadecimal text as Cognito's SDKs compute it. That real
// ones sign in was tried by hand with amazon-cognito-identity-js 6.3.21 and pycognito 2024.5.1.
type srpClient struct {
	n, g, private *big.Int
}

func newSRPClient() *srpClient {
	n, _ := new(big.Int).SetString(testPrime, 16)
	private, _ := new(big.Int).SetString(strings.Repeat("5d1f", 64), 16)
	return &srpClient{n: n, g: big.NewInt(2), private: private}
}

func (c *srpClient) public() *big.Int { return new(big.Int).Exp(c.g, c.private, c.n) }

// padHex returns the number in hexadecimal digits of whole bytes, without a sign bit.
func padHex(number *big.Int) string {
	digits := number.Text(16)
	switch {
	case len(digits)%2 == 1:
		return "0" + digits
	case strings.ContainsRune("89abcdef", rune(digits[0])):
		return "00" + digits
	default:
		return digits
	}
}

func hashHex(digits string) *big.Int {
	data, err := hex.DecodeString(digits)
	if err != nil {
		panic(err)
	}
	sum := sha256.Sum256(data)
	return new(big.Int).SetBytes(sum[:])
}

// signature proves that the user knows the password.
func (c *srpClient) signature(poolID, password, timestamp string, parameters map[string]string) string {
	_, poolName, _ := strings.Cut(poolID, "_")
	user := parameters["USER_ID_FOR_SRP"]
	b, _ := new(big.Int).SetString(parameters["SRP_B"], 16)
	salt, _ := new(big.Int).SetString(parameters["SALT"], 16)
	identity := sha256.Sum256([]byte(poolName + user + ":" + password))
	x := hashHex(padHex(salt) + hex.EncodeToString(identity[:]))
	u := hashHex(padHex(c.public()) + padHex(b))
	k := hashHex(padHex(c.n) + padHex(c.g))
	base := new(big.Int).Sub(b, new(big.Int).Mul(k, new(big.Int).Exp(c.g, x, c.n)))
	s := new(big.Int).Exp(base.Mod(base, c.n), new(big.Int).Add(c.private, new(big.Int).Mul(u, x)), c.n)

	pseudoRandom := testMAC(mustHex(padHex(u)), mustHex(padHex(s)))
	key := testMAC(pseudoRandom, append([]byte("Caldera Derived Key"), 1))[:16]
	block, _ := base64.StdEncoding.DecodeString(parameters["SECRET_BLOCK"])
	message := append([]byte(poolName+user), block...)
	return base64.StdEncoding.EncodeToString(testMAC(key, append(message, timestamp...)))
}

func mustHex(digits string) []byte {
	data, err := hex.DecodeString(digits)
	if err != nil {
		panic(err)
	}
	return data
}

func testMAC(key, message []byte) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write(message)
	return mac.Sum(nil)
}

// srpSignIn signs in without AWS credentials and without a session, as SDKs do.
func (b *env) srpSignIn(client *types.UserPoolClientType, name, password string) (*cognitoidentityprovider.RespondToAuthChallengeOutput, error) {
	b.t.Helper()
	c := newSRPClient()
	auth := map[string]string{"USERNAME": name, "SRP_A": c.public().Text(16)}
	if client.ClientSecret != nil {
		auth["SECRET_HASH"] = secretHash(client, name)
	}
	out, err := b.cognito.InitiateAuth(b.ctx, &cognitoidentityprovider.InitiateAuthInput{
		ClientId: client.ClientId, AuthFlow: types.AuthFlowTypeUserSrpAuth, AuthParameters: auth,
	})
	if err != nil {
		return nil, err
	}
	require.Equal(b.t, types.ChallengeNameTypePasswordVerifier, out.ChallengeName)
	require.Nil(b.t, out.Session)
	return b.cognito.RespondToAuthChallenge(b.ctx, &cognitoidentityprovider.RespondToAuthChallengeInput{
		ClientId: client.ClientId, ChallengeName: out.ChallengeName,
		ChallengeResponses: b.srpResponses(client, c, password, out.ChallengeParameters),
	})
}

func (b *env) srpResponses(client *types.UserPoolClientType, c *srpClient, password string, parameters map[string]string) map[string]string {
	timestamp := b.clock.Now().Format("Mon Jan 2 15:04:05 UTC 2006")
	responses := map[string]string{
		"USERNAME": parameters["USER_ID_FOR_SRP"], "TIMESTAMP": timestamp,
		"PASSWORD_CLAIM_SECRET_BLOCK": parameters["SECRET_BLOCK"],
		"PASSWORD_CLAIM_SIGNATURE":    c.signature(*client.UserPoolId, password, timestamp, parameters),
	}
	if client.ClientSecret != nil {
		responses["SECRET_HASH"] = secretHash(client, parameters["USER_ID_FOR_SRP"])
	}
	return responses
}

func srpClientOf(secret bool) func(*cognitoidentityprovider.CreateUserPoolClientInput) {
	return func(in *cognitoidentityprovider.CreateUserPoolClientInput) {
		in.GenerateSecret = secret
		in.ExplicitAuthFlows = []types.ExplicitAuthFlowsType{types.ExplicitAuthFlowsTypeAllowUserSrpAuth}
	}
}

func TestSignInBySRP(t *testing.T) {
	for name, test := range map[string]struct {
		client   func(*cognitoidentityprovider.CreateUserPoolClientInput)
		username string
		password string
		code     string
		words    string
	}{
		"the right password signs in at a public client":       {client: srpClientOf(false)},
		"the right password signs in at a confidential client": {client: srpClientOf(true)},
		"a wrong password is refused":                          {client: srpClientOf(false), password: otherPassword, code: "NotAuthorizedException", words: "Incorrect username or password."},
		"an unknown user is refused":                           {client: srpClientOf(false), username: "missing", code: "UserNotFoundException"},
		"a client without the flow is refused":                 {code: "InvalidParameterException", words: "USER_SRP_AUTH is not enabled for the client."},
	} {
		t.Run(name, func(t *testing.T) {
			b := newEnv(t)
			client := b.createClient(b.seed.UserPoolID, test.client)
			b.createConfirmedUser(b.seed.UserPoolID, "ann")
			if test.username == "" {
				test.username = "ann"
			}
			if test.password == "" {
				test.password = goodPassword
			}
			out, err := b.srpSignIn(client, test.username, test.password)
			requireOutcome(t, err, test.code, test.words)
			if test.code == "" {
				require.NoError(t, b.whoAmI(*out.AuthenticationResult.AccessToken))
			}
		})
	}
}

func TestSignInBySRPInEmailPool(t *testing.T) {
	b := newEnv(t)
	pool := b.createPool(emailPool)
	b.createConfirmedUser(pool, "ann@example.com")
	_, err := b.srpSignIn(b.createClient(pool, srpClientOf(true)), "ann@example.com", goodPassword)
	require.NoError(t, err)
}

func TestSRPWithATemporaryPasswordMeetsNewPasswordRequired(t *testing.T) {
	b := newEnv(t)
	b.createUser(b.seed.UserPoolID, "ann")
	out, err := b.srpSignIn(b.createClient(b.seed.UserPoolID, srpClientOf(false)), "ann", goodPassword)
	require.NoError(t, err)
	require.Equal(t, types.ChallengeNameTypeNewPasswordRequired, out.ChallengeName)
	require.NotNil(t, out.Session)
}

func TestWrongSRPSignInsLockTheUserOut(t *testing.T) {
	b := newEnv(t)
	client := b.createClient(b.seed.UserPoolID, srpClientOf(false))
	b.createConfirmedUser(b.seed.UserPoolID, "ann")
	for range 5 {
		_, err := b.srpSignIn(client, "ann", otherPassword)
		requireCode(t, err, "NotAuthorizedException", "Incorrect")
	}
	require.Len(t, b.user(b.seed.UserPoolID, "ann").WrongSignIns, 5)
	_, err := b.srpSignIn(client, "ann", goodPassword)
	requireCode(t, err, "NotAuthorizedException", "Password attempts exceeded")
	b.clock.Advance(time.Second)
	_, err = b.srpSignIn(client, "ann", goodPassword)
	require.NoError(t, err)
}

func TestAdminSignInBySRP(t *testing.T) {
	b := newEnv(t)
	client := b.createClient(b.seed.UserPoolID, srpClientOf(true))
	b.createConfirmedUser(b.seed.UserPoolID, "ann")
	c := newSRPClient()
	auth := map[string]string{"USERNAME": "ann", "SRP_A": c.public().Text(16), "SECRET_HASH": secretHash(client, "ann")}
	out, err := b.adminAuth(client, types.AuthFlowTypeUserSrpAuth, auth)
	require.NoError(t, err)
	answer := &cognitoidentityprovider.AdminRespondToAuthChallengeInput{
		UserPoolId: client.UserPoolId, ClientId: client.ClientId, ChallengeName: out.ChallengeName,
		ChallengeResponses: b.srpResponses(client, c, goodPassword, out.ChallengeParameters),
	}
	answered, err := b.cognito.AdminRespondToAuthChallenge(b.ctx, answer)
	require.NoError(t, err)
	require.NotNil(t, answered.AuthenticationResult)
	_, err = b.cognito.AdminRespondToAuthChallenge(b.ctx, answer)
	requireCode(t, err, "NotAuthorizedException", "session can only be used once")

	auth["SRP_A"] = "0"
	_, err = b.adminAuth(client, types.AuthFlowTypeUserSrpAuth, auth)
	requireCode(t, err, "InvalidParameterException", "SRP_A")
}

func TestWrongSRPAnswerUsesItsChallengeUp(t *testing.T) {
	b := newEnv(t)
	client := b.createClient(b.seed.UserPoolID, srpClientOf(false))
	b.createConfirmedUser(b.seed.UserPoolID, "ann")
	c := newSRPClient()
	out, err := b.cognito.InitiateAuth(b.ctx, &cognitoidentityprovider.InitiateAuthInput{
		ClientId: client.ClientId, AuthFlow: types.AuthFlowTypeUserSrpAuth,
		AuthParameters: map[string]string{"USERNAME": "ann", "SRP_A": c.public().Text(16)},
	})
	require.NoError(t, err)
	answer := func(password string) error {
		_, err := b.cognito.RespondToAuthChallenge(b.ctx, &cognitoidentityprovider.RespondToAuthChallengeInput{
			ClientId: client.ClientId, ChallengeName: out.ChallengeName,
			ChallengeResponses: b.srpResponses(client, c, password, out.ChallengeParameters),
		})
		return err
	}
	requireCode(t, answer(otherPassword), "NotAuthorizedException", "Incorrect username or password.")
	requireCode(t, answer(goodPassword), "NotAuthorizedException", "session can only be used once")
}

func TestSeededPublicClientSignsInUsers(t *testing.T) {
	b := newEnv(t)
	b.createConfirmedUser(b.seed.UserPoolID, "ann")
	client := &types.UserPoolClientType{UserPoolId: &b.seed.UserPoolID, ClientId: &b.seed.PublicClientID}
	_, err := b.srpSignIn(client, "ann", goodPassword)
	require.NoError(t, err)
	_, err = b.cognito.InitiateAuth(b.ctx, &cognitoidentityprovider.InitiateAuthInput{
		ClientId: aws.String(b.seed.PublicClientID), AuthFlow: types.AuthFlowTypeUserPasswordAuth,
		AuthParameters: map[string]string{"USERNAME": "ann", "PASSWORD": goodPassword},
	})
	require.NoError(t, err)
}

// testPrime is the 3072-bit prime of RFC 3526.
const testPrime = "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74" +
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
