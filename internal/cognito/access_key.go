// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/auth"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

const (
	codeNoSuchEntity   = "NoSuchEntity"
	codeInvalidTokenID = "InvalidClientTokenId"
	// codeUnrecognizedClient is Cognito's error for an access key that it does not know.
	codeUnrecognizedClient = "UnrecognizedClientException"

	// proveFor bounds how long a new access key may be unknown to the rest of AWS:
	// changes in IAM take effect after some seconds, see
	// https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html.
	proveFor        = 30 * time.Second
	proveDelay      = 250 * time.Millisecond
	proveBackoffMax = 3 * time.Second
)

// AccessKey is an IAM access key. IAM returns its secret once, when the key is
// created.
type AccessKey struct {
	ID, Secret string
	// Created has a resolution of one second.
	Created time.Time
}

// AccessKeys are those of the IAM user whose access key the Settings hold.
// They are managed with that key itself, never with an assumed role.
type AccessKeys struct {
	iam      *iam.Client
	user     string
	settings Settings
}

// errIncomplete is for a response of IAM without the requested data.
var errIncomplete = errors.New("the response is incomplete")

// AccessKeys finds the user by asking IAM whose the key is. If IAM denies
// iam:GetUser, the user is the one in the ARN that STS returns.
func (s *Service) AccessKeys(ctx context.Context) (*AccessKeys, error) {
	keys, err := s.AccessKeysOf(ctx, "")
	if err != nil {
		return nil, err
	}
	keys.user, err = keys.ownUser(ctx)
	if DeniedAction(err) != "" {
		if user := s.callerUser(ctx); user != "" {
			keys.user, err = user, nil
		}
	}
	if err != nil {
		return nil, err
	}
	return keys, nil
}

// ownUser asks IAM for the user of the key. A request without a name is
// authorized for the user itself, and by some readings of a policy for "*" only.
func (k *AccessKeys) ownUser(ctx context.Context) (string, error) {
	out, err := k.iam.GetUser(ctx, &iam.GetUserInput{})
	if err == nil && (out.User == nil || aws.ToString(out.User.UserName) == "") {
		err = errIncomplete
	}
	if err != nil {
		return "", fail(fmt.Sprintf("asking IAM which user the access key %q belongs to", k.settings.AccessKeyID), err)
	}
	return *out.User.UserName, nil
}

// callerUser returns the user that the key belongs to as STS knows it, or "".
// GetCallerIdentity needs no permission.
func (s *Service) callerUser(ctx context.Context) string {
	cfg, err := s.awsConfig(ctx, clientKey{region: s.settings.Region})
	if err != nil {
		return ""
	}
	out, err := s.stsFrom(cfg).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return ""
	}
	return userOfARN(aws.ToString(out.Arn))
}

// userOfARN returns the name of the IAM user in an ARN, such as
// arn:aws:iam::123456789012:user/path/name, or "" for another kind of identity.
func userOfARN(arn string) string {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) < 6 || !strings.HasPrefix(parts[5], "user/") {
		return ""
	}
	return parts[5][strings.LastIndex(parts[5], "/")+1:]
}

// AccessKeysOf returns the keys of a user whose name is known. It does no network I/O.
func (s *Service) AccessKeysOf(ctx context.Context, user string) (*AccessKeys, error) {
	cfg, err := s.awsConfig(ctx, clientKey{region: s.settings.Region})
	if err != nil {
		return nil, failSetup("preparing the IAM client", err)
	}
	cfg.Region = iamRegion(ctx, cfg.Region)
	client := iam.NewFromConfig(cfg, func(o *iam.Options) { o.BaseEndpoint = endpointOr(o.BaseEndpoint, s.settings.IAMEndpoint) })
	return &AccessKeys{iam: client, user: user, settings: s.settings}, nil
}

// iamRegion returns the one region of a partition for which IAM accepts
// signatures, us-east-1 in most. The SDK does not use it with a configured endpoint.
func iamRegion(ctx context.Context, region string) string {
	parameters := iam.EndpointParameters{Region: &region}.WithDefaults()
	endpoint, err := iam.NewDefaultEndpointResolverV2().ResolveEndpoint(ctx, parameters)
	if err != nil { // a region that the SDK does not know
		return region
	}
	options, _ := auth.GetAuthOptions(&endpoint.Properties)
	for _, option := range options {
		if global, ok := smithyhttp.GetSigV4SigningRegion(&option.SignerProperties); ok {
			return global
		}
	}
	return region
}

// User returns the name of the user.
func (k *AccessKeys) User() string { return k.user }

