// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
)

// issuedPage is one page of the records of a role, in order of time.
type issuedPage struct {
	records []*issuedRecord
	// next is the value of after for the next page, or empty if this is the last one.
	next string
}

// listIssued returns up to limit records of a role whose ids are greater than after.
func listIssued(ctx context.Context, s logical.Storage, role, after string, limit int) (issuedPage, error) {
	var page issuedPage
	batches, err := listBatches(ctx, s, role)
	if err != nil {
		return page, err
	}
	for _, batch := range batches {
		batch = strings.TrimSuffix(batch, "/")
		if after != "" && batch < batchOf(after) {
			continue
		}
		ids, err := listBatchIDs(ctx, s, batchName{role, batch})
		if err != nil {
			return page, err
		}
		for _, id := range ids {
			if id <= after {
				continue
			}
			if len(page.records) == limit {
				page.next = page.records[limit-1].ID
				return page, nil
			}
			if err := page.add(ctx, s, role, id); err != nil {
				return page, err
			}
		}
	}
	return page, nil
}

func (p *issuedPage) add(ctx context.Context, s logical.Storage, role, id string) error {
	record, err := getRecord(ctx, s, role, id)
	if record != nil {
		p.records = append(p.records, record)
	}
	return err
}

// latestEnd returns when the object of a record is ended at the latest, or zero if the record
// cannot be read.
func (b *backend) latestEnd(ctx context.Context, s logical.Storage, r *issuedRecord) (time.Time, error) {
	if r.State == stateUnreadable {
		return time.Time{}, nil
	}
	beat, err := b.watch.known(ctx, s)
	if err != nil {
		return time.Time{}, err
	}
	moved := *r
	if _, err := b.updateDeadline(ctx, s, &moved, beat); err != nil {
		return time.Time{}, err
	}
	return b.dueTime(&moved), nil
}

// summary returns the fields of a record that a list contains.
func (r *issuedRecord) summary(ends time.Time) map[string]any {
	data := map[string]any{
		"kind":         string(r.Kind),
		"state":        string(r.State),
		"username":     r.Username,
		"display_name": r.DisplayName,
		"entity_id":    r.EntityID,
		"created":      timeText(r.Created),
		"expires":      timeText(ends),
	}
	if r.Kind == kindAppClient {
		delete(data, "username")
		data["client_name"] = r.ClientName
	}
	if r.Kind == kindMembership {
		data["groups"] = append([]string{}, r.Groups...)
	}
	if r.Library != "" {
		data["library"] = r.Library
	}
	if r.LastError != "" {
		data["last_error"] = r.LastError
	}
	return data
}

// responseData returns the fields of a record that a read contains. Records hold no secret.
func (r *issuedRecord) responseData(ends time.Time) map[string]any {
	data := r.summary(ends)
	data["id"] = r.ID
	data["role"] = r.Role
	switch r.Kind {
	case kindAppClient:
		data["app_client_id"] = r.ClientID
	case kindMembership:
		data["requested_name"], data["sub"] = r.RequestedName, r.Sub
		data["already_member_of"] = append([]string{}, r.Existing...)
		data["sign_out_on_revoke"] = r.SignOut
	default:
		data["requested_name"], data["sub"] = r.RequestedName, r.Sub
		data["revocation"] = r.Revocation
	}
	data["user_pool_id"] = r.UserPoolID
	data["region"] = r.Region
	data["aws_assume_role_arn"] = r.AssumeRoleARN
	data["account_id"] = r.Account
	data["cognito_endpoint"] = r.Endpoint
	data["last_error"] = r.LastError
	setTime(data, "last_attempt", r.LastAttempt)
	return data
}

// listBatches returns the ids of the batches of a role that hold records, in order of time.
func listBatches(ctx context.Context, s logical.Storage, role string) ([]string, error) {
	return listSorted(ctx, s, recordStoragePrefix+role+"/")
}

// listRecordIDs returns the ids of all records of a role, in order of time.
func listRecordIDs(ctx context.Context, s logical.Storage, role string) ([]string, error) {
	batches, err := listBatches(ctx, s, role)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, batch := range batches {
		of, err := listBatchIDs(ctx, s, batchName{role, strings.TrimSuffix(batch, "/")})
		if err != nil {
			return nil, err
		}
		ids = append(ids, of...)
	}
	return ids, nil
}

// listBatchIDs returns the ids of the records of a batch, in order.
func listBatchIDs(ctx context.Context, s logical.Storage, name batchName) ([]string, error) {
	ids, err := listSorted(ctx, s, name.recordPrefix())
	if err != nil {
		return nil, err
	}
	for i, random := range ids {
		ids[i] = name.id + "-" + random
	}
	return ids, nil
}

// listRecordRoles returns the names of the roles that have records.
func listRecordRoles(ctx context.Context, s logical.Storage) ([]string, error) {
	roles, err := listSorted(ctx, s, recordStoragePrefix)
	for i, role := range roles {
		roles[i] = strings.TrimSuffix(role, "/")
	}
	return roles, err
}

func readAllRecords(ctx context.Context, s logical.Storage) (records []*issuedRecord, unreadable []error, err error) {
	roles, err := listRecordRoles(ctx, s)
	if err != nil {
		return nil, nil, err
	}
	for _, role := range roles {
		ids, err := listRecordIDs(ctx, s, role)
		if err != nil {
			return nil, nil, err
		}
		for _, id := range ids {
			record, err := getRecord(ctx, s, role, id)
			switch {
			case err != nil:
				return nil, nil, err
			case record == nil:
			case record.State == stateUnreadable:
				unreadable = append(unreadable, fmt.Errorf("the record %q of role %q cannot be read: %s", id, role, record.LastError))
			default:
				records = append(records, record)
			}
		}
	}
	return records, unreadable, nil
}
