// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

// # Issued records
//
// Each object that the engine issues for a lease has one record, from before it is created at
// Cognito until after it is gone. Records lie in local storage, because leases belong to the
// cluster that was asked. Two invariants hold:
//
//	A living lease never loses its object.
//	Nothing stays at Cognito for longer than its lease could have lived.
//
// States and events:
//
//	              store the record,               the record is still there:
//	              before any call to AWS          store it again, then answer
//	      (none) ───────────────────▶ creating ──────────────────────────────▶ delivered
//	                                     │                                       │     │
//	          the create fails and is    │                    a lease is renewed │     │ revoked, or
//	          undone, or its process     │                                       ▼     │ the deadline
//	          is dead for createGrace    │                                  confirmed  │ has passed
//	                                     │      revoked, or the deadline has     │     │
//	                                     ▼      passed                           ▼     ▼
//	      (none) ◀── the object is gone ─┴──────────────────────────────────── ending
//
// creating: the response has not been sent, so no lease exists and the object may be deleted,
// except while the request that creates it holds the record's lock.
//
// delivered: the response may have been sent; whether Vault stored a lease is unknown. The deadline
// is the end of the first ttl. The record of a check-out begins here, because its user exists.
//
// confirmed: a renewal proved that a lease exists. The deadline is the end of the longest possible
// lease: the issue time plus the highest min(role max_ttl, mount maximum) that was seen.
//
// If the engine may have missed a renewal, the deadline of a delivered or confirmed record moves to
// the end of the longest possible lease. It may have missed one after a gap between heartbeats,
// while another version of the plugin ran, or when the clock was set. See issued_heartbeat.go.
//
// ending: an attempt to end the object failed and is repeated until it succeeds. To end an object
// is to delete or disable a user, to delete an app client, to remove memberships, or to take back a
// user of a library set. The state is stored only after a failure: an end that succeeds deletes the
// record.
//
// Who deletes a record: the request that created it, after a create that is undone, or else the
// next tick of its process, see leftRecords; a revocation, after the object's end; the reconciler,
// after the object's end. All of them hold the record's lock. A record that cannot be read, or is
// of an unknown version or kind, is kept and reported.
//
// What is stored:
//
//	issued/records/<role>/<batch>/<random>  the record; its id is <batch>-<random>
//	issued/due/<day>/<minute>/<role>/<batch> when to read the records of a batch next
//	issued/members/<pool>/<sub>/<role>:<id>  that a record grants groups to a user, see group_membership.go
//	issued/heartbeat                         until when this version saw every renewal
//
// A batch holds what one process issued for one role within one minute. It has one index entry, at
// the earliest of its deadlines. So a tick lists and reads only what is due, a renewal does not
// change the index, and an object costs two writes when it is issued and one when it ends, plus one
// per batch. The index entry is stored before the first record of the batch. A new batch begins
// when the clock is in another minute, also if it was set back. A batch that was closed is never
// reopened.
//
// If the process dies
//
//	before the record is stored: nothing was created; an index entry without records is deleted;
//	after that, before the response: the record is "creating", the reconciler ends the object after createGrace;
//	between "delivered" and the lease: the reconciler ends the object at the end of the first ttl;
//	while a renewal is stored: Vault repeats the renewal, or the lease keeps its earlier end;
//	between an end and the deletion of its record: the end is repeated and finds nothing;
//	between the new index entry of a batch and the deletion of the old one: the batch is read twice.

import (
	"cmp"
	"context"
	cryptorand "crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-cognito/internal/cognito"
)

const (
	issuedStoragePrefix = "issued/"
	recordStoragePrefix = issuedStoragePrefix + "records/"

	// recordVersion is the format of the records that this version writes.
	recordVersion = 1

	// batchLayout and the lengths below make the ids of records, which sort by time.
	batchLayout     = "20060102-1504"
	batchSuffixLen  = 4
	recordRandomLen = 12

	// adoptedMinute is the prefix of the ids of records for leases that were issued without a
	// record.
	adoptedMinute = "00000000-0000"
)

