package mutants

import (
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

// TestEveryMutantFits runs no mutant, so that a change of the program that leaves one
// behind fails at once, with the short tests too. Each finds its places and compiles,
// and the test that is to find it exists.
func TestEveryMutantFits(t *testing.T) {
	checker := newChecker(t)
	named := map[string]bool{}
	for _, m := range mutants {
		if named[m.name] {
			t.Errorf("%s: two mutants have this name", m.name)
		}
		named[m.name] = true
		if !m.by.exists(t) {
			t.Errorf("%s: %s has no %s", m.name, m.by.pkg, m.by.test)
		}
		changed, err := m.changed()
		if err != nil {
			t.Errorf("%s: %v", m.name, err)
			continue
		}
		for _, err := range checker.check(t, changed) {
			t.Errorf("%s: bring the mutant up to date: %v", m.name, err)
		}
	}
}

var tests = map[string]bool{} // of a catcher's package and name, whether it exists

func (c catcher) exists(t *testing.T) bool {
	key := c.pkg + " " + c.test
	found, known := tests[key]
	if known {
		return found
	}
	files, err := filepath.Glob(filepath.Join(root, c.pkg, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		found = found || strings.Contains(string(b), "\nfunc "+c.test+"(")
	}
	tests[key] = found
	return found
}

// checker checks the types of changed files. It looks into no function of files as
// they are, which makes it fast.
type checker struct {
	fset     *token.FileSet
	importer types.Importer
	files    map[string]map[string]*ast.File // of a package's folder, by path from the root
}

func newChecker(t *testing.T) *checker {
	folders := map[string]bool{}
	args := []string{"list", "-export", "-deps", "-f", "{{.ImportPath}}\t{{.Export}}\t{{.Dir}}\t{{join .GoFiles \" \"}}"}
	for _, m := range mutants {
		for _, e := range m.edits {
			if dir, _ := splitSymbol(e.in); !folders[dir] {
				folders[dir] = true
				args = append(args, "./"+dir)
			}
		}
	}
	cmd := exec.Command("go", args...)
	cmd.Dir, cmd.Stderr = root, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	top, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	c := &checker{fset: token.NewFileSet(), files: map[string]map[string]*ast.File{}}
	exports := map[string]string{}
	for line := range strings.Lines(string(out)) {
		fields := strings.Split(strings.TrimSpace(line), "\t")
		if len(fields) < 4 {
			continue // no Go files
		}
		exports[fields[0]] = fields[1]
		if dir, err := filepath.Rel(top, fields[2]); err == nil && folders[filepath.ToSlash(dir)] {
			c.parse(t, filepath.ToSlash(dir), strings.Fields(fields[3]))
		}
	}
	c.importer = importer.ForCompiler(c.fset, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })
	return c
}

// parse keeps the files of a folder without the bodies of their functions.
func (c *checker) parse(t *testing.T, dir string, names []string) {
	c.files[dir] = map[string]*ast.File{}
	for _, name := range names {
		f, err := parser.ParseFile(c.fset, filepath.Join(root, dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			if d, ok := d.(*ast.FuncDecl); ok {
				d.Body = nil
			}
		}
		c.files[dir][path.Join(dir, name)] = f
	}
}

// check returns the errors of types in changed files.
func (c *checker) check(t *testing.T, changed map[string]string) (errs []error) {
	parsed := map[string]*ast.File{}
	for file, text := range changed {
		f, err := parser.ParseFile(c.fset, file, text, parser.SkipObjectResolution)
		if err != nil {
			return append(errs, err)
		}
		parsed[file] = f
	}
	conf := types.Config{Importer: c.importer, Error: func(err error) {
		at := err.(types.Error)
		if _, ok := changed[at.Fset.Position(at.Pos).Filename]; ok { // not of a function without a body
			errs = append(errs, err)
		}
	}}
	checked := map[string]bool{}
	for file := range changed {
		dir := path.Dir(file)
		if checked[dir] {
			continue
		}
		checked[dir] = true
		var files []*ast.File
		for name, f := range c.files[dir] {
			if p := parsed[name]; p != nil {
				f = p
			}
			files = append(files, f)
		}
		_, _ = conf.Check(dir, c.fset, files, nil) // errors come to conf.Error
	}
	return errs
}
