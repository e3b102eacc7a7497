// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
	"strings"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
)

func pathLibrary(b *backend) []*framework.Path {
	return []*framework.Path{
		{
			Pattern:      "library/?$",
			DisplayAttrs: &framework.DisplayAttributes{OperationPrefix: operationPrefix, OperationSuffix: "library-sets"},
			Operations: map[logical.Operation]framework.OperationHandler{
				logical.ListOperation: &framework.PathOperation{
					Callback: listNames(librarySetStoragePrefix),
					Summary:  "List the names of all library sets.",
					Responses: responseSchema(map[string]*framework.FieldSchema{
						"keys": {Type: framework.TypeStringSlice, Description: "Names of the library sets, sorted."},
					}),
				},
			},
			HelpSynopsis:    libraryListHelpSynopsis,
			HelpDescription: libraryListHelpDescription,
		},
		pathLibrarySet(b),
		pathLibraryCheckOut(b),
		pathLibraryCheckIn(b, "library/"+framework.GenericNameRegex("name")+"/check-in$", "check-in", false),
		pathLibraryCheckIn(b, "library/"+libraryNameReserved+"/"+framework.GenericNameRegex("name")+"/check-in$", "force-check-in", true),
		pathLibraryStatus(b),
	}
}

func pathLibrarySet(b *backend) *framework.Path {
	return &framework.Path{
		Pattern:      "library/" + framework.GenericNameRegex("name") + "$",
		DisplayAttrs: &framework.DisplayAttributes{OperationPrefix: operationPrefix, OperationSuffix: "library-set"},
		Fields:       libraryFields(),
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.ReadOperation: &framework.PathOperation{
				Callback:  b.pathLibraryRead,
				Summary:   "Read a library set.",
				Responses: responseSchema(responseFields(libraryFields(), "name")),
			},
			logical.CreateOperation: b.roleChange(b.pathLibraryWrite, "Create or update a library set. Fields that are not given keep their values."),
			logical.UpdateOperation: b.roleChange(b.pathLibraryWrite, "Create or update a library set. Fields that are not given keep their values."),
			logical.PatchOperation:  b.roleChange(b.pathLibraryWrite, "Change fields of an existing library set."),
			logical.DeleteOperation: b.roleChange(b.pathLibraryDelete, "Delete a library set of which no user is checked out."),
		},
		ExistenceCheck:  b.libraryExists,
		HelpSynopsis:    libraryHelpSynopsis,
		HelpDescription: strings.TrimSpace(libraryHelpDescription),
	}
}

func pathLibraryCheckOut(b *backend) *framework.Path {
	return &framework.Path{
		Pattern:      "library/" + framework.GenericNameRegex("name") + "/check-out$",
		DisplayAttrs: &framework.DisplayAttributes{OperationPrefix: operationPrefix, OperationVerb: "check-out", OperationSuffix: "library-set"},
		Fields:       checkOutFields(),
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.UpdateOperation: &framework.PathOperation{
				Callback:                  b.pathLibraryCheckOut,
				Summary:                   "Borrow a user for the duration of a lease.",
				ForwardPerformanceStandby: true,
				Responses:                 responseSchema(checkOutResponseFields()),
			},
		},
		HelpSynopsis:    checkOutHelpSynopsis,
		HelpDescription: strings.TrimSpace(checkOutHelpDescription),
	}
}

func pathLibraryCheckIn(b *backend, pattern, verb string, forced bool) *framework.Path {
	path := &framework.Path{
		Pattern:      pattern,
		DisplayAttrs: &framework.DisplayAttributes{OperationPrefix: operationPrefix, OperationVerb: verb, OperationSuffix: "library-set"},
		Fields:       checkInFields(),
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.UpdateOperation: &framework.PathOperation{
				Callback: func(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
					c := &checkIn{b: b, req: req, name: roleName(data), forced: forced}
					return c.run(ctx, newInput(req, data))
				},
				Summary:                   "Return users that were borrowed.",
				ForwardPerformanceStandby: true,
				Responses: responseSchema(map[string]*framework.FieldSchema{
					"check_ins": {Type: framework.TypeStringSlice, Description: "Users that were returned.", Required: true},
				}),
			},
		},
		HelpSynopsis:    checkInHelpSynopsis,
		HelpDescription: strings.TrimSpace(checkInHelpDescription),
	}
	if forced {
		path.HelpSynopsis, path.HelpDescription = forceCheckInHelpSynopsis, strings.TrimSpace(forceCheckInHelpDescription)
		path.Fields["usernames"].Description = "Users to return. One that is free is reset once more."
		path.Fields["usernames"].Required = true
	}
	return path
}