// recordIDPattern matches the ids that newRecordID and adoptedRecordID return.
var recordIDPattern = regexp.MustCompile(`^(\d{8}-\d{4}-[a-z2-7]{4})-([a-z2-7]{12})$`)

// roleNamePattern matches the names of roles, which are part of the keys of records.
var roleNamePattern = regexp.MustCompile(`^\w(([\w-.]+)?\w)?$`)

// recordState is a state of the diagram above.
type recordState string

const (
	stateCreating  recordState = "creating"
	stateDelivered recordState = "delivered"
	stateConfirmed recordState = "confirmed"
	stateEnding    recordState = "ending"
	// stateUnreadable marks a record that this version cannot read. It is never stored.
	stateUnreadable recordState = "unreadable"
)

// recordKind is what was issued. backend.issuedEnds has the function that ends each kind.
type recordKind string

const (
	kindUser       recordKind = "user"
	kindAppClient  recordKind = "app_client"
	kindMembership recordKind = "group_membership"
	// kindLibrary is a check-out of a user of a library set.
	kindLibrary recordKind = "library"
)

// place says where an object is, and how AWS was reached when it was created.
type place struct {
	UserPoolID    string `json:"user_pool_id"`
	Region        string `json:"region"`
	AssumeRoleARN string `json:"aws_assume_role_arn,omitempty"`
	ExternalID    string `json:"aws_external_id,omitempty"`
	// Account is the id of the AWS account, or empty if it was not known.
	Account string `json:"account_id,omitempty"`
	// Endpoint is the URL of Cognito, or empty for AWS's own.
	Endpoint string `json:"endpoint,omitempty"`
}

func newPlace(target cognito.Target) place {
	return place{UserPoolID: target.UserPoolID, Region: target.Region, AssumeRoleARN: target.AssumeRoleARN, ExternalID: target.ExternalID}
}

func (p place) target() cognito.Target {
	return cognito.Target{UserPoolID: p.UserPoolID, Region: p.Region, AssumeRoleARN: p.AssumeRoleARN, ExternalID: p.ExternalID}
}

// issuedRecord describes one object at Cognito that this mount issued. It holds everything that is
// needed to end the object, because role and config may change. It holds no secret.
type issuedRecord struct {
	// ID and Role are in the key.
	ID   string `json:"-"`
	Role string `json:"-"`

	Version int         `json:"version"`
	Kind    recordKind  `json:"kind"`
	State   recordState `json:"state"`
	place

	// Username is Cognito's own name of the user, once it is known. RequestedName is the name that
	// was sent.
	Username      string `json:"username,omitempty"`
	RequestedName string `json:"requested_name,omitempty"`
	Sub           string `json:"sub,omitempty"`
	// Revocation is the role's revocation: whether the user is deleted or disabled.
	Revocation string `json:"revocation,omitempty"`

	// ClientName is the name of an app client, and ClientID its id, once it is known. See
	// app_client.go.
	ClientName string `json:"client_name,omitempty"`
	ClientID   string `json:"app_client_id,omitempty"`
	// Groups are the groups that a membership record grants. Existing are the groups of its role
	// that the user had before. SignOut is sign_out_on_revoke. See group_membership.go.
	Groups   []string `json:"groups,omitempty"`
	Existing []string `json:"existing_groups,omitempty"`
	SignOut  bool     `json:"sign_out,omitempty"`
	// Library and LibraryUser are the set and the user of a check-out. See library.go.
	Library     string `json:"library,omitempty"`
	LibraryUser string `json:"library_user,omitempty"`

	// found is the result of a search for the app clients named ClientName, or nil without a
	// search.
	found *foundClients

	Created time.Time `json:"created"`
	// Deadline is when the object is to be ended. It is zero until the object is delivered.
	Deadline time.Time `json:"deadline,omitzero"`
	// Longest is how long the lease could last at most when the object was issued.
	Longest time.Duration `json:"longest,omitempty"`
	// Watch and ClockShift are those of the heartbeat that Deadline was computed with.
	Watch      string        `json:"watch,omitempty"`
	ClockShift time.Duration `json:"clock_shift,omitempty"`

	// DisplayName and EntityID say who asked.
	DisplayName string `json:"display_name,omitempty"`
	EntityID    string `json:"entity_id,omitempty"`

	// LastError and LastAttempt describe the last failed attempt to end the object.
	LastError   string    `json:"last_error,omitempty"`
	LastAttempt time.Time `json:"last_attempt,omitzero"`
}

