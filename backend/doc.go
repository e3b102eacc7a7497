// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

// Package backend is what Vault sees of the engine: its paths, leases, periodic work and life
// cycle. What happens at Cognito is in internal/cognito, and this package imports no AWS package.
//
// # Flows
//
// A request passes HandleRequest, a handler in a path_ file, and ends in a flow. A flow is a small
// type whose methods stand in the order in which things happen:
//
//	userIssue       issues a user: prepare, begin, create, deliver      user_issue.go
//	creation        keeps the record of whatever is being issued        issued_create.go
//	userRenewal     renews a lease                                      user_lease.go
//	reconciliation  is a tick that ends what has no lease any more      issued_reconcile.go
//	tidy            finds users without a record                        issued_tidy.go
//	rootRotation    rotates the access key of the config                root_rotation.go
//
// Static roles have their flow in static_rotation.go. Vault calls periodic once a minute; each task
// in it does a bounded piece of work. The comment in issued_record.go has the states of an issued
// object.
//
// # Locks
//
// No lock is held while AWS responds, but for those that belong to a single object:
//
//	roleLocks, by name  a write or rotation of a role or static role
//	configMu            a write of the config or a rotation of its key
//	recordLocks, by key a creation, renewal, revocation or end of one issued object
//
// A record lock is never taken while another lock is held.
//
// # Stored keys
//
//	config                  how AWS is reached; seal-wrapped
//	roles/<name>            a role; seal-wrapped
//	static-roles/<name>     a static role with its value; seal-wrapped
//	issued/records/…        issued objects; local to the cluster
//	issued/due/…            when to look at them next; local
//	issued/heartbeat        until when leases were watched; local
//	wal/<id>                rotations of the access key; by the framework, local, seal-wrapped
//
// Everything else is in memory and can be lost at any time: roles, the connection, tokens, queues.
package backend
