package mutants

import (
	"fmt"
	"go/ast"
	"go/scanner"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// folders hold the program.
var folders = []string{"cmd", "fetch", "ingest", "metadata", "tiering"}

// closest says where a place that does not fit any more may be now: in its
// function, else in its package, else anywhere in the program.
func (e edit) closest(what fragment) string {
	dir, name := splitSymbol(e.in)
	best := candidate{}
	if src, err := load(dir); err == nil {
		if f := src.funcs[name]; f != nil {
			best.consider(src, f, e.at, what)
		}
		if best.score < alike {
			best.considerAll(src, e.at, what)
		}
	}
	if best.score < alike {
		for _, dir := range packages() {
			if src, err := load(dir); err == nil {
				best.considerAll(src, e.at, what)
			}
		}
	}
	if best.in == "" {
		return "nothing like it is left"
	}
	return fmt.Sprintf("closest is %s, %s:\n\t%s", best.in, best.at, best.text)
}

// alike is the score from which on the search goes no further.
const alike = 0.75

// A candidate is the place most like a fragment so far.
type candidate struct {
	score        float64
	in, at, text string
}

func (c *candidate) considerAll(src *source, text string, what fragment) {
	byPlace := slices.SortedFunc(maps.Values(src.funcs), func(a, b *function) int { return int(a.decl.Pos() - b.decl.Pos()) })
	for _, f := range byPlace {
		c.consider(src, f, text, what)
	}
}

// consider compares a fragment with all expressions, or all runs of as many
// statements, of a function. Of equal ones the first in a file counts.
func (c *candidate) consider(src *source, f *function, text string, what fragment) {
	wanted := pairs(text)
	try := func(from, to token.Pos) {
		at := src.fset.Position(from)
		got := f.file.text[at.Offset:src.fset.Position(to).Offset]
		if score := likeness(wanted, pairs(got)); score > c.score {
			dir, _ := filepath.Split(f.file.path)
			*c = candidate{score, strings.TrimSuffix(dir, "/") + "." + nameOf(f.decl), at.String(), got}
		}
	}
	ast.Inspect(f.decl.Body, func(n ast.Node) bool {
		if what.expr != nil {
			if e, ok := n.(ast.Expr); ok {
				try(e.Pos(), e.End())
			}
			return true
		}
		if list := statements(n); len(list) > 0 {
			k := min(len(what.stmts), len(list))
			for i := range len(list) - k + 1 {
				try(list[i].Pos(), list[i+k-1].End())
			}
		}
		return true
	})
}

// pairs returns how often each two tokens follow each other in Go source.
func pairs(text string) map[string]int {
	fset := token.NewFileSet()
	var s scanner.Scanner
	s.Init(fset.AddFile("", fset.Base(), len(text)), []byte(text), nil, 0)
	found, last := map[string]int{}, ""
	for {
		_, tok, literal := s.Scan()
		if tok == token.EOF {
			return found
		}
		if literal == "" || tok == token.SEMICOLON {
			literal = tok.String()
		}
		found[last+" "+literal]++
		last = literal
	}
}

// likeness is 1 for the same tokens, 0 for no two in common.
func likeness(a, b map[string]int) float64 {
	common, total := 0, 0
	for pair, n := range a {
		common += min(n, b[pair])
		total += n
	}
	for _, n := range b {
		total += n
	}
	return 2 * float64(common) / float64(max(total, 1))
}

// packages returns the folders of the program that hold Go files.
func packages() (dirs []string) {
	for _, top := range folders {
		_ = filepath.WalkDir(filepath.Join(root, top), func(name string, d fs.DirEntry, err error) error {
			if err != nil || !d.IsDir() {
				return nil
			}
			if d.Name() == "testdata" {
				return fs.SkipDir
			}
			if entries, _ := os.ReadDir(name); len(entries) > 0 {
				dir, _ := filepath.Rel(root, name)
				dirs = append(dirs, filepath.ToSlash(dir))
			}
			return nil
		})
	}
	return dirs
}
