// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-cognito/internal/cognito"
)

const (
	// tidyBudget bounds one tidy, so that it answers before Vault's request ends.
	tidyBudget = 60 * time.Second

	defaultSafetyBuffer = 72 * time.Hour
	// tidyUsersMax is how many usernames one tidy returns and deletes.
	tidyUsersMax = 10_000
)

// errTidyEnough ends a list of users.
var errTidyEnough = errors.New("enough users were found")

// tidy finds the users of roles that have no record, as a restored snapshot leaves them. Its
// methods are called in their order: newTidyRole for each role, readRecords, find, delete.
type tidy struct {
	b   *backend
	req *logical.Request
	aws *connection

	buffer time.Duration
	roles  []*tidyRole
	// known has the names of all users that something knows of, by pool.
	known map[string]map[string]bool

	scanned, deleted int
	found            []tidyUser
	complete         bool
	failures         []error
}

type tidyUser struct {
	cognito.ListedUser
	role *tidyRole
}

// tidyRole is a role whose users are looked for.
type tidyRole struct {
	name    string
	role    *roleEntry
	target  cognito.Target
	pattern *usernameMatcher
	// before is when a user must have been created to be old enough.
	before time.Time
}

// addRole adds a role whose users are to be found.
func (t *tidy) addRole(name string, role *roleEntry) error {
	pattern, err := newUsernameMatcher(t.aws, role, name, t.req.MountPoint)
	if err != nil {
		return badRequest("the usernames of role %q cannot be distinguished from others: %s", name, err)
	}
	mountMax := t.b.System().MaxLeaseTTL()
	if mountMax == 0 {
		return fmt.Errorf("tidying role %q: Vault does not say how long a lease of this mount can live", name)
	}
	age := max(t.buffer, mountMax, role.MaxTTL)
	t.roles = append(t.roles, &tidyRole{
		name: name, role: role, target: role.target(t.aws.region), pattern: pattern, before: t.b.now().Add(-age),
	})
	return nil
}

// readRecords reads whose users have a record, or belong to a static role.
func (t *tidy) readRecords(ctx context.Context) error {
	t.known = map[string]map[string]bool{}
	records, unreadable, err := readAllRecords(ctx, t.req.Storage)
	if err == nil && len(unreadable) > 0 {
		err = errors.Join(unreadable...) // one of them may be that of a user that is found
	}
	if err != nil {
		return fmt.Errorf("tidying: %w", err)
	}
	for _, r := range records {
		t.keep(r.UserPoolID, r.Username, r.RequestedName, r.Sub)
	}
	for _, owned := range t.b.ownedUsers {
		if err := owned(ctx, t.req, t.keep); err != nil {
			return fmt.Errorf("tidying: %w", err)
		}
	}
	return nil
}

// keep excludes a user by any of its names.
func (t *tidy) keep(poolID string, names ...string) {
	if t.known[poolID] == nil {
		t.known[poolID] = map[string]bool{}
	}
	for _, name := range names {
		t.known[poolID][name] = name != ""
	}
}

// find lists the users of each role.
func (t *tidy) find(ctx context.Context) error {
	for _, role := range t.roles {
		pool, err := t.aws.Pool(ctx, role.target)
		if err != nil {
			return err
		}
		for _, filter := range role.pattern.filters() {
			err := pool.ListUsers(ctx, filter, func(user cognito.ListedUser) error { return t.visit(role, user) })
			switch {
			case errors.Is(err, errTidyEnough), err != nil && ctx.Err() != nil && t.scanned > 0:
				return nil // what was found so far is returned
			case err != nil:
				return err
			}
		}
	}
	t.complete = true
	return nil
}

// visit keeps a user that is old enough, matches the role's template, and is not known.
func (t *tidy) visit(role *tidyRole, user cognito.ListedUser) error {
	t.scanned++
	known := t.known[role.target.UserPoolID]
	switch {
	case known[user.Username] || known[user.Sub] || known[user.Email]:
	case !user.Enabled: // revocation=disable keeps it, or an administrator does
	case !user.Created.Before(role.before):
	case role.pattern.matches(user):
		t.found = append(t.found, tidyUser{user, role})
		t.keep(role.target.UserPoolID, user.Username)
	}
	if len(t.found) >= tidyUsersMax {
		return errTidyEnough
	}
	return nil
}

// delete deletes what was found, as far as time allows.
func (t *tidy) delete(ctx context.Context) {
	for _, user := range t.found {
		if ctx.Err() != nil {
			t.complete = false
			return
		}
		if err := t.deleteUser(ctx, user); err != nil {
			t.failures = append(t.failures, err)
			continue
		}
		t.b.Logger().Info("deleted a user without a record", "username", user.Username, "user_pool_id", user.role.target.UserPoolID, "role", user.role.name)
		t.deleted++
	}
}

func (t *tidy) deleteUser(ctx context.Context, user tidyUser) error {
	pool, err := t.aws.Pool(ctx, user.role.target)
	if err != nil {
		return err
	}
	err = pool.DeleteUser(ctx, user.Username)
	if cognito.IsUserGone(err) {
		return nil
	}
	return err
}

// ownedUsersFunc calls keep with the users of a feature that has no record for them.
type ownedUsersFunc func(ctx context.Context, req *logical.Request, keep func(poolID string, names ...string)) error

// staticRoleUsers keeps the users of static roles.
func (b *backend) staticRoleUsers(ctx context.Context, req *logical.Request, keep func(poolID string, names ...string)) error {
	names, err := req.Storage.List(ctx, staticRoleStoragePrefix)
	if err != nil {
		return fmt.Errorf("listing %q: %w", staticRoleStoragePrefix, err)
	}
	for _, name := range names {
		role, err := b.staticRole(ctx, req.Storage, name)
		if err != nil {
			return err
		}
		if role != nil && role.Username != "" {
			keep(role.UserPoolID, role.Username, role.Sub)
		}
	}
	return nil
}

