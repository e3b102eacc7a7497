// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// documents returns the Markdown files of the repository.
func documents(t *testing.T) []string {
	t.Helper()
	documents, err := filepath.Glob("../docs/*.md")
	require.NoError(t, err)
	require.NotEmpty(t, documents)
	return append(documents, "../README.md", "../CHANGELOG.md")
}

func readDocument(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(text)
}

var (
	codeBlock    = regexp.MustCompile("(?ms)^```.*?^```$")
	codeSpan     = regexp.MustCompile("`([^`\n]+)`")
	markdownLink = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	headingLine  = regexp.MustCompile(`(?m)^#{1,6} (.+)$`)
	notInAnchor  = regexp.MustCompile(`[^\p{L}\p{N}_\- ]`)
)

// anchorsOf returns the anchors of a document as GitHub names them: a repeated heading gets a
// number.
func anchorsOf(document string) map[string]bool {
	anchors := map[string]bool{}
	for _, heading := range headingLine.FindAllStringSubmatch(codeBlock.ReplaceAllString(document, ""), -1) {
		text := markdownLink.ReplaceAllString(heading[1], "")
		name := strings.ReplaceAll(notInAnchor.ReplaceAllString(strings.ToLower(text), ""), " ", "-")
		anchor := name
		for n := 1; anchors[anchor]; n++ {
			anchor = fmt.Sprintf("%s-%d", name, n)
		}
		anchors[anchor] = true
	}
	return anchors
}

// hostPage matches links to pages of the repository's host, which stand beside the files: from
// blob/main they are two levels up.
var hostPage = regexp.MustCompile(`^(\.\./)+(actions|releases|issues|security)(/|$)`)

// TestDocumentLinks follows every link within the repository, including its anchor.
func TestDocumentLinks(t *testing.T) {
	for _, path := range documents(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			prose := codeSpan.ReplaceAllString(codeBlock.ReplaceAllString(readDocument(t, path), ""), "")
			for _, link := range markdownLink.FindAllStringSubmatch(prose, -1) {
				if strings.Contains(link[1], "://") {
					require.Regexp(t, "^https://", link[1])
					continue
				}
				if hostPage.MatchString(link[1]) {
					continue
				}
				requireTarget(t, path, link[1])
			}
		})
	}
}

func requireTarget(t *testing.T, from, link string) {
	t.Helper()
	file, anchor, _ := strings.Cut(link, "#")
	target := from
	if file != "" {
		target = filepath.Join(filepath.Dir(from), file)
	}
	_, err := os.Stat(target)
	require.NoError(t, err, "the link %q", link)
	if anchor != "" {
		require.Contains(t, anchorsOf(readDocument(t, target)), anchor, "the link %q", link)
	}
}

// variable replaces the variable parts of a text in documents.
const variable = "…"

// verb matches a verb of fmt.
var verb = regexp.MustCompile(`%(\[\d+\])?[a-z]`)

// source holds the texts that the plugin can return or log, with … for their variable parts.
type source struct {
	// all are all string constants.
	all []string
	// texts are those that operators meet: refusals, warnings and log lines.
	texts map[string]token.Position
}

// messageFuncs are the functions whose text an operator sees, with the index of the argument.
var messageFuncs = map[string]int{"badRequest": 0, "AddWarning": 0, "Warn": 0, "Error": 0}

// textFuncs are the functions that return only texts for operators.
var textFuncs = map[string]bool{"explain": true, "explainSilence": true, "adviceOn": true, "adviceOnChallenge": true}

// plugin holds the directories with the plugin's own texts, and emulated those with Cognito's.
var (
	plugin   = []string{"*.go", "../internal/cognito/*.go"}
	emulated = []string{"../internal/cognito/*.go", "../internal/emulator/*.go"}
)

func readSource(t *testing.T, patterns []string) *source {
	t.Helper()
	s := &source{texts: map[string]token.Position{}}
	for _, pattern := range patterns {
		files, err := filepath.Glob(pattern)
		require.NoError(t, err)
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			positions := token.NewFileSet()
			parsed, err := parser.ParseFile(positions, file, nil, 0)
			require.NoError(t, err)
			ast.Inspect(parsed, func(node ast.Node) bool {
				s.Read(positions, node)
				return true
			})
		}
	}
	return s
}

func (s *source) Read(positions *token.FileSet, node ast.Node) {
	switch node := node.(type) {
	case *ast.KeyValueExpr:
		if key, ok := node.Key.(*ast.Ident); ok && key.Name == "Detail" {
			s.addText(positions, node.Value)
		}
	case *ast.CallExpr:
		s.readCall(positions, node)
	case *ast.FuncDecl:
		if textFuncs[node.Name.Name] {
			s.readReturns(positions, node)
		}
	case ast.Expr:
		if text, ok := constant(node); ok {
			s.all = append(s.all, text)
		}
	}
}

func (s *source) readReturns(positions *token.FileSet, function *ast.FuncDecl) {
	ast.Inspect(function, func(node ast.Node) bool {
		if answer, ok := node.(*ast.ReturnStmt); ok {
			for _, result := range answer.Results {
				s.addText(positions, result)
			}
		}
		return true
	})
}

func (s *source) readCall(positions *token.FileSet, call *ast.CallExpr) {
	name := ""
	switch function := call.Fun.(type) {
	case *ast.Ident:
		name = function.Name
	case *ast.SelectorExpr:
		name = function.Sel.Name
	}
	if name == "step" || name == "clientStep" {
		s.readStep(name, call)
	}
	if at, tells := messageFuncs[name]; tells && len(call.Args) > at {
		s.addText(positions, call.Args[at])
	}
}

