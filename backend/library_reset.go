// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-cognito/internal/cognito"
)

// userReset removes what a holder left of a user of a library set. The user is locked. Its steps
// are in the order in which a holder loses the account: the password, then the sessions, then what
// the holder could change while it had a session.
type userReset struct {
	b    *backend
	req  *logical.Request
	user *libraryUser
	// roleName and role are those of the set; role is nil if the set is gone.
	roleName string
	role     *roleEntry
	aws      *connection
	pool     *cognito.Pool

	state      cognito.UserState
	attributes map[string]string
}

// newUserReset returns the reset of a user, whose set may be nil.
func (b *backend) newUserReset(ctx context.Context, req *logical.Request, set *librarySet, u *libraryUser) (*userReset, error) {
	r := &userReset{b: b, req: req, user: u}
	var err error
	if r.aws, err = b.connect(ctx, req); err != nil {
		return nil, err
	}
	if u.belongsTo(set) {
		r.roleName = set.Role
		if r.role, _, err = b.usableRole(ctx, req, set.Role); err != nil {
			return nil, err
		}
		// How AWS is reached may have changed since.
		target := r.role.target(r.aws.region)
		u.AssumeRoleARN, u.ExternalID = target.AssumeRoleARN, target.ExternalID
	}
	r.pool, err = r.aws.Pool(ctx, u.target())
	return r, err
}

// begin stores that the user is being reset, and its next password. From then on it is not lent.
func (r *userReset) begin(ctx context.Context) error {
	u := r.user
	if u.State == libraryResetting && u.Pending != "" {
		if unseen, err := r.b.isUnseen(ctx, r.req.Storage, u); err != nil || unseen {
			return err
		}
	}
	return r.storePending(ctx)
}

func (r *userReset) storePending(ctx context.Context) error {
	u := r.user
	password, err := r.b.newPasswordBy(ctx, r.passwordPolicy())
	if err != nil {
		return err
	}
	beat, err := r.b.watch.current(ctx, r.req.Storage)
	if err != nil {
		return err
	}
	u.State, u.Password, u.Pending, u.Watch = libraryResetting, "", password, beat.Watch
	u.TOTPSecret, u.TOTPURL, u.TOTPStep = "", "", 0
	u.dropBorrower()
	return r.b.putLibraryUser(ctx, r.req.Storage, u)
}

func (r *userReset) passwordPolicy() string {
	if r.role == nil {
		return r.aws.passwordPolicy
	}
	return r.role.passwordPolicy(r.aws)
}

// dropBorrower clears who has the user. The id of the check-out stays until the reset is complete.
func (u *libraryUser) dropBorrower() {
	u.BorrowerEntityID, u.BorrowerToken = "", ""
	u.CheckedOut, u.Due = time.Time{}, time.Time{}
}

