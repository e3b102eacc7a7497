// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/cognito"
)

// sentSecrets are what the engine sends in one call or another.
var sentSecrets = []string{clientSecret, "Perm-hush-1!", "Temp-hush-2!", "refresh-hush-3", "session-hush-4", "246813"}

// echo stands in an answer for every secret that the request held.
const echo = "ECHO"

// hostileAWS is an AWS that gives sane answers to the first calls and then its own.
type hostileAWS struct {
	*httptest.Server
	mu sync.Mutex
	hostileAnswer
}

// hostileAnswer is what is answered when the sane answers are used up.
type hostileAnswer struct {
	sane        int
	status      int
	contentType string
	body        string
	// gzipped says that the body is compressed, and packed that it really is.
	// short promises more bytes than come.
	gzipped, packed, short bool
}

func newHostileAWS(tb testing.TB) *hostileAWS {
	tb.Helper()
	l := &hostileAWS{}
	l.Server = httptest.NewUnstartedServer(l)
	l.Config.SetKeepAlivesEnabled(false)
	l.Config.ErrorLog = nil
	l.Start()
	tb.Cleanup(l.Close)
	return l
}

func (l *hostileAWS) answerWith(t hostileAnswer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hostileAnswer = t
}

func (l *hostileAWS) next() (hostileAnswer, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sane--
	return l.hostileAnswer, l.sane >= 0
}

func (l *hostileAWS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	request, _ := io.ReadAll(r.Body) // a request that breaks off gets its answer all the same
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	answer, sane := l.next()
	if sane {
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		_, _ = io.WriteString(w, saneAnswers[operation]) // the client may be gone
		return
	}
	answer.write(w, []byte(strings.ReplaceAll(answer.body, echo, secretsIn(string(request)))))
}

func secretsIn(request string) string {
	return strings.Join(slices.DeleteFunc(slices.Clone(sentSecrets), func(s string) bool { return !strings.Contains(request, s) }), " ")
}

func (a hostileAnswer) write(w http.ResponseWriter, body []byte) {
	w.Header().Set("Content-Type", a.contentType)
	if a.gzipped {
		w.Header().Set("Content-Encoding", "gzip")
	}
	if a.packed {
		body = packed(body)
	}
	if a.short {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)+100))
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(body) // the client may be gone
}

func packed(body []byte) []byte {
	var out bytes.Buffer
	zipper := gzip.NewWriter(&out)
	_, _ = zipper.Write(body) // a buffer takes everything
	_ = zipper.Close()
	return out.Bytes()
}

// saneAnswers let a call of many steps come as far as its later ones.
var saneAnswers = map[string]string{
	"AdminCreateUser":        `{"User":{"Username":"u","Attributes":[{"Name":"sub","Value":"s"}],"Enabled":true}}`,
	"AdminInitiateAuth":      `{"ChallengeName":"MFA_SETUP","Session":"x","ChallengeParameters":{"USER_ID_FOR_SRP":"u"}}`,
	"InitiateAuth":           `{"ChallengeName":"NEW_PASSWORD_REQUIRED","Session":"x"}`,
	"AssociateSoftwareToken": `{"SecretCode":"ABCDEFGHIJKLMNOP","Session":"x"}`, "VerifySoftwareToken": `{"Status":"SUCCESS","Session":"x"}`,
	"DescribeUserPool": `{"UserPool":{}}`, "DescribeUserPoolClient": `{"UserPoolClient":{"ClientSecret":"` + clientSecret + `"}}`,
}