// List returns the user's keys, without secrets. A user has two at most, so one
// page is enough. It needs iam:ListAccessKeys.
func (k *AccessKeys) List(ctx context.Context) ([]AccessKey, error) {
	out, err := k.iam.ListAccessKeys(ctx, &iam.ListAccessKeysInput{UserName: &k.user})
	if err != nil {
		return nil, fail(fmt.Sprintf("listing the access keys of IAM user %q", k.user), err)
	}
	keys := make([]AccessKey, 0, len(out.AccessKeyMetadata))
	for _, key := range out.AccessKeyMetadata {
		keys = append(keys, AccessKey{ID: aws.ToString(key.AccessKeyId), Created: aws.ToTime(key.CreateDate)})
	}
	return keys, nil
}

// Create creates a key. It ends within RequestTimeout, so that the age of a key
// identifies it after a lost response; the Outcome of the error is then unknown.
// It needs iam:CreateAccessKey.
func (k *AccessKeys) Create(ctx context.Context) (AccessKey, error) {
	ctx, cancel := context.WithTimeout(ctx, k.settings.RequestTimeout)
	defer cancel()
	out, err := k.iam.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: &k.user}, func(o *iam.Options) {
		o.Retryer = newRetryer(k.settings.MaxRetries, onlyWithoutEffect())
	})
	if err == nil && (out.AccessKey == nil || aws.ToString(out.AccessKey.AccessKeyId) == "" || aws.ToString(out.AccessKey.SecretAccessKey) == "") {
		err = errIncomplete
	}
	if err != nil {
		return AccessKey{}, fail(fmt.Sprintf("creating an access key of IAM user %q", k.user), err)
	}
	return AccessKey{
		ID:      *out.AccessKey.AccessKeyId,
		Secret:  *out.AccessKey.SecretAccessKey,
		Created: aws.ToTime(out.AccessKey.CreateDate),
	}, nil
}

// Delete deletes a key. A missing key counts as deleted. It needs
// iam:DeleteAccessKey.
func (k *AccessKeys) Delete(ctx context.Context, id string) error {
	_, err := k.iam.DeleteAccessKey(ctx, &iam.DeleteAccessKeyInput{UserName: &k.user, AccessKeyId: &id})
	if err == nil || hasCode(err, codeNoSuchEntity) {
		return nil
	}
	return fail(fmt.Sprintf("deleting the access key %q of IAM user %q", id, k.user), err)
}

// ProveAccessKey waits until STS and Cognito accept the access key of the Settings, in the region
// of the Settings and in others. A service may reject a new key for some seconds after another one
// has accepted it. It needs no IAM permission, because a call that IAM denies proves the key, too.
func (s *Service) ProveAccessKey(ctx context.Context, others ...string) error {
	ctx, cancel := context.WithTimeout(ctx, proveFor)
	defer cancel()
	for _, region := range append([]string{s.settings.Region}, others...) {
		cfg, err := s.awsConfig(ctx, clientKey{region: region})
		if err != nil {
			return failSetup("preparing the AWS clients", err)
		}
		proof := keyProof{s.settings.AccessKeyID, region}
		if err := proof.with(ctx, "STS", s.identityCall(cfg)); err != nil {
			return err
		}
		if err := proof.with(ctx, "Cognito", s.poolCall(cfg)); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) identityCall(cfg aws.Config) func(context.Context) error {
	client := s.stsFrom(cfg)
	return func(ctx context.Context) error {
		_, err := client.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
		return err
	}
}

// poolCall asks for a pool that does not exist: Cognito checks the signature first.
func (s *Service) poolCall(cfg aws.Config) func(context.Context) error {
	client := cip.NewFromConfig(cfg, func(o *cip.Options) { o.BaseEndpoint = endpointOr(o.BaseEndpoint, s.settings.CognitoEndpoint) })
	return func(ctx context.Context) error {
		_, err := client.DescribeUserPool(ctx, &cip.DescribeUserPoolInput{UserPoolId: aws.String(cfg.Region + "_AccessKey")})
		if err == nil || isDenied(err) {
			return nil
		}
		if kind := fail("", err).Kind; kind == KindNotFound || kind == KindInvalid {
			return nil
		}
		return err
	}
}

func isDenied(err error) bool {
	return slices.ContainsFunc(deniedCodes, func(code string) bool { return hasCode(err, code) })
}

// keyProof is an access key and the region in which it is proven.
type keyProof struct{ id, region string }

// with repeats a call as long as the service does not know the key.
func (p keyProof) with(ctx context.Context, service string, call func(context.Context) error) error {
	for attempt := 0; ; attempt++ {
		err := call(ctx)
		if err == nil {
			return nil
		}
		unknown := hasCode(err, codeInvalidTokenID) || hasCode(err, codeUnrecognizedClient)
		if !unknown || !wait(ctx, min(backoff(attempt, proveDelay), proveBackoffMax)) {
			return fail(fmt.Sprintf("proving the access key %q with %s in region %q", p.id, service, p.region), err)
		}
	}
}
