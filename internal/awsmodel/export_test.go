// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package awsmodel

// Matches reports whether a text matches the pattern of a shape.
func Matches(shape *Shape, text string) bool { return compiled(shape.Pattern).MatchString(text) }
