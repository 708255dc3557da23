package lint_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// Each case is the text of a file below its package clause, and the kinds that
// are found in it, with their lines.
func TestPlainEnglishFinds(t *testing.T) {
	words := func(n int) string { return strings.TrimSpace(strings.Repeat("so ", n)) }
	for name, test := range map[string]struct{ text, want string }{
		"words of comments":          {"// It told Nobody.\n\n// Whoever asks, asks anew, beside it, for ever; meanwhile.", "1 tell, 1 nobody, 3 whoever, 3 anew, 3 beside, 3 for-ever, 3 meanwhile"},
		"more words":                 {"// Tell, telling, somebody, anybody, everybody, someone, whomever.", "1 tell, 1 tell, 1 nobody, 1 nobody, 1 nobody, 1 nobody, 1 whoever"},
		"words over a line's end":    {"// It waits for\n// ever.", "2 for-ever"},
		"a comment behind code":      {"var x int // tells", "1 tell"},
		"a block":                    {"/* It holds\nwhat is left. */", "2 what"},
		"messages":                   {"var x = fmt.Errorf(\"read %s: told nobody\", `a\nb is what follows`)", "1 tell, 1 nobody, 2 what"},
		"words next to an escape":    {`var x = "a b\nmeanwhile\t\"b"`, "1 meanwhile"},
		"a key":                      {`var x = "anew"`, ""},
		"names":                      {"func tellsNobody(told int) { anewBy := told; _ = anewBy }", "1 tell, 1 nobody, 1 tell, 1 anew"},
		"a name with what":           {"var whatFor, MEANWHILE int", ""},
		"parts of words":             {"// Besides, it retells: a storyteller.", ""},
		"a word that is spoken of":   {"// The word \"told\", `anew`.", ""},
		"a thing without a name":     {"// What does not fit is refused.", "1 what"},
		"a question, direct or not":  {"// What is it? It says what it does, with a hint for what to do, depends on what, and shows what is wrong.", ""},
		"a question, then a thing":   {"// Why? It holds what it has.", "1 what"},
		"thirty words":               {"// " + words(30) + ".", ""},
		"more than thirty words":     {"// It is. " + words(12) + "\n// " + words(19) + ".", "1 long"},
		"long, but of a message":     {`var x = "` + words(40) + `"`, ""},
		"paragraphs are apart":       {"// " + words(20) + "\n//\n// " + words(20), ""},
		"items are apart":            {"// " + words(20) + ":\n//   - " + words(20) + "\n//     and\n//   - " + words(20), ""},
		"an item over two lines":     {"//   - " + words(20) + "\n//     " + words(20), "1 long"},
		"indented text":              {"// Bytes:\n//\n//\t0  what was told  " + words(31), ""},
		"a directive":                {"//go:generate tell nobody", ""},
		"a full stop within a quote": {"// It said \"" + words(20) + ".\" " + words(20), ""},
	} {
		t.Run(name, func(t *testing.T) {
			fsys := clean()
			fsys["tiering/z.go"] = &fstest.MapFile{Data: []byte("package tiering\n" + test.text + "\n")}
			var got []string
			for _, finding := range check(t, fsys) {
				_, rest, _ := strings.Cut(finding.What, "of kind \"")
				kind, _, _ := strings.Cut(rest, "\"")
				got = append(got, fmt.Sprint(finding.Line-1, " ", kind))
				if finding.Path != "tiering/z.go" || finding.Remedy == "" {
					t.Error(finding)
				}
			}
			var want []string
			if test.want != "" {
				want = strings.Split(test.want, ", ")
			}
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("found %q, want %q", got, want)
			}
		})
	}
}

// A string that a format fixed is left out in its own file, and nowhere else.
func TestStringsThatAFormatFixedAreLeftOut(t *testing.T) {
	const fixed = `var _ = "what it adds up to"`
	for name, test := range map[string]struct {
		path, text string
		want       int
	}{
		"there":              {"tiering/segment/blob_test.go", fixed, 0},
		"in another file":    {"tiering/segment/more_test.go", fixed, 1},
		"more of the string": {"tiering/segment/blob_test.go", `var _ = "what it adds up to here"`, 1},
		"in a comment":       {"tiering/segment/blob_test.go", "// what it adds up to", 1},
	} {
		t.Run(name, func(t *testing.T) {
			fsys := clean()
			fsys[test.path] = &fstest.MapFile{Data: []byte("package segment_test\n\n" + test.text + "\n")}
			if got := check(t, fsys); len(got) != test.want {
				t.Errorf("%d findings, want %d: %v", len(got), test.want, got)
			}
		})
	}
}