// usernameMatcher matches the usernames that a role makes. Every character must be as the template
// makes it, and the random part must be there: strangers with similar names do not match.
type usernameMatcher struct {
	pattern *regexp.Regexp
	prefix  string
	// emails says that pools may know the name as the user's e-mail address.
	emails bool
}

func newUsernameMatcher(aws *connection, role *roleEntry, name, mountPoint string) (*usernameMatcher, error) {
	text := cmp.Or(role.UsernameTemplate, aws.usernameTemplate)
	matcher := &usernameMatcher{emails: role.DummyEmailDomain != "" || strings.Contains(text, "@")}
	expression := ownUsernamePattern(name, role.DummyEmailDomain)
	if text != "" {
		var err error
		data := trialData(name, mountPoint, role.UserPoolID, "")
		if expression, err = templatePattern(text, data); err != nil {
			return nil, err
		}
	}
	var err error
	if matcher.pattern, err = regexp.Compile("^" + expression + "$"); err != nil {
		return nil, err
	}
	matcher.prefix, _ = matcher.pattern.LiteralPrefix()
	return matcher, nil
}

// filters are the lists that hold every user that matches.
func (m *usernameMatcher) filters() []cognito.UserFilter {
	filters := []cognito.UserFilter{{Attribute: "username", Prefix: m.prefix}}
	if m.emails && m.prefix != "" {
		filters = append(filters, cognito.UserFilter{Attribute: attributeEmail, Prefix: m.prefix})
	}
	return filters
}

func (m *usernameMatcher) matches(user cognito.ListedUser) bool {
	return m.pattern.MatchString(user.Username) || m.emails && m.pattern.MatchString(user.Email)
}

// ownUsernamePattern matches what newUsername returns.
func ownUsernamePattern(role, emailDomain string) string {
	sample := newUsername(role, emailDomain)
	local, domain, _ := strings.Cut(sample, "@")
	prefix, random := local[:strings.LastIndex(local, "-")+1], local[strings.LastIndex(local, "-")+1:]
	pattern := regexp.QuoteMeta(prefix) + fmt.Sprintf("[a-z2-7]{%d}", len(random))
	if domain != "" {
		pattern += "@" + regexp.QuoteMeta(domain)
	}
	return pattern
}

// Classes of characters in a template's result.
const (
	randomClass = `[0-9A-Za-z-]`
	timeClass   = `[0-9A-Za-z:+.-]`
	callerClass = `[0-9A-Za-z_-]{1,64}`
)

// templatePattern renders a template with several values of everything that varies. Where the
// results differ, the pattern has the class of what varies there.
func templatePattern(text string, data templateData) (string, error) {
	random, err := renderVariants(text, data, func(n int, v *templateVariant) { v.char = string("789"[n]) })
	if err != nil {
		return "", err
	}
	times, err := renderVariants(text, data, func(n int, v *templateVariant) {
		v.now = []time.Time{time.Unix(1_700_000_000, 0), time.Unix(1_811_111_111, 0), time.Unix(1_922_222_999, 0)}[n].UTC()
	})
	if err != nil {
		return "", err
	}
	callers, err := renderVariants(text, data, func(n int, v *templateVariant) { v.caller = strings.Repeat(string("abc"[n]), 8) })
	if err != nil {
		return "", err
	}
	return joinPattern(random, times, callers)
}

// templateVariant is what a template sees of the world.
type templateVariant struct {
	char, caller string
	now          time.Time
}

const variants = 3

// renderVariants renders a template several times, with one thing changed between them.
func renderVariants(text string, data templateData, change func(n int, v *templateVariant)) ([]string, error) {
	results := make([]string, variants)
	for n := range results {
		v := templateVariant{char: "7", caller: "aaaaaaaa", now: time.Unix(1_700_000_000, 0).UTC()}
		change(n, &v)
		random := fixedRandomness(v.char)
		random.fixed = maps.Clone(random.fixed)
		random.fixed["unix_time"] = func() string { return fmt.Sprint(v.now.Unix()) }
		random.fixed["unix_time_millis"] = func() string { return fmt.Sprint(v.now.UnixMilli()) }
		random.fixed["timestamp"] = func(layout string) (string, error) { return bounded(v.now.Format(layout)) }
		data.DisplayName = v.caller
		data.identity = func(string) (string, error) { return v.caller, nil }
		result, err := render(text, data.safe(), random)
		if err != nil {
			return nil, err
		}
		results[n] = result
	}
	return results, nil
}

func joinPattern(random, times, callers []string) (string, error) {
	sample := random[0]
	for _, result := range slices.Concat(random, times, callers) {
		if len(result) != len(sample) {
			return "", errors.New("their length depends on more than the caller")
		}
	}
	var pattern strings.Builder
	randomChars, inCaller := 0, false
	for i := range len(sample) {
		isCaller := differAt(callers, i)
		switch {
		case isCaller && !inCaller:
			pattern.WriteString(callerClass)
		case isCaller:
		case differAt(random, i):
			randomChars++
			pattern.WriteString(randomClass)
		case differAt(times, i):
			pattern.WriteString(timeClass)
		default:
			pattern.WriteString(regexp.QuoteMeta(sample[i : i+1]))
		}
		inCaller = isCaller
	}
	if randomChars < randomCharsMin {
		return "", fmt.Errorf("only %d of their characters are random", randomChars)
	}
	return pattern.String(), nil
}

func differAt(results []string, i int) bool {
	for _, result := range results[1:] {
		if result[i] != results[0][i] {
			return true
		}
	}
	return false
}
