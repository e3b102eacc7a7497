// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package check

import "vault-plugin-secrets-cognito/internal/cognito"

// groupLookups holds an error or nil for each group of a role.
type groupLookups struct {
	names []string
	errs  []error
}

func newGroupLookups(names []string) groupLookups {
	return groupLookups{names, make([]error, len(names))}
}

// start looks for the groups.
func (g groupLookups) start(r *reader, pool Pool) {
	for i, name := range g.names {
		r.group.Go(func() error {
			g.errs[i] = pool.FindGroup(r.ctx, name)
			return nil
		})
	}
}

// check compares the groups with those of the pool.
func (g groupLookups) check(l *lookups) Finding {
	const name = "groups"
	if l.brokenBy() != "" {
		return skipped(name, l.brokenBy())
	}
	var missing []string
	var other error
	for i, err := range g.errs {
		switch {
		case err == nil:
		case cognito.KindOf(err) == cognito.KindNotFound:
			missing = append(missing, g.names[i])
		default:
			other = err
		}
	}
	switch {
	case len(missing) > 0:
		return Failed(name, "The user pool has no group "+quoted(missing)+".", "Create it in the pool, or remove it from groups.")
	case other != nil:
		return lookupFailed(name, other, "Correct groups in the role.")
	default:
		return Passed(name, "The user pool has every group of the role.")
	}
}
