package lint

import (
	"go/ast"
	"path"
	"slices"
	"strings"
)

// library is the folders whose code does not own the process.
var library = []string{"fetch", "ingest", "metadata", "tiering"}

// ban is a call that library code must not make, or the code in one folder. A name
// that ends in * stands for all that begin so.
type ban struct{ pkg, name, remedy, folder string }

var bans = []ban{
	{"os", "Exit", "return an error: cmd alone ends the process", ""},
	{"log", "Fatal*", "return an error: cmd alone ends the process", ""},
	{"log", "Panic*", "return an error: cmd alone ends the process", ""},
	{"os/signal", "*", "take a context: cmd alone handles signals", ""},
	{"time", "Sleep", "wait in a select with the context's Done, on a timer or on what is waited for", ""},
	{module + "tiering/segment", "JournalKey", "ask the extent for its object: records may lie elsewhere than in a journal's objects", "fetch"},
	{module + "tiering/segment", "IndexKey", "ask the page for its object", "fetch"},
}

func (b ban) matches(folder, pkg, name string) bool {
	prefix, all := strings.CutSuffix(b.name, "*")
	return b.pkg == pkg && (b.folder == "" || b.folder == folder) && (name == prefix || all && strings.HasPrefix(name, prefix))
}

// calls finds the banned ones in library code. A mention is as good as a call:
// a function value would be called elsewhere.
func calls(t *tree) (findings []Finding) {
	for f := range t.source {
		if !slices.Contains(library, f.layer()) || f.test() {
			continue
		}
		names := importNames(f.ast)
		ast.Inspect(f.ast, func(node ast.Node) bool {
			selector, ok := node.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			identifier, ok := selector.X.(*ast.Ident)
			if !ok {
				return true
			}
			for _, b := range bans {
				if b.matches(f.folder(), names[identifier.Name], selector.Sel.Name) {
					findings = append(findings, Finding{Path: f.path, Line: t.line(selector.Pos()),
						What: "library code uses " + identifier.Name + "." + selector.Sel.Name, Remedy: b.remedy})
				}
			}
			return true
		})
	}
	return findings
}

// importNames returns the import paths by the names they have in the file.
func importNames(f *ast.File) map[string]string {
	names := make(map[string]string)
	for _, spec := range f.Imports {
		target := importPath(spec)
		name := path.Base(target)
		if spec.Name != nil {
			name = spec.Name.Name
		}
		names[name] = target
	}
	return names
}
