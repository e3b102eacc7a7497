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
	shown := map[string]any{
		"kind":         string(r.Kind),
		"state":        string(r.State),
		"username":     r.Username,
		"display_name": r.DisplayName,
		"entity_id":    r.EntityID,
		"created":      timeText(r.Created),
		"expires":      timeText(ends),
	}
	if r.Kind == kindAppClient {
		delete(shown, "username")
		shown["client_name"] = r.ClientName
	}
	if r.LastError != "" {
		shown["last_error"] = r.LastError
	}
	return shown
}

// responseData is what a read shows of a record. Records hold no secret.
func (r *issuedRecord) responseData(ends time.Time) map[string]any {
	shown := r.summary(ends)
	shown["id"] = r.ID
	shown["role"] = r.Role
	if r.Kind == kindAppClient {
		shown["app_client_id"] = r.ClientID
	} else {
		shown["requested_name"] = r.RequestedName
		shown["sub"] = r.Sub
		shown["revocation"] = r.Revocation
	}
	shown["user_pool_id"] = r.UserPoolID
	shown["region"] = r.Region
	shown["aws_assume_role_arn"] = r.AssumeRoleARN
	shown["account_id"] = r.Account
	shown["cognito_endpoint"] = r.Endpoint
	shown["last_error"] = r.LastError
	setTime(shown, "last_attempt", r.LastAttempt)
	return shown
}
