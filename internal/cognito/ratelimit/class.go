// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package ratelimit

import "context"

// Class is what a request is made for.
type Class int

const (
	// Request is work that a caller waits for. It is the default.
	Request Class = iota
	// Revocation is the end of a lease, and whatever else takes access away.
	Revocation
	// Background is work that no caller waits for, such as a rotation on schedule.
	Background

	classes = iota
)

// strides is the cost of a slot for each class: the inverse of its weight. While all classes wait,
// of nine slots four go to requests, four to revocations and one to background work.
var strides = [classes]int64{Request: 1, Revocation: 1, Background: 4}

// share returns the part of a queue's slots that a class gets while the active classes wait, too.
func (c Class) share(active [classes]bool) float64 {
	var sum float64
	for class, stride := range strides {
		if active[class] || Class(class) == c {
			sum += 1 / float64(stride)
		}
	}
	return 1 / float64(strides[c]) / sum
}

type classKey struct{}

// WithClass returns a context whose requests belong to a class.
func WithClass(ctx context.Context, class Class) context.Context {
	return context.WithValue(ctx, classKey{}, class)
}

// ClassOf returns the class of the requests of a context.
func ClassOf(ctx context.Context) Class {
	class, _ := ctx.Value(classKey{}).(Class)
	return class
}
