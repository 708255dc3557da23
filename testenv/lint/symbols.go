package lint

import (
	"go/ast"
	"path"
	"regexp"
	"slices"
	"strings"
)

// symbols wants the names of code that documents have in backticks to be there:
// `pkg.Symbol`, `pkg.Type.Member`, `Type.Member`, and names of tests. README.md is
// left out: it speaks to users, of Kafka's settings, some of which look the same.
func symbols(t *tree) (findings []Finding) {
	names := namesOf(t)
	for _, f := range t.files {
		if path.Ext(f.path) != ".md" || f.path == "README.md" {
			continue
		}
		fenced := false
		for i, line := range strings.Split(string(f.text), "\n") {
			if strings.HasPrefix(line, "```") {
				fenced = !fenced
			}
			if fenced {
				continue
			}
			for _, match := range quoted.FindAllStringSubmatch(line, -1) {
				if !names.has(strings.TrimSuffix(match[1], "()")) {
					findings = append(findings, Finding{Path: f.path, Line: i + 1, What: "names the symbol " + match[1] + ", which is not there",
						Remedy: "give it as package.Type.Member, as the code has it"})
				}
			}
		}
	}
	return findings
}

var (
	quoted = regexp.MustCompile("`([^`]+)`")
	dotted = regexp.MustCompile(`^[A-Za-z]\w*(?:\.[A-Za-z]\w*){1,2}$`)
	tested = regexp.MustCompile(`^(?:Test|Benchmark|Fuzz)[A-Z]\w*$`)
)

// fileEndings are those of names with a dot that are files, not symbols.
var fileEndings = []string{"go", "md", "sh", "json", "yaml", "service"}

// codeNames is the names that the tree declares and imports.
type codeNames struct {
	packages map[string]bool // by name
	foreign  map[string]bool // last part of the path of an import
	declared map[string]bool // "pkg.Symbol", "pkg.Type.Member", "Type.Member", and functions alone
	types    map[string]bool // whatever package they are in
}

func namesOf(t *tree) *codeNames {
	n := &codeNames{packages: map[string]bool{}, foreign: map[string]bool{}, declared: map[string]bool{}, types: map[string]bool{}}
	for f := range t.source {
		pkg := strings.TrimSuffix(f.ast.Name.Name, "_test")
		n.packages[pkg] = true
		for _, spec := range f.ast.Imports {
			n.foreign[path.Base(importPath(spec))] = true
		}
		for _, declaration := range f.ast.Decls {
			n.declare(pkg, declaration)
		}
	}
	return n
}

func (n *codeNames) declare(pkg string, declaration ast.Decl) {
	switch d := declaration.(type) {
	case *ast.FuncDecl:
		if d.Recv != nil {
			n.member(pkg, receiver(d.Recv.List[0].Type), d.Name.Name)
			return
		}
		n.declared[d.Name.Name] = true
		n.declared[pkg+"."+d.Name.Name] = true
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch s := spec.(type) {
			case *ast.ValueSpec:
				for _, name := range s.Names {
					n.declared[pkg+"."+name.Name] = true
				}
			case *ast.TypeSpec:
				n.declared[pkg+"."+s.Name.Name] = true
				n.types[s.Name.Name] = true
				n.members(pkg, s)
			}
		}
	}
}

// members declares the fields of a struct, or the methods of an interface.
func (n *codeNames) members(pkg string, s *ast.TypeSpec) {
	var list *ast.FieldList
	switch x := s.Type.(type) {
	case *ast.StructType:
		list = x.Fields
	case *ast.InterfaceType:
		list = x.Methods
	default:
		return
	}
	for _, field := range list.List {
		for _, name := range field.Names {
			n.member(pkg, s.Name.Name, name.Name)
		}
	}
}

func (n *codeNames) member(pkg, typ, name string) {
	n.declared[pkg+"."+typ+"."+name] = true
	n.declared[typ+"."+name] = true
}

// receiver is the name of a method's type.
func receiver(x ast.Expr) string {
	switch x := x.(type) {
	case *ast.StarExpr:
		return receiver(x.X)
	case *ast.IndexExpr:
		return receiver(x.X)
	case *ast.IndexListExpr:
		return receiver(x.X)
	case *ast.Ident:
		return x.Name
	}
	return ""
}

// has reports whether text is no name of code, or one that is there. Names of
// other modules are not looked at.
func (n *codeNames) has(text string) bool {
	if tested.MatchString(text) {
		return n.declared[text]
	}
	if !dotted.MatchString(text) {
		return true
	}
	first, _, _ := strings.Cut(text, ".")
	last := text[strings.LastIndex(text, ".")+1:]
	switch {
	case n.declared[text], slices.Contains(fileEndings, last):
		return true
	case n.packages[first], n.types[first]:
		return false
	}
	return n.foreign[first]
}