// readStep returns the text that Pool.step builds from its arguments.
func (s *source) readStep(name string, call *ast.CallExpr) {
	if len(call.Args) == 0 {
		return
	}
	if doing, ok := constant(call.Args[0]); ok {
		what := map[string]string{"step": "", "clientStep": "app client "}[name]
		s.all = append(s.all, doing+" "+what+`"…" in user pool "…"`)
	}
}

// addText adds the text of an expression, which may be a call of Sprintf or a concatenation.
func (s *source) addText(positions *token.FileSet, expr ast.Expr) {
	switch expr := expr.(type) {
	case *ast.CallExpr:
		if len(expr.Args) > 0 {
			s.addText(positions, expr.Args[0])
		}
	case *ast.BinaryExpr:
		if text, ok := constant(expr); ok {
			s.texts[text] = positions.Position(expr.Pos())
			return
		}
		s.addText(positions, expr.X)
	default:
		if text, ok := constant(expr); ok {
			s.texts[text] = positions.Position(expr.Pos())
		}
	}
}

// constant returns the text of a string literal or of a concatenation.
func constant(expr ast.Expr) (string, bool) {
	switch expr := expr.(type) {
	case *ast.BasicLit:
		text, err := strconv.Unquote(expr.Value)
		return withVariables(text), expr.Kind == token.STRING && err == nil
	case *ast.BinaryExpr:
		left, ok := constant(expr.X)
		right, too := constant(expr.Y)
		return left + right, ok && too && expr.Op == token.ADD
	default:
		return "", false
	}
}

func withVariables(format string) string {
	return verb.ReplaceAllStringFunc(format, func(found string) string {
		if strings.HasSuffix(found, "q") {
			return `"` + variable + `"`
		}
		return variable
	})
}

// matcher returns a pattern for a documented text, in which … stands for anything.
func matcher(documented string) *regexp.Regexp {
	parts := strings.Split(documented, variable)
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return regexp.MustCompile(strings.Join(parts, ".*"))
}

// says reports whether the source holds a text. A colon may join parts from several places: what
// was being done, the code of AWS, and the rest.
func (s *source) says(documented string) bool {
	if s.saysOne(documented) {
		return true
	}
	for _, part := range strings.Split(documented, ": ") {
		if strings.Trim(part, variable+" ") != "" && !s.saysOne(part) {
			return false
		}
	}
	return true
}

func (s *source) saysOne(documented string) bool {
	pattern := matcher(documented)
	for _, text := range s.all {
		if pattern.MatchString(text) {
			return true
		}
	}
	return false
}

// ofCognito is the key of the texts in troubleshooting.md that come from Cognito.
const ofCognito = "troubleshooting.md, of Cognito"

// quotedTexts returns the texts that the documents quote: code in headings of troubleshooting.md,
// in lists below them that hold nothing else, and in the error tables of api.md.
func quotedTexts(t *testing.T) map[string][]string {
	t.Helper()
	quoted := map[string][]string{}
	for line := range strings.Lines(codeBlock.ReplaceAllString(readDocument(t, "../docs/troubleshooting.md"), "")) {
		switch {
		case strings.HasPrefix(line, "### `"), strings.HasPrefix(line, "- `") && strings.HasSuffix(line, "`\n"):
			quoted["troubleshooting.md"] = append(quoted["troubleshooting.md"], spansOf(line)...)
		case strings.HasPrefix(line, "#### `"):
			quoted[ofCognito] = append(quoted[ofCognito], spansOf(line)...)
		}
	}
	for line := range strings.Lines(readDocument(t, "../docs/api.md")) {
		cells := strings.Split(line, " | ")
		if regexp.MustCompile(`^\| (\d{3}.*|any|warning)$`).MatchString(cells[0]) && len(cells) == 3 {
			quoted["api.md"] = append(quoted["api.md"], spansOf(cells[1])...)
		}
	}
	return quoted
}

func spansOf(line string) []string {
	var spans []string
	for _, span := range codeSpan.FindAllStringSubmatch(line, -1) {
		spans = append(spans, span[1])
	}
	return spans
}

// TestQuotedTexts requires that every text in the documents exists in the plugin or, for Cognito,
// in the emulator.
func TestQuotedTexts(t *testing.T) {
	quoted := quotedTexts(t)
	require.Len(t, quoted, 3)
	for document, texts := range quoted {
		s := readSource(t, plugin)
		if document == ofCognito {
			s = readSource(t, emulated)
		}
		for _, text := range texts {
			require.Greater(t, len(strings.ReplaceAll(text, variable, "")), 8, "%q in docs/%s matches any text", text, document)
			require.True(t, s.says(text), "docs/%s quotes %q, which is not in the source", document, text)
		}
	}
}

// TestTroubleshootingIsComplete requires that the document quotes every refusal, warning and log
// line.
func TestTroubleshootingIsComplete(t *testing.T) {
	quoted := quotedTexts(t)["troubleshooting.md"]
	for text, position := range readSource(t, plugin).texts {
		found := false
		for _, documented := range quoted {
			found = found || matcher(documented).MatchString(text)
		}
		require.True(t, found, "docs/troubleshooting.md does not quote %q, which %s says", text, position)
	}
}
