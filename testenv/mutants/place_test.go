package mutants

import (
	"fmt"
	"go/ast"
	"go/parser"
	"slices"
	"strings"
)

// A replacement is new text for a stretch of a file.
type replacement struct {
	from, to int // offsets
	text     string
}

// place finds the one place of e.
func (e edit) place() (*sourceFile, replacement, error) {
	what, err := parseFragment(e.at)
	if err != nil {
		return nil, replacement{}, fmt.Errorf("%q: %w", e.at, err)
	}
	var under ast.Expr
	if e.under != "" {
		if under, err = parser.ParseExpr(e.under); err != nil {
			return nil, replacement{}, fmt.Errorf("%q: %w", e.under, err)
		}
	}
	dir, name := splitSymbol(e.in)
	src, err := load(dir)
	if err != nil || src.funcs[name] == nil {
		return nil, replacement{}, fmt.Errorf("no function %s; %s", e.in, e.closest(what))
	}
	f := src.funcs[name]
	found := f.find(what, under)
	switch {
	case len(found) == 0:
		return nil, replacement{}, fmt.Errorf("%s does not have\n\t%s\n%s", e.in, e.at, e.closest(what))
	case len(found) > 1:
		var lines []string
		for _, p := range found {
			lines = append(lines, src.fset.Position(p.from).String())
		}
		return nil, replacement{}, fmt.Errorf("%s has this %d times, at %s: name the condition above it with below\n\t%s",
			e.in, len(found), strings.Join(lines, ", "), e.at)
	}
	from, to := src.fset.Position(found[0].from).Offset, src.fset.Position(found[0].to).Offset
	switch e.op {
	case insertBefore:
		return f.file, replacement{from, from, e.text + "\n"}, nil
	case insertAfter:
		return f.file, replacement{to, to, "\n" + e.text}, nil
	}
	return f.file, replacement{from, to, parenthesised(e.text)}, nil
}

// parenthesised keeps an operator of e from binding to its new neighbours.
func parenthesised(e string) string {
	tree, err := parser.ParseExpr(e)
	if _, ok := tree.(*ast.BinaryExpr); ok && err == nil {
		return "(" + e + ")"
	}
	return e
}

// replace returns the text of f with other text at some places.
func (f *sourceFile) replace(places []replacement) (string, error) {
	slices.SortFunc(places, func(a, b replacement) int { return a.from - b.from })
	var b strings.Builder
	end := 0
	for _, p := range places {
		if p.from < end {
			return "", fmt.Errorf("two edits of one place:\n\t%s", f.text[p.from:p.to])
		}
		b.WriteString(f.text[end:p.from] + p.text)
		end = p.to
	}
	return b.String() + f.text[end:], nil
}
