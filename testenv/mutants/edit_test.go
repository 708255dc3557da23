package mutants

import (
	"go/parser"
	"go/token"
	"strings"
	"testing"
)

const program = `package p

type T[K any] struct{ n, m int }

func (t *T[K]) step(wait bool) int {
	if t.n > 0 && // a comment
		(wait || t.m > 1) {
		t.n--  ;  t.m++
		return t.n
	}
	switch {
	case t.n == 7:
		t.end(1, 2)
	case t.n == 8:
		t.end(1, 2)
	}
	return t.m
}

func other() { println("x", 1) }
`

// provide makes program the package in a folder.
func provide(t *testing.T, dir string) {
	f := &sourceFile{path: dir + "/p.go", text: program}
	s := &source{fset: token.NewFileSet(), funcs: map[string]*function{}}
	var err error
	if f.tree, err = parser.ParseFile(s.fset, f.path, program, parser.SkipObjectResolution); err != nil {
		t.Fatal(err)
	}
	s.add(f)
	sources.Store(dir, func() (*source, error) { return s, nil })
}

func TestPlacesAreFoundBySyntax(t *testing.T) {
	provide(t, "p")
	for _, c := range []struct {
		e         edit
		want, not string // in the changed text, without spaces
	}{
		{swap("p.T.step", "t.n > 0 && (wait || t.m > 1)", "wait"), "ifwait{", "t.n>0"},
		{swap("p.T.step", "wait || (t.m > 1)", "wait && t.m > 2"), "&&//acomment\n((wait&&t.m>2)){", "t.m>1"},
		{drop("p.T.step", "t.n--\nt.m++"), "{\n\nreturnt.n\n}", "t.m++"},
		{never("p.T.step", "t.n == 7"), "case(false&&(t.n==7)):", ""},
		{after("p.T.step", "t.end(1, 2)", "return 0").below("t.n == 8"), "caset.n==8:\nt.end(1,2)\nreturn0", "caset.n==7:\nt.end(1,2)\nreturn0"},
		{before("p.T.step", "if t.n > 0 && (wait || t.m > 1) {_}", "t.m = 5"), "{\nt.m=5\nift.n>0", ""},
		{swap("p.other", "println(_)", "print()"), "{print()}", "println"},
	} {
		changed, err := mutant{edits: []edit{c.e}}.changed()
		got := strings.NewReplacer(" ", "", "\t", "").Replace(changed["p/p.go"])
		if err != nil || !strings.Contains(got, c.want) || c.not != "" && strings.Contains(got, c.not) {
			t.Errorf("%q in %s: %v, got\n%s", c.e.at, c.e.in, err, got)
		}
	}
}

func TestAPlaceThatIsGoneOrUnclearIsAnError(t *testing.T) {
	provide(t, "p")
	for _, c := range []struct {
		e    edit
		want []string
	}{
		{drop("p.T.step", "t.end(1, 2)"), []string{"p.T.step has this 2 times", "p/p.go:13:3", "p/p.go:15:3", "below"}},
		{drop("p.T.step", "t.end(2, 2)").below("t.n == 7"), []string{"p.T.step does not have", "closest is p.T.step, p/p.go:13:3:\n\tt.end(1, 2)"}},
		{drop("p.T.stop", "t.n--\nt.m++"), []string{"no function p.T.stop", "closest is p.T.step, p/p.go:8:3"}},
		{drop("p.T.step", `println("x", 1)`), []string{"p.T.step does not have", "closest is p.other"}},
		{drop("p.T.step", "if {"), []string{"neither an expression nor statements"}},
	} {
		_, err := mutant{edits: []edit{c.e}}.changed()
		for _, want := range c.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%q in %s: %v, want %q in it", c.e.at, c.e.in, err, want)
			}
		}
	}
	_, err := mutant{edits: []edit{drop("p.T.step", "t.n--"), drop("p.T.step", "t.n--\nt.m++")}}.changed()
	if err == nil || !strings.Contains(err.Error(), "two edits of one place") {
		t.Errorf("%v, want two edits of one place", err)
	}
}
