package mutants

import (
	"errors"
	"fmt"
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
)

// A source is the syntax of one package's folder, without its tests.
type source struct {
	fset  *token.FileSet
	funcs map[string]*function // by "Type.method" or "function"
}

type sourceFile struct {
	path string // from the root of the repository
	text string
	tree *ast.File
}

type function struct {
	file *sourceFile
	decl *ast.FuncDecl
}

var sources sync.Map // of folders: func() (*source, error)

// load parses the package in a folder, once.
func load(dir string) (*source, error) {
	once, _ := sources.LoadOrStore(dir, sync.OnceValues(func() (*source, error) { return parseFolder(dir) }))
	return once.(func() (*source, error))()
}

func parseFolder(dir string) (*source, error) {
	pkg, err := build.ImportDir(filepath.Join(root, dir), 0)
	if err != nil {
		return nil, err
	}
	s := &source{fset: token.NewFileSet(), funcs: map[string]*function{}}
	for _, name := range pkg.GoFiles {
		text, err := os.ReadFile(filepath.Join(root, dir, name))
		if err != nil {
			return nil, err
		}
		tree, err := parser.ParseFile(s.fset, dir+"/"+name, text, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		s.add(&sourceFile{path: dir + "/" + name, text: string(text), tree: tree})
	}
	return s, nil
}

func (s *source) add(f *sourceFile) {
	for _, d := range f.tree.Decls {
		if d, ok := d.(*ast.FuncDecl); ok && d.Body != nil {
			s.funcs[nameOf(d)] = &function{f, d}
		}
	}
}

// nameOf returns "Type.method" or "function".
func nameOf(d *ast.FuncDecl) string {
	if d.Recv == nil {
		return d.Name.Name
	}
	t := d.Recv.List[0].Type
	for {
		switch inner := t.(type) {
		case *ast.StarExpr:
			t = inner.X
		case *ast.IndexExpr:
			t = inner.X
		case *ast.IndexListExpr:
			t = inner.X
		case *ast.Ident:
			return inner.Name + "." + d.Name.Name
		default:
			return d.Name.Name
		}
	}
}

// span is a stretch of a file's text: the nodes of a place.
type span struct{ from, to token.Pos }

// find returns the places of f where the fragment stands, below a condition if
// under names one.
func (f *function) find(what fragment, under ast.Expr) (found []span) {
	var above []ast.Node
	ast.Inspect(f.decl.Body, func(n ast.Node) bool {
		if n == nil {
			above = above[:len(above)-1]
			return false
		}
		if under == nil || isUnder(above, under) {
			found = append(found, what.matches(n)...)
		}
		above = append(above, n)
		return true
	})
	return found
}

// isUnder reports whether one of the nodes depends on the condition: as an if, a
// for, a switch or a case of one.
func isUnder(above []ast.Node, condition ast.Expr) bool {
	for _, n := range above {
		var heads []ast.Expr
		switch n := n.(type) {
		case *ast.IfStmt:
			heads = []ast.Expr{n.Cond}
		case *ast.ForStmt:
			heads = []ast.Expr{n.Cond}
		case *ast.RangeStmt:
			heads = []ast.Expr{n.X}
		case *ast.SwitchStmt:
			heads = []ast.Expr{n.Tag}
		case *ast.CaseClause:
			heads = n.List
		}
		for _, head := range heads {
			if head != nil && same(reflect.ValueOf(head), reflect.ValueOf(condition)) {
				return true
			}
		}
	}
	return false
}

// A fragment is an expression, or statements that follow each other.
type fragment struct {
	expr  ast.Expr
	stmts []ast.Stmt
}

func parseFragment(text string) (fragment, error) {
	if expr, err := parser.ParseExpr(text); err == nil {
		return fragment{expr: expr}, nil
	}
	f, err := parser.ParseFile(token.NewFileSet(), "", "package p\nfunc _() {\n"+text+"\n}", parser.SkipObjectResolution)
	if err != nil {
		return fragment{}, fmt.Errorf("neither an expression nor statements: %w", err)
	}
	stmts := f.Decls[0].(*ast.FuncDecl).Body.List
	if len(f.Decls) != 1 || len(stmts) == 0 {
		return fragment{}, errors.New("no statement")
	}
	return fragment{stmts: stmts}, nil
}

// matches returns the places directly in n where the fragment stands.
func (f fragment) matches(n ast.Node) (found []span) {
	if f.expr != nil {
		e, ok := n.(ast.Expr)
		if _, paren := n.(*ast.ParenExpr); ok && !paren && same(reflect.ValueOf(e), reflect.ValueOf(f.expr)) {
			found = append(found, span{n.Pos(), n.End()})
		}
		return found
	}
	list := statements(n)
	for i := range len(list) - len(f.stmts) + 1 {
		part := list[i : i+len(f.stmts)]
		if same(reflect.ValueOf(part), reflect.ValueOf(f.stmts)) {
			found = append(found, span{part[0].Pos(), part[len(part)-1].End()})
		}
	}
	return found
}

// statements returns the list of a node that has one.
func statements(n ast.Node) []ast.Stmt {
	switch n := n.(type) {
	case *ast.BlockStmt:
		return n.List
	case *ast.CaseClause:
		return n.Body
	case *ast.CommClause:
		return n.Body
	}
	return nil
}

var (
	positions = reflect.TypeFor[token.Pos]()
	comments  = reflect.TypeFor[*ast.CommentGroup]()
)

// same reports whether the fragment b describes a: formatting, comments and
// parentheses do not count.
func same(a, b reflect.Value) bool {
	a, b = bare(a), bare(b)
	if !a.IsValid() || !b.IsValid() {
		return a.IsValid() == b.IsValid()
	}
	if a.Type() != b.Type() {
		return false
	}
	switch a.Kind() {
	case reflect.Slice:
		if isAny(b) {
			return true
		}
		if a.Len() != b.Len() {
			return false
		}
		for i := range a.Len() {
			if !same(a.Index(i), b.Index(i)) {
				return false
			}
		}
		return true
	case reflect.Struct:
		for i := range a.NumField() {
			if !sameField(a.Type().Field(i), a.Field(i), b.Field(i)) {
				return false
			}
		}
		return true
	default:
		return a.Equal(b)
	}
}

// isAny reports whether the arguments or the statements of a fragment are only an
// underscore.
func isAny(list reflect.Value) bool {
	var only any
	switch list := list.Interface().(type) {
	case []ast.Expr:
		if len(list) == 1 {
			only = list[0]
		}
	case []ast.Stmt:
		if len(list) == 1 {
			if s, ok := list[0].(*ast.ExprStmt); ok {
				only = s.X
			}
		}
	}
	id, ok := only.(*ast.Ident)
	return ok && id.Name == "_"
}

func sameField(f reflect.StructField, a, b reflect.Value) bool {
	switch {
	case f.Type == comments || f.Name == "Obj":
		return true
	case f.Type == positions: // means something only by being there, such as the dots of f(a...)
		return f.Name != "Ellipsis" && f.Name != "Assign" || a.IsZero() == b.IsZero()
	}
	return same(a, b)
}

// bare takes off pointers, interfaces and parentheses.
func bare(v reflect.Value) reflect.Value {
	for v.IsValid() && (v.Kind() == reflect.Interface || v.Kind() == reflect.Pointer) {
		if paren, ok := v.Interface().(*ast.ParenExpr); ok {
			v = reflect.ValueOf(paren.X)
			continue
		}
		v = v.Elem()
	}
	return v
}

// splitSymbol takes "tiering/journal.Core.created" apart.
func splitSymbol(in string) (dir, name string) {
	slash := strings.LastIndex(in, "/") + 1
	pkg, name, _ := strings.Cut(in[slash:], ".")
	return in[:slash] + pkg, name
}
