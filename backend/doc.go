// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

// Package backend is the part of the engine that Vault calls: paths, leases, periodic work and life
// cycle. The calls to Cognito are in internal/cognito; this package imports no AWS package.
//
// # Flows
//
// A request passes HandleRequest and a handler in a path_ file, and ends in a flow. A flow is a
// small type that holds the backend, the request, and the role or set. Its methods stand in the
// order in which they are called:
//
//	issueRequest      has what the following three share                issue.go
//	userIssue         issues a user                                     user_issue.go
//	clientIssue       issues an app client                              app_client_issue.go
//	membershipIssue   adds a user to groups                             group_membership_issue.go
//	creation          keeps the record of an object that is issued      issued_create.go
//	leaseKind         renews and revokes the leases of one kind         lease.go, *_lease.go
//	reconciliation    ends objects without a lease, in each tick        issued_reconcile.go
//	endAll            ends all objects before an unmount                issued_unmount.go
//	tidy              finds users without a record                      issued_tidy.go
//	staticWrite       creates or changes a static role                  static_write.go
//	staticRotation    rotates a password or an app client secret        static_rotation.go
//	rootRotation      rotates the access key of the config              root_rotation.go
//	rollbackRootKey   deletes the key that such a rotation left         root_rollback.go
//	libraryWrite      creates or changes a library set                  library_write.go
//	checkOut          lends a user of a library set                     library_checkout.go
//	checkIn           takes a user back                                 library_checkin.go
//	userReset         prepares a returned user for the next check-out   library_reset.go
//	restrictedExchange  returns tokens to users of a role               token_users.go
//
// Machine tokens need no type: issueMachineToken in machine_token.go is one call. Vault calls
// periodic once a minute; each task in it does a bounded amount of work.
//
// Three files begin with a state machine and what a crash leaves: issued_record.go (all issued
// objects; app_client.go and group_membership.go add what is particular to theirs),
// static_rotation.go, and library.go.
//
// # Locks
//
//	recordLocks, by key     a creation, renewal, revocation or end of one issued object
//	memberLocks, by user    changes of the memberships of one user
//	libraryLocks, by key    a write of one library set; changes of one user of a set
//	staticLocks, by name    a write, rotation or deletion of one static role
//	tokenSignIns, by name   sign-ins of the user of one static role through tokens/
//	configMu                a write of the config, or a rotation of its key
//	roleLocks, by hash      a write or deletion of roles
//
// The locks above the last one may be held during calls to AWS; requests that issue credentials
// wait for none that another object holds. They are locked in this order: a record, then a member
// or a library user; a library set, then its users, or its role. The record of a new object may be
// locked at any time, because no other request knows its key. All other mutexes are held only for
// work in memory or in storage.
//
// # Stored keys
//
//	config                      how AWS is reached; seal-wrapped
//	roles/<name>                a role; seal-wrapped
//	static-roles/<name>         a static role with its value; seal-wrapped
//	static-sign-ins/<digest>    sign-ins of a static role's user that may have used a wrong password
//	library/sets/<name>         a library set; seal-wrapped
//	library/users/<name>/<id>   a user of a set with its password; seal-wrapped
//	issued/records/…            issued objects; local to the cluster
//	issued/due/…                index: when to read the records of a batch next; local
//	issued/members/…            index: the membership records of a user; local
//	issued/heartbeat            until when this version saw every renewal; local
//	wal/<id>                    rotations of the access key; by the framework, local, seal-wrapped
//
// Everything else is in memory and can be lost at any time: caches, connections, queues, counts.
package backend
