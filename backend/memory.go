// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import "sync"

// memory keeps what was made of storage entries until they change, so that a
// hot path asks no storage. What it gives is shared and must not be changed.
// The zero value is ready.
type memory[T any] struct {
	mu         sync.RWMutex
	generation uint64
	held       map[string]*T
}

// get gives what is held under a key, or else loads it. Nothing is locked
// while it loads, but of all that load at once everybody gets the first: it
// may hold a limit that they are to share. What was made of an entry that
// changed meanwhile is used once and not kept, nor is a nil.
func (m *memory[T]) get(key string, load func() (*T, error)) (*T, error) {
	held, generation := m.look(key)
	if held != nil {
		return held, nil
	}
	made, err := load()
	if err != nil || made == nil {
		return made, err
	}
	return m.keep(key, made, generation), nil
}

func (m *memory[T]) look(key string) (*T, uint64) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.held[key], m.generation
}

func (m *memory[T]) keep(key string, made *T, generation uint64) *T {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.generation != generation {
		return made
	}
	if held := m.held[key]; held != nil {
		return held
	}
	if m.held == nil {
		m.held = map[string]*T{}
	}
	m.held[key] = made
	return made
}

// drop forgets a key and gives what was held under it, or nil.
func (m *memory[T]) drop(key string) *T {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.generation++
	held := m.held[key]
	delete(m.held, key)
	return held
}
