// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// builtIn has an empty object of each kind of Kubernetes itself that the examples use.
var builtIn = map[string]func() any{
	"apps/v1 Deployment": func() any { return new(appsv1.Deployment) },
	"batch/v1 Job":       func() any { return new(batchv1.Job) },
	"v1 Pod":             func() any { return new(corev1.Pod) },
	"v1 ServiceAccount":  func() any { return new(corev1.ServiceAccount) },
}

func isBuiltIn(h head) bool { return builtIn[h.APIVersion+" "+h.Kind] != nil }

// checkBuiltIn decodes an object strictly, and checks its annotations for the Agent Injector.
func checkBuiltIn(h head, document []byte) error {
	object := builtIn[h.APIVersion+" "+h.Kind]()
	if err := yaml.UnmarshalStrict(document, object); err != nil {
		return err
	}
	if pod := podOf(object); pod != nil {
		return checkInjection(pod)
	}
	return nil
}
