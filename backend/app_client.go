// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

// # App clients
//
// An issued record of kind app_client follows issued_record.go. Cognito returns the id of an app
// client and its secret once, in the answer to CreateUserPoolClient, and allows two app clients of
// one name. So each request makes one attempt that may have an effect, under a new random name that
// its record stores before the call:
//
//	the answer         the record                          what follows
//	refused            deleted                             the request fails
//	an app client      delivered, with the id              the lease; its end deletes the id
//	lost, or death     creating, with the name and no id   the request fails; the reconciler searches
//
// A search lists the pool's app clients, once in a tick for all lost names of the pool, and deletes
// those that have a lost name. A list may not show a new app client yet. So a name that is not
// listed is searched again, with growing pauses, until searchPeriod is over, and the record stays
// meanwhile.

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	cryptorand "crypto/rand"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-cognito/internal/cognito"
)

const (
	clientNameMax = 128 // Cognito's limit

	// shortestAccessTokenTTL and longestAccessTokenTTL are Cognito's bounds.
	shortestAccessTokenTTL = 5 * time.Minute
	longestAccessTokenTTL  = 24 * time.Hour

	// searchPeriod is how long after its creation a lost app client may not be listed.
	searchPeriod = 24 * time.Hour
	// shortestSearchPause and longestSearchPause bound the pause between two searches.
	shortestSearchPause = 5 * time.Minute
	longestSearchPause  = 4 * time.Hour
	// searchBudget is how long one tick may list app clients. A pool of 10,000 takes half a minute.
	searchBudget = 45 * time.Second
	// lastSearchBudget bounds the searches before an unmount. Cognito's lists are seconds behind,
	// as far as is known. firstSearchPause is the first pause between them, and doubles.
	lastSearchBudget = 30 * time.Second
	firstSearchPause = 250 * time.Millisecond
)

// clientNamePattern is Cognito's, without the spaces that it allows.
var clientNamePattern = regexp.MustCompile(`^[\w+=,.@-]{1,128}$`)

// errNotListed says that a lost app client may still exist, although no list shows it.
var errNotListed = errors.New("the app client is not listed; it is searched again")

// foundClients is the result of a search for one name.
type foundClients struct {
	ids []string
	err error
}

func (r *roleEntry) validateAppClient(defaultRegion string) error {
	if err := r.access().requirePool(defaultRegion); err != nil {
		return err
	}
	switch {
	case len(r.Scopes) == 0:
		return requiredField("scopes", "the scopes that each app client is allowed, such as api/read")
	case r.CognitoPoolDomain == "":
		return requiredField("cognito_pool_domain", "the domain of the user pool, such as example.auth.eu-west-1.amazoncognito.com")
	case r.AccessTokenTTL != 0 && (r.AccessTokenTTL < shortestAccessTokenTTL || r.AccessTokenTTL > longestAccessTokenTTL):
		return badRequest("access_token_ttl %q is not allowed: it must be between %s and %s",
			cognito.DurationText(r.AccessTokenTTL), cognito.DurationText(shortestAccessTokenTTL), cognito.DurationText(longestAccessTokenTTL))
	}
	return cmp.Or(r.validateLease(), validateDomain(r.CognitoPoolDomain), validateScopes(r.Scopes))
}

func (r *roleEntry) appClientData() map[string]any {
	return map[string]any{
		"scopes":               append([]string{}, r.Scopes...),
		"access_token_ttl":     seconds(r.AccessTokenTTL),
		"client_name_template": r.ClientNameTemplate,
		"cognito_pool_domain":  r.CognitoPoolDomain,
		"ttl":                  seconds(r.TTL),
		"max_ttl":              seconds(r.MaxTTL),
		"max_issued":           r.MaxIssued,
	}
}

// clientName renders the role's template, or returns a name of the engine's own form.
func (r *roleEntry) clientName(data templateData) (string, error) {
	if r.ClientNameTemplate == "" {
		return newClientName(data.RoleName), nil
	}
	name, err := renderClientName(r.ClientNameTemplate, data.safe())
	if err != nil {
		return "", badRequest("client_name_template %q is not allowed: %s", r.ClientNameTemplate, err)
	}
	return name, nil
}

// newClientName returns a name with 130 random bits, which a long role name does not cut off.
func newClientName(role string) string {
	random := "-" + strings.ToLower(cryptorand.Text())
	name := usernamePrefix + notInUsername.ReplaceAllString(strings.ToLower(role), "-")
	return name[:min(len(name), clientNameMax-len(random))] + random
}