// operations are all that the engine asks of AWS, each through the call that does it.
var operations = map[string]func(ctx context.Context, s *cognito.Service, pool *cognito.Pool) error{
	"issue a user": func(ctx context.Context, _ *cognito.Service, p *cognito.Pool) error {
		_, err := p.IssueUser(ctx, aUser(false))
		return err
	},
	"issue a user with TOTP": func(ctx context.Context, _ *cognito.Service, p *cognito.Pool) error {
		_, err := p.IssueUser(ctx, aUser(true))
		return err
	},
	"set a password": func(ctx context.Context, _ *cognito.Service, p *cognito.Pool) error {
		return p.ReplacePassword(ctx, "u", sentSecrets[1])
	},
	"sign out": func(ctx context.Context, _ *cognito.Service, p *cognito.Pool) error { return p.SignOutUser(ctx, "u") },
	"delete":   func(ctx context.Context, _ *cognito.Service, p *cognito.Pool) error { return p.DeleteUser(ctx, "u") },
	"disable":  func(ctx context.Context, _ *cognito.Service, p *cognito.Pool) error { return p.DisableUser(ctx, "u") },
	"look at user": func(ctx context.Context, _ *cognito.Service, p *cognito.Pool) error {
		_, err := p.User(ctx, "u")
		return err
	},
	"sign in": func(ctx context.Context, _ *cognito.Service, p *cognito.Pool) error {
		_, err := p.SignIn(ctx, anApp(), someCredentials(), map[string]string{"k": "v"})
		return err
	},
	"refresh": func(ctx context.Context, _ *cognito.Service, p *cognito.Pool) error {
		_, err := p.Refresh(ctx, anApp(), sentSecrets[3], "u", nil)
		return err
	},
	"change own password": func(ctx context.Context, _ *cognito.Service, p *cognito.Pool) error {
		session, err := p.TrySignIn(ctx, anApp(), someCredentials(), true)
		if err != nil {
			return err
		}
		return p.ChangePassword(ctx, session, sentSecrets[2])
	},
	"list secrets": func(ctx context.Context, _ *cognito.Service, p *cognito.Pool) error {
		_, err := p.ClientSecretIDs(ctx, "c")
		return err
	},
	"add a secret": func(ctx context.Context, _ *cognito.Service, p *cognito.Pool) error {
		_, err := p.AddClientSecret(ctx, "c", clientSecret)
		return err
	},
	"delete a secret": func(ctx context.Context, _ *cognito.Service, p *cognito.Pool) error {
		return p.DeleteClientSecret(ctx, "c", "i")
	},
	"rules": func(ctx context.Context, _ *cognito.Service, p *cognito.Pool) error {
		_, err := p.Rules(ctx)
		return err
	},
	"software tokens": func(ctx context.Context, _ *cognito.Service, p *cognito.Pool) error {
		_, err := p.AllowsSoftwareTokens(ctx)
		return err
	},
	"client": func(ctx context.Context, _ *cognito.Service, p *cognito.Pool) error {
		_, err := p.Client(ctx, "c")
		return err
	},
	"group": func(ctx context.Context, _ *cognito.Service, p *cognito.Pool) error { return p.FindGroup(ctx, "g") },
	"domain": func(ctx context.Context, _ *cognito.Service, p *cognito.Pool) error {
		_, err := p.Domain(ctx, "example.com")
		return err
	},
	"identity": func(ctx context.Context, s *cognito.Service, _ *cognito.Pool) error {
		_, err := s.Identity(ctx, cognito.Target{Region: "eu-west-1"})
		return err
	},
	"assume a role": func(ctx context.Context, s *cognito.Service, _ *cognito.Pool) error {
		_, err := s.Identity(ctx, cognito.Target{Region: "eu-west-1", AssumeRoleARN: "arn:aws:iam::123456789012:role/x"})
		return err
	},
	"access keys": func(ctx context.Context, s *cognito.Service, _ *cognito.Pool) error {
		keys, err := s.AccessKeysOf(ctx, "iam-user")
		if err != nil {
			return err
		}
		_, err = keys.Create(ctx)
		return err
	},
	"list access keys": func(ctx context.Context, s *cognito.Service, _ *cognito.Pool) error {
		keys, err := s.AccessKeys(ctx)
		if err != nil {
			return err
		}
		_, err = keys.List(ctx)
		return err
	},
	"prove an access key": func(ctx context.Context, s *cognito.Service, _ *cognito.Pool) error { return s.ProveAccessKey(ctx) },
	"token from the API": func(ctx context.Context, s *cognito.Service, _ *cognito.Pool) error {
		_, err := s.MachineToken(ctx, cognito.MachineTokenRequest{Source: cognito.SourceAPI, Target: aTarget(), AppClient: anApp(), NoCache: true})
		return err
	},
	"token with a secret that is looked up": func(ctx context.Context, s *cognito.Service, _ *cognito.Pool) error {
		_, err := s.MachineToken(ctx, cognito.MachineTokenRequest{
			Source: cognito.SourceAPI, Target: aTarget(), AppClient: cognito.AppClient{ID: "c"}, NoCache: true,
		})
		return err
	},
}

