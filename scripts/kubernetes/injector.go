// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/vault-k8s/agent-inject/agent"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
)

// injectorModule has the package that this program is built with.
const injectorModule = "github.com/hashicorp/vault-k8s"

// annotationPrefix begins all annotations of the injector. It ignores those that it does not know.
const annotationPrefix = "vault.hashicorp.com/"

// named lists the annotations that a name of the user's follows.
var named = []string{
	agent.AnnotationAgentInjectSecret, agent.AnnotationAgentInjectFile, agent.AnnotationAgentInjectFilePermission,
	agent.AnnotationAgentInjectTemplate, agent.AnnotationAgentInjectTemplateFile, agent.AnnotationAgentInjectTemplateLeftDelim,
	agent.AnnotationAgentInjectTemplateRightDelim, agent.AnnotationAgentInjectCommand, agent.AnnotationErrorOnMissingKey,
	agent.AnnotationVaultAuthConfig, agent.AnnotationAgentTelemetryConfig,
}

// both lists the annotations that hold for all secrets, or for one if its name follows.
var both = []string{agent.AnnotationVaultSecretVolumePath, agent.AnnotationPreserveSecretCase}

// injectorSource returns the module as this program was built with it.
func injectorSource() (source, error) {
	info, _ := debug.ReadBuildInfo()
	for _, dep := range info.Deps {
		if dep.Path == injectorModule {
			return source{module: dep.Path + "@" + dep.Version, sum: dep.Sum, files: "agent-inject/agent/annotations.go"}, nil
		}
	}
	return source{}, errors.New("this program was built without " + injectorModule)
}

// loadAnnotations returns the annotations that the injector's source declares.
func loadAnnotations() ([]string, error) {
	injector, err := injectorSource()
	if err != nil {
		return nil, err
	}
	dir, err := injector.download()
	if err != nil {
		return nil, err
	}
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(dir, injector.files), nil, 0)
	if err != nil {
		return nil, err
	}
	var annotations []string
	ast.Inspect(file, func(node ast.Node) bool {
		if literal, ok := node.(*ast.BasicLit); ok && literal.Kind == token.STRING {
			if text, err := strconv.Unquote(literal.Value); err == nil && strings.HasPrefix(text, annotationPrefix) {
				annotations = append(annotations, text)
			}
		}
		return true
	})
	return annotations, nil
}

// podOf returns the pod that an object is or creates, or nil.
func podOf(object any) *corev1.Pod {
	template := func(t corev1.PodTemplateSpec) *corev1.Pod { return &corev1.Pod{ObjectMeta: t.ObjectMeta, Spec: t.Spec} }
	switch o := object.(type) {
	case *appsv1.Deployment:
		return template(o.Spec.Template)
	case *batchv1.Job:
		return template(o.Spec.Template)
	case *corev1.Pod:
		return o
	default:
		return nil
	}
}

// checkInjection checks the names of a pod's annotations, and lets the injector read their values.
func checkInjection(pod *corev1.Pod) error {
	forInjector := slices.DeleteFunc(slices.Sorted(maps.Keys(pod.Annotations)), func(annotation string) bool {
		return !strings.HasPrefix(annotation, annotationPrefix)
	})
	if len(forInjector) == 0 {
		return nil
	}
	known, err := loadAnnotations()
	if err != nil {
		return err
	}
	for _, annotation := range forInjector {
		if !isKnown(annotation, known) {
			return fmt.Errorf("the Agent Injector has no annotation %s", annotation)
		}
	}
	return inject(pod)
}

func isKnown(annotation string, known []string) bool {
	follows := func(prefix string) bool {
		name, ok := strings.CutPrefix(annotation, prefix+"-")
		return ok && name != ""
	}
	if slices.Contains(known, annotation) && !slices.Contains(named, annotation) {
		return true
	}
	return slices.ContainsFunc(slices.Concat(named, both), follows)
}

// inject does what the injector does with a pod that the API server sends to it. The API server
// adds the volume with the token of the service account.
func inject(pod *corev1.Pod) error {
	if wanted, err := agent.ShouldInject(pod); err != nil || !wanted {
		return errors.Join(err, fmt.Errorf("%s is not true, so the Agent Injector ignores the pod", agent.AnnotationAgentInject))
	}
	mount := corev1.VolumeMount{Name: "token", MountPath: "/var/run/secrets/kubernetes.io/serviceaccount"}
	for i := range pod.Spec.Containers {
		pod.Spec.Containers[i].VolumeMounts = append(pod.Spec.Containers[i].VolumeMounts, mount)
	}
	settings := agent.AgentConfig{
		Address: "https://vault.example.com", AuthPath: agent.DefaultVaultAuthPath, Namespace: "default", DefaultTemplate: agent.DefaultTemplateType,
	}
	if err := agent.Init(pod, settings); err != nil {
		return err
	}
	injected, err := agent.New(pod)
	if err != nil {
		return err
	}
	if err := injected.Validate(); err != nil {
		return err
	}
	_, err = injected.Patch()
	return err
}
