// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

// Package ratelimit keeps requests under the quotas that AWS counts for an account: so many
// requests per second in each category, such as UserCreation.
//
// Limiters holds one queue for each account and category. A queue gives out slots, and one request
// may leave with each slot. Requests belong to one of three classes, which share the slots of a
// queue by weight while several of them wait, and in order of arrival within a class. A class that
// waits alone has all slots.
//
// Work that takes several requests, such as creating a user, reserves its slots in all categories
// before it starts. A reservation is in one of four states:
//
//	Reserve ──→ refused    the slots cannot be had in the time that is left: an Error
//	   │                   at once, which says when to try again
//	   └──────→ waiting ─→ open: the slots are about to come, Reserve returns
//	               │         │
//	               │         └──→ released: by Release, at the end of the work
//	               └────────────→ released: the caller went away, or its time is over
//
// A request that is made under an open reservation takes its place in the queue from the
// reservation: it waits for slots that earlier requests of its class take, and for no later ones.
// Slots that are not used return by Release.
//
// These invariants hold, and the model test checks them:
//
//   - In any period d, at most d times the rate plus the burst, half a second's
//     worth, of slots of one queue are used.
//   - No request of a class gets a slot before a waiting one of the same class
//     that is ahead of it, by arrival or by reservation.
//   - Of n slots that are given out while two classes wait, each has its share
//     by weight, give or take one.
//   - A slot is used, or it goes to the next request: none is lost.
//
// The package imports the standard library only, and knows no operation of AWS.
package ratelimit