func renderClientName(text string, data templateData) (string, error) {
	one, err := render(text, data, fixedRandomness("7"))
	if err != nil {
		return "", err
	}
	other, err := render(text, data, fixedRandomness("8"))
	if err != nil {
		return "", err
	}
	if n := differences(one, other); n < randomCharsMin {
		return "", fmt.Errorf("only %d characters of the name that it renders are random: at least %d must be, for example from {{random 20}}", n, randomCharsMin)
	}
	name, err := render(text, data, data.randomness())
	switch {
	case err != nil:
		return "", err
	case !clientNamePattern.MatchString(name):
		return "", fmt.Errorf("the name that it renders must be 1 to %d letters, digits or characters of _+=,.@-", clientNameMax)
	}
	return name, nil
}

// dryRunClientName renders names for harmless and hostile callers.
func dryRunClientName(name, mountPoint string, role *roleEntry) error {
	for _, caller := range trialCallers {
		if _, err := role.clientName(trialData(name, mountPoint, role.UserPoolID, caller)); err != nil {
			return err
		}
	}
	return nil
}

// endAppClientRecord deletes the app client of a record, or those that a search found.
func (b *backend) endAppClientRecord(ctx context.Context, req *logical.Request, r *issuedRecord) error {
	if r.ClientID != "" {
		return b.endAppClient(ctx, req, r, r.ClientID)
	}
	switch {
	case r.found == nil:
		return errNotListed
	case r.found.err != nil:
		return b.acceptGone(ctx, req, r, r.found.err)
	case len(r.found.ids) == 0 && b.watch.age(r) < searchPeriod:
		return errNotListed
	}
	for _, id := range r.found.ids {
		if err := b.endAppClient(ctx, req, r, id); err != nil {
			return err
		}
	}
	return nil
}

// endAppClient deletes an app client. One that is gone already is ended.
func (b *backend) endAppClient(ctx context.Context, req *logical.Request, r *issuedRecord, id string) error {
	pool, err := b.userPool(ctx, req, r.target())
	if err != nil {
		return err
	}
	if b.now().Sub(r.Created) < lagWindow { // that Cognito does not know it yet proves nothing
		err = pool.DeleteNewAppClient(ctx, id)
	} else {
		err = pool.DeleteAppClient(ctx, id)
	}
	return b.acceptGone(ctx, req, r, err)
}

// findLostClients lists the app clients of each pool that has lost ones, once per pool.
func (r *reconciliation) findLostClients(ctx context.Context, records []*issuedRecord) {
	ctx, cancel := context.WithTimeout(inBackground(ctx), searchBudget)
	defer cancel()
	lost := map[cognito.Target][]*issuedRecord{}
	for _, record := range records {
		if record.isLostClient() {
			lost[record.target()] = append(lost[record.target()], record)
		}
	}
	for target, records := range lost {
		found, err := r.findClients(ctx, target, records)
		for _, record := range records {
			record.found = &foundClients{found[record.ClientName], err}
		}
	}
}

func (r *reconciliation) findClients(ctx context.Context, target cognito.Target, lost []*issuedRecord) (map[string][]string, error) {
	pool, err := r.b.userPool(ctx, r.req, target)
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(lost))
	for _, record := range lost {
		names = append(names, record.ClientName)
	}
	return pool.FindAppClients(ctx, slices.Compact(slices.Sorted(slices.Values(names)))...)
}

// searchAgain repeats the search before an unmount, after which none follows, for app clients that
// were created so shortly before that no earlier search was made. It logs the names of those that
// stay lost.
func (r *reconciliation) searchAgain(ctx context.Context, records []*issuedRecord) {
	ctx, cancel := context.WithTimeout(ctx, lastSearchBudget)
	defer cancel()
	var lost []*issuedRecord
	for _, record := range records {
		if record.isLostClient() && record.found != nil && record.found.err == nil && len(record.found.ids) == 0 && r.b.watch.age(record) < shortestSearchPause {
			lost = append(lost, record)
		}
	}
	for pause := firstSearchPause; len(lost) > 0 && sleep(ctx, pause); pause *= 2 {
		r.findLostClients(ctx, lost)
		lost = slices.DeleteFunc(lost, func(record *issuedRecord) bool {
			if len(record.found.ids) == 0 {
				return false
			}
			r.endForUnmount(ctx, record)
			return true
		})
	}
	for _, record := range lost {
		r.b.Logger().Warn("the mount goes, and no list shows an app client of which Cognito may have created one: if it appears, delete it by hand",
			"client_name", record.ClientName, "user_pool_id", record.UserPoolID)
	}
}

// sleep waits, and reports whether ctx allowed it.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// isLostClient reports whether the record is of an app client whose id is not known.
func (r *issuedRecord) isLostClient() bool { return r.Kind == kindAppClient && r.ClientID == "" }

// searchPause grows with the age of a lost app client. The last search is at the end of
// searchPeriod.
func searchPause(age time.Duration) time.Duration {
	pause := min(max(age/2, shortestSearchPause), longestSearchPause)
	return max(min(pause, searchPeriod-age), time.Minute)
}
