package lint

import (
	"fmt"
	"go/ast"
	"strings"
)

func functions(f *ast.File) (list []*ast.FuncDecl) {
	for _, declaration := range f.Decls {
		if function, ok := declaration.(*ast.FuncDecl); ok {
			list = append(list, function)
		}
	}
	return list
}

// packageDocs wants exactly one doc comment of every package, in one of its
// files that are not _test.go, as godoc shows it.
func packageDocs(t *tree) (findings []Finding) {
	documented := make(map[string]string) // folder to the path of the file with the comment
	for f := range t.source {
		findings = append(findings, detachedDocs(t, f)...)
		if f.ast.Doc == nil {
			continue
		}
		line := t.line(f.ast.Doc.Pos())
		first, isTest := documented[f.folder()], strings.HasSuffix(f.path, "_test.go")
		switch {
		case isTest:
			findings = append(findings, Finding{Path: f.path, Line: line, What: "package comment in a test file",
				Remedy: "put an empty line below it, or move it to the package's doc comment"})
		case first != "":
			findings = append(findings, Finding{Path: f.path, Line: line, What: "second package comment, after that of " + first,
				Remedy: "make them one, or put an empty line below this one"})
		default:
			documented[f.folder()] = f.path
			findings = append(findings, docWords(t, f)...)
		}
	}
	missing := make(map[string]bool)
	for f := range t.source {
		folder := f.folder()
		if documented[folder] == "" && !missing[folder] && !strings.HasSuffix(f.path, "_test.go") {
			missing[folder] = true
			findings = append(findings, Finding{Path: folder, What: "package without a doc comment",
				Remedy: "say above one package clause what it owns, what it promises and what it never does"})
		}
	}
	return findings
}

// docWords wants the opening that godoc expects.
func docWords(t *tree, f file) []Finding {
	want := "Package " + f.ast.Name.Name + " "
	if f.ast.Name.Name == "main" {
		want = "Command "
	}
	if strings.HasPrefix(f.ast.Doc.Text(), want) {
		return nil
	}
	return []Finding{{Path: f.path, Line: t.line(f.ast.Doc.Pos()), What: "package comment of unusual opening",
		Remedy: fmt.Sprintf("begin it with %q", want)}}
}

// detachedDocs finds package comments that an empty line keeps from godoc.
func detachedDocs(t *tree, f file) (findings []Finding) {
	for _, comment := range f.ast.Comments {
		if comment.Pos() > f.ast.Package {
			break
		}
		if comment != f.ast.Doc && strings.HasPrefix(comment.Text(), "Package "+f.ast.Name.Name+" ") {
			findings = append(findings, Finding{Path: f.path, Line: t.line(comment.Pos()),
				What: "package comment apart from its package clause", Remedy: "delete the empty line between them"})
		}
	}
	return findings
}