func aTarget() cognito.Target { return cognito.Target{UserPoolID: "eu-west-1_x", Region: "eu-west-1"} }

func anApp() cognito.AppClient { return cognito.AppClient{ID: "c", Secret: clientSecret} }

func someCredentials() cognito.Login {
	return cognito.Login{Username: "u", Password: sentSecrets[1], TOTPCode: sentSecrets[5]}
}

func aUser(totp bool) cognito.UserRequest {
	return cognito.UserRequest{
		NewUser:  cognito.NewUser{Username: "u", TemporaryPassword: sentSecrets[2], Attributes: map[string]string{"email": "u@example.com"}},
		Password: sentSecrets[1], Groups: []string{"g"}, AppClient: anApp(), TOTP: totp,
	}
}

// do runs an operation on a service of its own, for as long as a caller would wait.
func (l *hostileAWS) do(tb testing.TB, operation string, timeout time.Duration) error {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), timeout)
	defer cancel()
	service := cognito.New(ctx, cognito.Settings{
		AccessKeyID: "AKIAPLUGIN", SecretAccessKey: "hush", SessionToken: sentSecrets[4], Region: "eu-west-1",
		CognitoEndpoint: l.URL, STSEndpoint: l.URL, IAMEndpoint: l.URL, RequestTimeout: timeout,
	})
	if operation == endpointOperation {
		_, err := service.MachineToken(ctx, cognito.MachineTokenRequest{Domain: l.URL, AppClient: anApp(), NoCache: true})
		return err
	}
	pool, err := service.Pool(ctx, aTarget())
	require.NoError(tb, err)
	return operations[operation](ctx, service, pool)
}

// endpointOperation is the one that goes to the domain of the pool.
const endpointOperation = "token from the endpoint"

func allOperations() []string {
	var names []string
	for name := range operations {
		names = append(names, name)
	}
	names = append(names, endpointOperation)
	slices.Sort(names)
	return names
}

// errorMax is how long an error may be: AWS's own words are cut.
const errorMax = 4096

// requireClear holds of every error, whatever AWS answered.
func requireClear(tb testing.TB, operation string, err error) {
	tb.Helper()
	if err == nil {
		return
	}
	var failure *cognito.Error
	require.ErrorAs(tb, err, &failure, operation)
	require.NotEmpty(tb, failure.Step, "%s: an error names its step: %s", operation, err)
	require.Less(tb, len(err.Error()), errorMax, "%s: an error must not repeat a whole answer", operation)
	for _, secret := range sentSecrets {
		require.NotContains(tb, err.Error(), secret, "%s: an error shows a secret", operation)
	}
}

