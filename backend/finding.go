// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"cmp"
	"fmt"
	"slices"

	"vault-plugin-secrets-cognito/internal/cognito"
)

// Statuses of findings.
const (
	statusOK      = "ok"
	statusWarn    = "warn"
	statusUnknown = "unknown"
	statusFail    = "fail"
)

// severity orders the statuses. What is unknown may be a failure, so it is
// worse than what is known to be a warning.
var severity = []string{statusOK, statusWarn, statusUnknown, statusFail}

// finding is one thing that a check looked at. It holds no secret.
type finding struct {
	name, status, detail, remedy string
}

func ok(name, detail string) finding { return finding{name, statusOK, detail, ""} }

func warned(name, detail, remedy string) finding { return finding{name, statusWarn, detail, remedy} }

func unknown(name, detail, remedy string) finding {
	return finding{name, statusUnknown, detail, remedy}
}

func failed(name, detail, remedy string) finding { return finding{name, statusFail, detail, remedy} }

func (f finding) responseData() map[string]any {
	return map[string]any{"name": f.name, "status": f.status, "detail": f.detail, "remedy": f.remedy}
}

func worst(findings []finding) string {
	status := statusOK
	for _, f := range findings {
		status = slices.MaxFunc([]string{status, f.status}, func(a, b string) int {
			return cmp.Compare(slices.Index(severity, a), slices.Index(severity, b))
		})
	}
	return status
}

// lookupFailed is for what an error kept from being looked at: a failure only
// where AWS said that it is not there, or refused it as it stands.
func lookupFailed(name string, err error, remedy string) finding {
	if action := cognito.DeniedAction(err); action != "" {
		return unknown(name, err.Error(), fmt.Sprintf("Allow %s to the engine's identity.", action))
	}
	switch cognito.KindOf(err) {
	case cognito.KindInvalid, cognito.KindNotFound:
		return failed(name, err.Error(), remedy)
	default:
		return unknown(name, err.Error(), "Try again later.")
	}
}

// skipped is for what makes no sense to look at before another finding is
// mended.
func skipped(name, because string) finding {
	return unknown(name, fmt.Sprintf("Not looked at: see %s.", because), "")
}