// object returns the name of the object for a log.
func (r *issuedRecord) object() string { return cmp.Or(r.Username, r.ClientName) }

func (r *issuedRecord) key() string { return recordKey(r.Role, r.ID) }

func (r *issuedRecord) batch() batchName { return batchName{r.Role, batchOf(r.ID)} }

// isUnconfirmed reports whether Vault may have no lease of the object.
func (r *issuedRecord) isUnconfirmed() bool {
	return r.State == stateCreating || r.State == stateDelivered || r.State == stateEnding
}

// recordKey returns the storage key of a record. The id must match recordIDPattern.
func recordKey(role, id string) string {
	batch := batchOf(id)
	return recordStoragePrefix + role + "/" + batch + "/" + strings.TrimPrefix(id, batch+"-")
}

func batchOf(id string) string { return id[:len(batchLayout)+1+batchSuffixLen] }

// newRecordID returns the id of a record in a batch.
func newRecordID(batch string) string { return batch + "-" + randomText(recordRandomLen) }

// adoptedRecordID returns the id of the record for a lease that has none. The id is derived from
// the object, so that all renewals and the revocation find the same record. Each such record has a
// batch of its own, which spreads their deadlines.
func adoptedRecordID(username, poolID string) string {
	sum := sha256.Sum256([]byte(poolID + "/" + username))
	text := strings.ToLower(base32.StdEncoding.EncodeToString(sum[:]))
	return adoptedMinute + "-" + text[:batchSuffixLen] + "-" + text[batchSuffixLen:batchSuffixLen+recordRandomLen]
}

// randomText returns up to 26 random characters of a to z and 2 to 7.
func randomText(length int) string { return strings.ToLower(cryptorand.Text()[:length]) }

// getRecord reads a record. It returns nil if there is none, and stateUnreadable with the reason in
// LastError if this version cannot read it.
func getRecord(ctx context.Context, s logical.Storage, role, id string) (*issuedRecord, error) {
	if !recordIDPattern.MatchString(id) {
		return nil, nil
	}
	entry, err := s.Get(ctx, recordKey(role, id))
	if err != nil {
		return nil, fmt.Errorf("reading the record %q of role %q: %w", id, role, err)
	}
	if entry == nil {
		return nil, nil
	}
	r := &issuedRecord{}
	err = entry.DecodeJSON(r)
	r.ID, r.Role = id, role
	switch {
	case err != nil:
		r.State, r.LastError = stateUnreadable, "the stored record is damaged"
	case r.Version != recordVersion:
		r.State, r.LastError = stateUnreadable, fmt.Sprintf("the record has format %d, and this version knows format %d", r.Version, recordVersion)
	}
	return r, nil
}

// putRecord stores a record. It is counted before that: if the storage's response is lost, one
// record too many is counted until its end, and none is missing.
func (b *backend) putRecord(ctx context.Context, s logical.Storage, r *issuedRecord) error {
	b.census.put(r.key(), b.censusRecord(r))
	return writeRecord(ctx, s, r)
}

// writeRecord stores a record without counting it.
func writeRecord(ctx context.Context, s logical.Storage, r *issuedRecord) error {
	r.Version = recordVersion
	return putJSON(ctx, s, r.key(), r)
}

// dropRecord deletes a record whose object is gone, and removes it from the counts.
func (b *backend) dropRecord(ctx context.Context, s logical.Storage, role, id string) error {
	if err := s.Delete(ctx, recordKey(role, id)); err != nil {
		return fmt.Errorf("deleting the record %q of role %q: %w", id, role, err)
	}
	b.issuedCounts.remove(role, id)
	b.census.remove(recordKey(role, id))
	return nil
}