// hostileAnswers are tried on every operation each time that the tests run.
func hostileAnswers() []hostileAnswer {
	ok := func(body string) hostileAnswer {
		return hostileAnswer{status: 200, contentType: "application/x-amz-json-1.1", body: body}
	}
	xml := func(body string) hostileAnswer {
		return hostileAnswer{status: 200, contentType: "text/xml", body: body}
	}
	deep := strings.Repeat("[", 12_000)
	all := []hostileAnswer{
		ok(""), ok("null"), ok("{"), ok("[]"), ok("7"), ok(`"text"`), ok("{}"), ok("\xff\xfe\x00"), ok(deep), ok(strings.Repeat(`{"a":`, 12_000)),
		ok(`{"User":7}`), ok(`{"User":{"Username":[],"Attributes":{}}}`), ok(`{"User":{"Username":"\ud800","Attributes":[null,{"Name":null}]}}`), ok(`{"User":null}`),
		ok(`{"AuthenticationResult":{"AccessToken":7,"ExpiresIn":"soon"}}`), ok(`{"AuthenticationResult":{"ExpiresIn":1e300}}`), ok(`{"AuthenticationResult":null}`),
		ok(`{"ChallengeName":"` + echo + `","Session":"x","ChallengeParameters":{"USER_ID_FOR_SRP":"` + echo + `"}}`), ok(`{"ChallengeName":"MFA_SETUP"}`),
		ok(`{"ClientSecrets":[null,{}],"NextToken":"x"}`), ok(`{"UserPool":{"Policies":{"PasswordPolicy":{"MinimumLength":-1e99}}}}`), ok(`{"UserPoolClient":{}}`),
		ok(`{"access_token":["x"],"expires_in":{}}`), ok(`{"access_token":"` + unsignedJWT(`{"exp":"never"}`) + `","token_type":"Bearer","expires_in":-9e18}`),
		ok(`{"SecretCode":"` + echo + `"}`), ok(`{"SecretCode":"not base32!"}`), ok(`{"Status":"ERROR"}`),
		xml(""), xml("<"), xml("<a>"), xml(strings.Repeat("<a>", 12_000)), xml("<!DOCTYPE a [<!ENTITY b \"bbbbbbbb\">]><a>&b;&b;</a>"), xml("\xff"), xml("<GetCallerIdentityResponse/>"),
		xml("<GetCallerIdentityResponse><GetCallerIdentityResult><Arn><b/></Arn></GetCallerIdentityResult></GetCallerIdentityResponse>"),
		xml("<AssumeRoleResponse><AssumeRoleResult><Credentials><Expiration>never</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"),
		xml("<CreateAccessKeyResponse><CreateAccessKeyResult><AccessKey/></CreateAccessKeyResult></CreateAccessKeyResponse>"),
		{status: 200, contentType: "text/html", body: "<html>" + echo}, {status: 204}, {status: 301, contentType: "text/html", body: "moved"},
		{status: 200, contentType: "application/json", body: "{}", gzipped: true}, {status: 200, contentType: "application/json", body: `{"User":{}}`, gzipped: true, packed: true},
		{status: 200, contentType: "application/json", body: `{"User":{"Username":"u"}}`, short: true}, {status: 599, contentType: "\x7f", body: "\x00"},
	}
	for _, status := range []int{400, 403, 500} {
		all = append(all,
			hostileAnswer{status: status, contentType: "application/x-amz-json-1.1", body: `{"__type":"` + echo + `#x","message":"` + echo + `"}`},
			hostileAnswer{status: status, contentType: "application/x-amz-json-1.1", body: `{"__type":"InvalidParameterException","message":"you sent ` + echo + `"}`},
			hostileAnswer{status: status, contentType: "application/x-amz-json-1.1", body: `{"__type":"InvalidParameterException","message":"` + strings.Repeat("long ", 12_000) + `"}`},
			hostileAnswer{status: status, contentType: "application/x-amz-json-1.1", body: `{"__type":["a"],"message":{"b":1}}`},
			hostileAnswer{status: status, contentType: "application/json", body: `{"error":"` + echo + `","error_description":"` + echo + `"}`},
			hostileAnswer{status: status, contentType: "text/xml", body: "<ErrorResponse><Error><Code>" + echo + "</Code><Message>" + echo + "</Message></Error></ErrorResponse>"},
			hostileAnswer{status: status, contentType: "text/html", body: "<html><body>" + echo + strings.Repeat("<p>", 12_000)},
		)
	}
	return all
}

func TestAnyAnswer(t *testing.T) {
	for _, operation := range allOperations() {
		t.Run(operation, func(t *testing.T) {
			t.Parallel()
			l := newHostileAWS(t)
			for _, answer := range hostileAnswers() {
				for sane := range stepsOf(operation) {
					answer.sane = sane
					l.answerWith(answer)
					requireClear(t, operation, l.do(t, operation, 500*time.Millisecond))
				}
			}
		})
	}
}

// saysNothing reports whether AWS answers an operation with its status alone, so that
// the rest is not read.
func saysNothing(operation string) bool {
	return operation == "delete" || operation == "delete a secret"
}

