// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
)

// issuedPage is one page of the records of a role, in order of time.
type issuedPage struct {
	records []*issuedRecord
	// next is the id to go on after, or empty if this was the last page.
	next string
}

// listIssued returns up to limit records of a role whose ids come after one.
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

// latestEnd returns when the object of a record is ended at the latest, or zero if the record cannot
// be read.
func (b *backend) latestEnd(ctx context.Context, s logical.Storage, r *issuedRecord) (time.Time, error) {
	if r.State == stateUnreadable {
		return time.Time{}, nil
	}
	beat, err := b.watch.known(ctx, s)
	if err != nil {
		return time.Time{}, err
	}
	moved := *r
	if _, err := b.moveDeadline(ctx, s, &moved, beat); err != nil {
		return time.Time{}, err
	}
	return b.due(&moved), nil
}

// summary is what a list shows of a record.
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

// responseData is what a read shows of a record. Records hold no secret.
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