func pathLibraryStatus(b *backend) *framework.Path {
	return &framework.Path{
		Pattern:      "library/" + framework.GenericNameRegex("name") + "/status$",
		DisplayAttrs: &framework.DisplayAttributes{OperationPrefix: operationPrefix, OperationSuffix: "library-set-status"},
		Fields:       map[string]*framework.FieldSchema{"name": libraryNameField()},
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.ReadOperation: &framework.PathOperation{
				Callback:  b.pathLibraryStatus,
				Summary:   "Read who has which user.",
				Responses: responseSchema(libraryStatusFields()),
			},
		},
		HelpSynopsis:    libraryStatusHelpSynopsis,
		HelpDescription: strings.TrimSpace(libraryStatusHelpDescription),
	}
}

func (b *backend) libraryExists(ctx context.Context, req *logical.Request, data *framework.FieldData) (bool, error) {
	set, err := getLibrarySet(ctx, req.Storage, roleName(data))
	return set != nil, err
}

func (b *backend) pathLibraryRead(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	set, err := getLibrarySet(ctx, req.Storage, roleName(data))
	if err != nil || set == nil {
		return nil, err
	}
	return &logical.Response{Data: set.responseData()}, nil
}

func (b *backend) pathLibraryWrite(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	w := &libraryWrite{b: b, req: req, name: roleName(data), in: newInput(req, data)}
	if err := w.run(ctx); err != nil {
		return toResponse(err)
	}
	return writeResponse(req, data), nil
}

func (b *backend) pathLibraryDelete(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	return toResponse(b.deleteLibrary(ctx, req, roleName(data)))
}

func (b *backend) pathLibraryCheckOut(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	c := &checkOut{b: b, req: req, name: roleName(data), in: newInput(req, data)}
	return c.run(ctx)
}

func (b *backend) pathLibraryStatus(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	set, err := getLibrarySet(ctx, req.Storage, roleName(data))
	if err != nil || set == nil {
		return nil, err
	}
	all, err := usersOf(ctx, req.Storage, roleName(data), set)
	if err != nil {
		return nil, err
	}
	users, free, lent, broken := map[string]any{}, 0, 0, 0
	for _, u := range all {
		users[u.shownName()] = u.statusData()
		switch {
		case u.State == libraryAvailable:
			free++
		case u.State == libraryLent:
			lent++
		case u.LastError != "":
			broken++
		}
	}
	return &logical.Response{Data: map[string]any{"users": users, "available": free, "checked_out": lent, "broken": broken}}, nil
}

const (
	libraryListHelpSynopsis    = `List the names of all library sets.`
	libraryListHelpDescription = `Names of library sets are lower case and sorted.`

	libraryHelpSynopsis    = `Manage library sets: users that are lent out and come back.`
	libraryHelpDescription = `
A library set has users that are used again and again, each by one holder at a
time. The role of the set says what they are like. With "size" the engine
creates the users, in the background; with "usernames" it takes over existing
ones, whose passwords it replaces.

A user that comes back gets a new password, loses its sessions, and is again as
the role says, before it is lent again. A set whose user pool allows
passkeys is refused, because a holder could keep one.

Changes take effect for a user that is checked out when it comes back. A set
can be deleted when none of its users is checked out.

    $ vault write cognito/library/e2e role=ci-user size=20
`

	checkOutHelpSynopsis    = `Borrow a user of a library set.`
	checkOutHelpDescription = `
The response is that of creds/ for the role of the set. The user is the
caller's alone until the lease ends or the user is checked in.

If no user is free, the request waits up to "wait" and is refused with status
409 then; the error says when the next user is due.

    $ vault write cognito/library/e2e/check-out ttl=1h wait=30s
`

	checkInHelpSynopsis    = `Return a user that was borrowed.`
	checkInHelpDescription = `
A user can be returned by the entity or token that checked it out, or by
everyone if the set has disable_check_in_enforcement. The user is reset before
the response is sent; its lease ends later and changes nothing.

    $ vault write -f cognito/library/e2e/check-in
    $ vault write cognito/library/e2e/check-in usernames=vault-ci-user-abc
`

	forceCheckInHelpSynopsis    = `Return a user that another caller borrowed.`
	forceCheckInHelpDescription = `
An operator returns users of any holder, who lose access at once. A user that
is free is reset once more: after a snapshot of Vault was restored that is
younger than two minutes, its password may be known.

    $ vault write cognito/library/manage/e2e/check-in usernames=vault-ci-user-abc
`

	libraryStatusHelpSynopsis    = `See who has which user of a library set.`
	libraryStatusHelpDescription = `
Shows each user with its state, and who has it until when. A user that is
neither free nor lent shows in "last_error" why it could not be prepared.

    $ vault read cognito/library/e2e/status
`
)