// stepsOf is after how many sane answers an operation may still ask AWS something.
func stepsOf(operation string) int {
	switch operation {
	case "issue a user", "issue a user with TOTP":
		return 4
	case "change own password", "access keys", "list access keys", "token with a secret that is looked up":
		return 2
	default:
		return 1
	}
}

// FuzzAWSAnswer lets AWS answer anything to everything that it is asked.
func FuzzAWSAnswer(f *testing.F) {
	names := allOperations()
	for n, answer := range hostileAnswers() {
		for operation := range names {
			if (n+operation)%7 == 0 {
				f.Add(uint8(operation), uint8(n%8), uint16(answer.status), answer.contentType, answer.body)
			}
		}
	}
	l := newHostileAWS(f)
	f.Fuzz(func(t *testing.T, operation, how uint8, status uint16, contentType, body string) {
		if status < 200 || status > 599 || strings.Contains(body, "hush") {
			return // net/http answers nothing else; and a secret that was not sent is no echo
		}
		l.answerWith(hostileAnswer{
			sane: int(how >> 3 & 3), status: int(status), contentType: contentType, body: body,
			gzipped: how&1 != 0, packed: how&2 != 0, short: how&4 != 0,
		})
		name := names[int(operation)%len(names)]
		requireClear(t, name, l.do(t, name, 500*time.Millisecond))
	})
}

// TestEndlessAnswer gives a gigabyte where some kilobytes are expected, plain
// and as a gzip bomb, to every operation.
func TestEndlessAnswer(t *testing.T) {
	const gigabyte, mostAllocated = 1 << 30, 256 << 20
	bomb := gzipBomb(gigabyte / 4)
	for _, operation := range allOperations() {
		for _, kind := range []string{"plain", "bomb", "spaces in JSON", "error"} {
			t.Run(fmt.Sprintf("%s, %s", operation, kind), func(t *testing.T) {
				l := &hostileAWS{Server: httptest.NewServer(pouring(kind, bomb, gigabyte))}
				defer l.Close()
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				err := l.do(t, operation, 30*time.Second)
				runtime.ReadMemStats(&after)
				requireClear(t, operation, err)
				require.True(t, err != nil || saysNothing(operation))
				require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(mostAllocated))
			})
		}
	}
}

func pouring(kind string, bomb []byte, size int) http.HandlerFunc {
	chunk := bytes.Repeat([]byte("A"), 64<<10)
	if kind == "spaces in JSON" {
		chunk = bytes.Repeat([]byte(" "), 64<<10)
	}
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		if kind == "bomb" {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(bomb) // the client may be gone
			return
		}
		if kind == "error" {
			w.WriteHeader(http.StatusBadRequest)
		}
		_, err := io.WriteString(w, `{"message":"`)
		for sent := 0; err == nil && sent < size && r.Context().Err() == nil; sent += len(chunk) {
			_, err = w.Write(chunk)
		}
	}
}

// gzipBomb is a small text that unpacks to a long one.
func gzipBomb(size int) []byte {
	var out bytes.Buffer
	zipper, _ := gzip.NewWriterLevel(&out, gzip.BestSpeed) // the level is a right one
	chunk := bytes.Repeat([]byte(" "), 1<<20)
	for range size / len(chunk) {
		_, _ = zipper.Write(chunk) // a buffer takes everything
	}
	_ = zipper.Close()
	return out.Bytes()
}

// TestDrippingAnswer sends one byte now and then, for ever: the time of a call
// ends it, for it never ends by itself.
func TestDrippingAnswer(t *testing.T) {
	for _, operation := range allOperations() {
		t.Run(operation, func(t *testing.T) {
			t.Parallel()
			l := &hostileAWS{Server: httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				for r.Context().Err() == nil {
					_, _ = io.WriteString(w, " ")         // the client may be gone
					http.NewResponseController(w).Flush() //nolint:errcheck // the client may be gone
					select {
					case <-r.Context().Done():
					case <-time.After(20 * time.Millisecond):
					}
				}
			}))}
			defer l.Close()
			err := l.do(t, operation, time.Second)
			require.True(t, err != nil || saysNothing(operation))
			requireClear(t, operation, err)
		})
	}
}
