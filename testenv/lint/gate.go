package lint

import (
	"go/ast"
	"path"
	"slices"
)

// front is the package of the handlers, and gateFile its one file that finds topics.
const (
	front    = "cmd/internal/kafka"
	gateFile = "gate.go"
)

// lookUps are the methods that find topics without asking what a client may do.
var lookUps = []string{"Topic", "TopicByID", "Topics"}

// gates finds handlers that find topics around the gate.
func gates(t *tree) (findings []Finding) {
	for f := range t.source {
		if path.Dir(f.path) != front || path.Base(f.path) == gateFile || f.test() {
			continue
		}
		ast.Inspect(f.ast, func(node ast.Node) bool {
			call, ok := node.(*ast.CallExpr)
			if !ok {
				return true
			}
			if method, ok := call.Fun.(*ast.SelectorExpr); ok && slices.Contains(lookUps, method.Sel.Name) {
				findings = append(findings, Finding{Path: f.path, Line: t.line(call.Pos()), What: "finds topics with " + method.Sel.Name,
					Remedy: "name the client and the operation to the gate (" + front + "/" + gateFile + ")"})
			}
			return true
		})
	}
	return findings
}
