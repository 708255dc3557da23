package lint

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// tree is a repository as read.
type tree struct {
	entries []string // names at the root, without ignored ones
	paths   map[string]bool
	files   []file // text files, by path
	fset    *token.FileSet
}

// file is a text file.
type file struct {
	path string
	text []byte
	ast  *ast.File // nil but for Go
}

// folder returns the folder, "." for the root.
func (f file) folder() string { return path.Dir(f.path) }

// layer returns the top-level folder.
func (f file) layer() string {
	top, _, _ := strings.Cut(f.path, "/")
	return top
}

// test says whether the file is compiled into tests only: a _test.go file, or
// one of a package for tests, which imports package testing.
func (f file) test() bool {
	if strings.HasSuffix(f.path, "_test.go") {
		return true
	}
	return slices.ContainsFunc(f.ast.Imports, func(spec *ast.ImportSpec) bool { return importPath(spec) == "testing" })
}

func importPath(spec *ast.ImportSpec) string { return strings.Trim(spec.Path.Value, "`\"") }

// source yields the Go files.
func (t *tree) source(yield func(file) bool) {
	for _, f := range t.files {
		if f.ast != nil && !yield(f) {
			return
		}
	}
}

func (t *tree) line(pos token.Pos) int { return t.fset.Position(pos).Line }

// load reads all text files but those of .git and those that .gitignore names.
func load(fsys fs.FS) (*tree, error) {
	t := &tree{paths: make(map[string]bool), fset: token.NewFileSet()}
	ignored, err := ignoredNames(fsys)
	if err != nil {
		return nil, err
	}
	err = fs.WalkDir(fsys, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name == "." {
			return nil
		}
		atRoot := !strings.Contains(name, "/")
		if ignored(entry.Name(), atRoot) {
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		t.paths[name] = true
		if atRoot {
			t.entries = append(t.entries, name)
		}
		if !entry.Type().IsRegular() {
			return nil
		}
		return t.read(fsys, name)
	})
	if err != nil {
		return nil, fmt.Errorf("read repository: %w", err)
	}
	return t, nil
}

func (t *tree) read(fsys fs.FS, name string) error {
	text, err := fs.ReadFile(fsys, name)
	if err != nil {
		return err
	}
	if bytes.IndexByte(text, 0) >= 0 { // not a text
		return nil
	}
	f := file{path: name, text: text}
	if strings.HasSuffix(name, ".go") {
		if f.ast, err = parser.ParseFile(t.fset, name, text, parser.ParseComments|parser.SkipObjectResolution); err != nil {
			return err
		}
	}
	t.files = append(t.files, f)
	return nil
}

// ignoredNames reads .gitignore as far as ours goes: names and patterns of
// names, with a leading slash at the root only.
func ignoredNames(fsys fs.FS) (func(name string, atRoot bool) bool, error) {
	text, err := fs.ReadFile(fsys, ".gitignore")
	if err != nil {
		return nil, fmt.Errorf("read .gitignore: %w", err)
	}
	patterns := []string{"/.git"}
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			patterns = append(patterns, strings.TrimSuffix(line, "/"))
		}
	}
	return func(name string, atRoot bool) bool {
		return slices.ContainsFunc(patterns, func(pattern string) bool {
			rooted := strings.HasPrefix(pattern, "/")
			matches, err := path.Match(strings.TrimPrefix(pattern, "/"), name)
			return err == nil && matches && (atRoot || !rooted)
		})
	}, nil
}
