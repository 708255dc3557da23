package lint

import (
	"go/ast"
	"slices"
	"strings"
)

// program is the folders that are not for tests.
var program = []string{"cmd", "fetch", "ingest", "metadata", "tiering"}

// forOthers are methods that the standard library or a dependency calls.
var forOthers = []string{
	"Error", "GetVersion", "Is", "Len", "Less", "MarshalJSON", "Pop", "Push", "RequestKind", "RoundTrip", "ServeHTTP", "Set", "String", "Swap", "Type",
	"UnmarshalYAML", "Unwrap",
}

// forTests are functions of a package that tests of others need.
var forTests = map[string]bool{
	"tiering/journal.NewHistory": true, // only the package can make one
	"tiering/segment.Build":      true, // objects of tests lie in memory of the garbage collector
}

// awaited are packages whose callers are not all there yet. It is empty when a piece of
// work is complete.
var awaited = []string{"metadata", "metadata/membership", "metadata/peer", "metadata/scram"}

// exports finds functions and methods of the program that only tests name: they are
// dead, or need not be exported. It goes by names alone, so it misses some.
func exports(t *tree) (findings []Finding) {
	named, imported := map[string]bool{}, map[string]bool{}
	for f := range t.source {
		if f.test() || !slices.Contains(program, f.layer()) {
			continue
		}
		for _, spec := range f.ast.Imports {
			imported[strings.TrimPrefix(importPath(spec), module)] = true
		}
		mentions(f.ast, named)
	}
	for f := range t.source {
		if f.test() || !slices.Contains(program, f.layer()) || !imported[f.folder()] || slices.Contains(awaited, f.folder()) { // of tests, or a command
			continue
		}
		for _, decl := range f.ast.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok || !fn.Name.IsExported() || named[fn.Name.Name] || forTests[f.folder()+"."+fn.Name.Name] || fn.Recv != nil && !ofOurs(fn) {
				continue
			}
			findings = append(findings, Finding{Path: f.path, Line: t.line(fn.Pos()), What: "only tests name " + fn.Name.Name,
				Remedy: "delete it, give it a small letter, or write it in the tests"})
		}
	}
	return findings
}

// ofOurs reports whether a method is called by us: that of an unexported type is there
// for an interface.
func ofOurs(fn *ast.FuncDecl) bool {
	name := receiver(fn.Recv.List[0].Type)
	return ast.IsExported(name) && !slices.Contains(forOthers, fn.Name.Name)
}

// mentions adds the names that a file uses. The name of a function where it is
// declared is no use of it.
func mentions(f *ast.File, named map[string]bool) {
	declared := map[*ast.Ident]bool{}
	for _, decl := range f.Decls {
		if fn, ok := decl.(*ast.FuncDecl); ok {
			declared[fn.Name] = true
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok && !declared[id] {
			named[id.Name] = true
		}
		return true
	})
}