// run takes all steps at Cognito.
func (r *userReset) run(ctx context.Context) error {
	for _, step := range []func(context.Context) error{
		r.setPassword, r.signOut, r.read, r.restoreAttributes, r.restoreGroups, r.forgetDevices, r.restoreFactors,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// setPassword sets the pending password. If the user had it before, Cognito has it from an attempt
// whose answer was lost, but perhaps not as the present one: only a new password is certain.
func (r *userReset) setPassword(ctx context.Context) error {
	err := r.pool.ReplacePassword(ctx, r.user.name(), r.user.Pending)
	if !cognito.IsPasswordRefused(err) {
		return err
	}
	if err := r.storePending(ctx); err != nil {
		return err
	}
	return r.pool.ReplacePassword(ctx, r.user.name(), r.user.Pending)
}

func (r *userReset) signOut(ctx context.Context) error { return r.pool.SignOutUser(ctx, r.user.name()) }

// read reads what the holder has left. No session is left by now that could change it again.
func (r *userReset) read(ctx context.Context) (err error) {
	if r.state, err = r.pool.User(ctx, r.user.name()); err != nil {
		return err
	}
	u := r.user
	if u.Sub != "" && r.state.Sub != u.Sub {
		// Another user has the name by now, and what it brings along stays.
		u.Baseline = nil
		if u.BaselineGroups, err = r.pool.GroupsOf(ctx, u.name()); err != nil {
			return err
		}
	}
	u.Username, u.Sub = r.state.Username, r.state.Sub
	if r.state.Enabled {
		return nil
	}
	return r.pool.EnableUser(ctx, u.name())
}

// restoreAttributes sets the attributes that the role says, and for the rest those that the user
// had before it was ever lent.
func (r *userReset) restoreAttributes(ctx context.Context) error {
	rendered, err := r.rendered()
	if err != nil {
		return err
	}
	u := r.user
	if u.Baseline == nil {
		u.Baseline = baseline(r.state.Attributes, rendered)
	}
	r.attributes = maps.Clone(u.Baseline)
	maps.Copy(r.attributes, rendered)
	set, unset := attributeChanges(r.state.Attributes, r.attributes, u.RequestedName)
	if len(set) > 0 {
		if err := r.pool.UpdateAttributes(ctx, u.name(), set); err != nil {
			return err
		}
	}
	return r.pool.DeleteAttributes(ctx, u.name(), unset...)
}

// rendered returns the attributes that the role says.
func (r *userReset) rendered() (map[string]string, error) {
	if r.role == nil {
		return nil, nil
	}
	data := r.b.libraryData(r.req, r.roleName, r.user.UserPoolID)
	data.Username = r.user.RequestedName
	return r.role.attributes(data)
}

// baseline returns the attributes of a user that the role does not set.
func baseline(attributes, rendered map[string]string) map[string]string {
	rest := map[string]string{}
	for name, value := range attributes {
		if _, isRendered := rendered[name]; !isRendered && !isCognitosOwn(name) {
			rest[name] = value
		}
	}
	return rest
}

// isCognitosOwn reports whether only Cognito sets an attribute.
func isCognitosOwn(name string) bool {
	return name == "sub" || name == "identities" || strings.HasPrefix(name, "cognito:")
}

// attributeChanges returns what must be set and deleted to get from the present attributes to the
// wanted ones. Nothing changes the attribute that is the user's name.
func attributeChanges(present, wanted map[string]string, username string) (set map[string]string, unset []string) {
	set = map[string]string{}
	for name, value := range wanted {
		if present[name] != value {
			set[name] = value
		}
	}
	for name := range set { // Cognito unverifies an address that changes
		if verified, found := wanted[name+verifiedSuffix]; found {
			set[name+verifiedSuffix] = verified
		}
	}
	for _, name := range slices.Sorted(maps.Keys(present)) {
		if _, isWanted := wanted[name]; isWanted || isCognitosOwn(name) || present[name] == username {
			continue
		}
		base, isVerified := strings.CutSuffix(name, verifiedSuffix)
		_, keepsBase := wanted[base]
		switch {
		case !isVerified:
			unset = append(unset, name)
		case keepsBase && present[name] == "true":
			set[name] = "false"
		}
	}
	return set, unset
}

// restoreGroups makes the user a member of the role's groups, and of those that it was in before it
// was ever lent.
func (r *userReset) restoreGroups(ctx context.Context) error {
	u := r.user
	wanted := slices.Clone(u.BaselineGroups)
	if r.role != nil {
		wanted = append(wanted, r.role.Groups...)
	}
	present, err := r.pool.GroupsOf(ctx, u.name())
	if err != nil {
		return err
	}
	for _, group := range wanted {
		if !slices.Contains(present, group) {
			if err := r.pool.AddToGroup(ctx, u.name(), group); err != nil {
				return err
			}
		}
	}
	for _, group := range present {
		if !slices.Contains(wanted, group) {
			if err := r.pool.RemoveFromGroup(ctx, u.name(), group); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *userReset) forgetDevices(ctx context.Context) error {
	return r.pool.ForgetDevices(ctx, r.user.name())
}

// restoreFactors gives the user a new authenticator if the role says so, and otherwise no second
// factor. An authenticator that a holder set up is replaced before: with it, the holder could
// complete a sign-in that it left half way.
func (r *userReset) restoreFactors(ctx context.Context) error {
	u := r.user
	switch {
	case r.role != nil && r.role.mfa() == mfaTOTP:
		authenticator, err := r.replaceAuthenticator(ctx)
		if err != nil {
			return err
		}
		u.TOTPSecret, u.TOTPURL, u.TOTPStep = authenticator.Secret, authenticator.URL, r.pool.Period()
	case slices.Contains(r.state.MFA, "SOFTWARE_TOKEN_MFA") && r.role != nil && !r.role.NoTokens:
		if _, err := r.replaceAuthenticator(ctx); err != nil {
			return err
		}
		return r.pool.DisableMFA(ctx, u.name())
	case len(r.state.MFA) > 0:
		return r.pool.DisableMFA(ctx, u.name())
	}
	return nil
}

func (r *userReset) replaceAuthenticator(ctx context.Context) (*cognito.TOTP, error) {
	login := cognito.Login{Username: r.user.name(), Password: r.user.Pending}
	return r.pool.ResetTOTP(ctx, r.role.appClient(), login, r.role.ClientMetadata)
}

// setFree stores that the user is free.
func (r *userReset) setFree(ctx context.Context) error {
	u := r.user
	u.State, u.Password, u.Pending = libraryAvailable, u.Pending, ""
	u.Email = r.attributes[attributeEmail]
	u.CheckOut, u.RecordRole = "", ""
	u.Since, u.Shape = r.b.now().Round(0), r.role.userShape(r.roleName)
	u.clearFailure()
	return r.b.putLibraryUser(ctx, r.req.Storage, u)
}

// create creates a user of a set at Cognito. Its name is stored before, so that a repetition after
// a lost answer or a crash finds the user instead of making another one.
func (r *userReset) create(ctx context.Context) error {
	u := r.user
	isNew := u.RequestedName == ""
	if isNew {
		if err := r.chooseName(ctx); err != nil {
			return err
		}
	}
	attributes, err := r.rendered()
	if err != nil {
		return err
	}
	temporary, err := r.b.newPasswordBy(ctx, r.passwordPolicy())
	if err != nil {
		return err
	}
	user, err := r.pool.CreateUser(ctx, cognito.NewUser{
		Username: u.RequestedName, TemporaryPassword: temporary, Attributes: attributes, ClientMetadata: r.role.ClientMetadata,
	})
	if cognito.IsUsernameTaken(err) {
		return r.adopt(ctx, isNew, err)
	}
	if err != nil {
		return err
	}
	u.Username, u.Sub, u.Created = user.Username, user.Sub, r.b.now().Round(0)
	return r.storePending(ctx)
}

// chooseName stores the name of the user that is about to be created, and how AWS is reached.
func (r *userReset) chooseName(ctx context.Context) (err error) {
	u := r.user
	if u.RequestedName, err = r.role.username(r.aws, r.b.libraryData(r.req, r.roleName, u.UserPoolID)); err != nil {
		return err
	}
	if u.place, err = r.aws.place(ctx, u.target()); err != nil {
		return err
	}
	return r.b.putLibraryUser(ctx, r.req.Storage, u)
}

// adopt takes the user that an earlier attempt created. A name that is taken at the first attempt
// is that of another user.
func (r *userReset) adopt(ctx context.Context, isNew bool, taken error) error {
	u := r.user
	if isNew {
		u.RequestedName = ""
		return errors.Join(taken, r.b.putLibraryUser(ctx, r.req.Storage, u))
	}
	state, err := r.pool.User(ctx, u.RequestedName)
	if err != nil {
		return err
	}
	u.Username, u.Sub, u.Created = state.Username, state.Sub, r.b.now().Round(0)
	return r.storePending(ctx)
}

// retire deletes a user that the engine created, and its entry.
func (r *userReset) retire(ctx context.Context) error {
	u := r.user
	if u.State != libraryRetiring {
		u.State, u.Password, u.Pending, u.TOTPSecret, u.TOTPURL = libraryRetiring, "", "", "", ""
		u.dropBorrower()
		if err := r.b.putLibraryUser(ctx, r.req.Storage, u); err != nil {
			return err
		}
	}
	if u.name() != "" {
		remove := r.pool.DeleteUser
		if r.b.now().Sub(u.Created) < lagWindow || u.Created.IsZero() { // that Cognito does not know it yet proves nothing
			remove = r.pool.DeleteNewUser
		}
		gone := &issuedRecord{place: u.place, Username: u.name()}
		if err := r.b.acceptGone(ctx, r.req, gone, remove(ctx, u.name())); err != nil {
			return err
		}
	}
	return r.b.deleteLibraryUser(ctx, r.req.Storage, u)
}
