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

// documents are those that people read in the repository.
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

// anchorsOf are the places in a document that links can point at, as GitHub
// names them: a heading that comes again gets a number.
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

// TestDocumentLinks follows every link within the repository, with its anchor.
func TestDocumentLinks(t *testing.T) {
	for _, path := range documents(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			prose := codeSpan.ReplaceAllString(codeBlock.ReplaceAllString(readDocument(t, path), ""), "")
			for _, link := range markdownLink.FindAllStringSubmatch(prose, -1) {
				if strings.Contains(link[1], "://") {
					require.Regexp(t, "^https://", link[1])
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

// variable stands in documents for the part of a text that differs.
const variable = "…"

// verb is one of fmt's.
var verb = regexp.MustCompile(`%(\[\d+\])?[a-z]`)

// source are the texts that the plugin can say, with … for their variable
// parts.
type source struct {
	// all are all string constants.
	all []string
	// told are those that operators meet: refusals, warnings and log lines.
	told map[string]token.Position
}

// tellers are the functions whose text an operator meets, with the argument
// that holds it.
var tellers = map[string]int{"badRequest": 0, "AddWarning": 0, "Warn": 0, "Error": 0}

// advisers are functions that answer nothing but texts for operators.
var advisers = map[string]bool{"explain": true, "explainSilence": true, "adviceOn": true, "adviceOnChallenge": true}

// plugin is where the plugin's own texts are, and emulated where Cognito's.
var (
	plugin   = []string{"*.go", "../internal/cognito/*.go"}
	emulated = []string{"../internal/cognito/*.go", "../internal/emulator/*.go"}
)

func readSource(t *testing.T, patterns []string) *source {
	t.Helper()
	s := &source{told: map[string]token.Position{}}
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
			s.tell(positions, node.Value)
		}
	case *ast.CallExpr:
		s.readCall(positions, node)
	case *ast.FuncDecl:
		if advisers[node.Name.Name] {
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
				s.tell(positions, result)
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
	if at, tells := tellers[name]; tells && len(call.Args) > at {
		s.tell(positions, call.Args[at])
	}
}

// readStep puts together what Pool.step makes of its arguments.
func (s *source) readStep(name string, call *ast.CallExpr) {
	if len(call.Args) == 0 {
		return
	}
	if doing, ok := constant(call.Args[0]); ok {
		what := map[string]string{"step": "", "clientStep": "app client "}[name]
		s.all = append(s.all, doing+" "+what+`"…" in user pool "…"`)
	}
}

// tell takes the text of an expression, which Sprintf or what is added to it
// may extend.
func (s *source) tell(positions *token.FileSet, expr ast.Expr) {
	switch expr := expr.(type) {
	case *ast.CallExpr:
		if len(expr.Args) > 0 {
			s.tell(positions, expr.Args[0])
		}
	case *ast.BinaryExpr:
		if text, ok := constant(expr); ok {
			s.told[text] = positions.Position(expr.Pos())
			return
		}
		s.tell(positions, expr.X)
	default:
		if text, ok := constant(expr); ok {
			s.told[text] = positions.Position(expr.Pos())
		}
	}
}

// constant is the text of a string or of several that are added up.
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

// matcher finds a documented text, in which … stands for anything, in one of
// the source.
func matcher(documented string) *regexp.Regexp {
	parts := strings.Split(documented, variable)
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return regexp.MustCompile(strings.Join(parts, ".*"))
}

// says reports whether the plugin can say a text. A colon may join what comes
// from several places: what was being done, AWS's code, and the rest.
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

// ofCognito are the texts in troubleshooting.md that are not the plugin's.
const ofCognito = "troubleshooting.md, of Cognito"

// quotedTexts are the texts that a document quotes: code in headings of
// troubleshooting.md and in lists below them that hold nothing else, and in
// the tables of errors of api.md.
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

// TestQuotedTexts sees to it that the plugin still says what the documents
// quote, and Cognito, as the emulator has it.
func TestQuotedTexts(t *testing.T) {
	quoted := quotedTexts(t)
	require.Len(t, quoted, 3)
	for document, texts := range quoted {
		s := readSource(t, plugin)
		if document == ofCognito {
			s = readSource(t, emulated)
		}
		for _, text := range texts {
			require.Greater(t, len(strings.ReplaceAll(text, variable, "")), 8, "%q in docs/%s would match anything", text, document)
			require.True(t, s.says(text), "docs/%s quotes %q, which nobody says", document, text)
		}
	}
}

// TestTroubleshootingIsComplete sees to it that who meets a refusal, a warning
// or a line in the log finds it in the document.
func TestTroubleshootingIsComplete(t *testing.T) {
	quoted := quotedTexts(t)["troubleshooting.md"]
	for text, position := range readSource(t, plugin).told {
		found := false
		for _, documented := range quoted {
			found = found || matcher(documented).MatchString(text)
		}
		require.True(t, found, "docs/troubleshooting.md does not quote %q, which %s says", text, position)
	}
}
