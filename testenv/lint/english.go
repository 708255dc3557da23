package lint

import (
	"fmt"
	"slices"
	"strings"
)

const maxSentenceWords = 30

// kind is one way to be hard to read, for a reader whose first language is
// another.
type kind struct {
	name   string // in findings
	remedy string
	words  []string // any of these
	// where returns the indexes at which a sentence is of this kind, for a
	// kind that is more than a list of words.
	where func(words []string) []int
}

var kinds = []kind{
	{name: "tell", words: []string{"tell", "tells", "told", "telling"}, remedy: "use return, report, notify or log"},
	{name: "nobody", words: []string{"nobody", "somebody", "anybody", "everybody", "someone"}, remedy: `name the one who acts: "no caller", "a client"`},
	{name: "whoever", words: []string{"whoever", "whomever"}, remedy: `name the one who acts: "the caller", "a client"`},
	{name: "anew", words: []string{"anew"}, remedy: `use "again"`},
	{name: "for-ever", where: forEver, remedy: `use "forever"`},
	{name: "beside", words: []string{"beside"}, remedy: `use "next to"`},
	{name: "meanwhile", words: []string{"meanwhile"}, remedy: `use "until then" or "at the same time"`},
	{name: "what", where: headless, remedy: `name the thing: "records that do not fit", not "what does not fit"`},
	{name: "long", where: long, remedy: fmt.Sprintf("make sentences of at most %d words", maxSentenceWords)},
}

var (
	// A message may be long, since its values are.
	ofLiterals = slices.DeleteFunc(slices.Clone(kinds), func(k kind) bool { return k.name == "long" })
	// A name has words, and no grammar.
	ofNames = slices.DeleteFunc(slices.Clone(kinds), func(k kind) bool { return k.words == nil })
)

// fixedStrings are strings, by file, that a format fixed before the rules came:
// a snapshot of its bytes has them.
var fixedStrings = map[string]string{"tiering/segment/blob_test.go": "what it adds up to"}

func forEver(words []string) (at []int) {
	for i := 1; i < len(words); i++ {
		if words[i-1] == "for" && words[i] == "ever" {
			at = append(at, i)
		}
	}
	return at
}

// asking are the words before a "what" that stands for a question, as in
// "says what to do".
var asking = strings.Fields(`ask asks asked asking say says said saying know knows known show shows shown
	decide decides decided see sees describe describes explain explains depends`)

// headless finds a "what" that stands for a thing without a name.
func headless(words []string) (at []int) {
	for i, word := range words {
		if word != "what" || i > 0 && slices.Contains(asking, words[i-1]) || i > 1 && slices.Contains(asking, words[i-2]) && words[i-1] == "on" {
			continue
		}
		if i+1 < len(words) && (words[i+1] == "to" || words[i+1] == "if") {
			continue
		}
		at = append(at, i)
	}
	return at
}

func long(words []string) []int {
	if len(words) > maxSentenceWords {
		return []int{0}
	}
	return nil
}

// in returns the indexes of the words at which the sentence is of this kind.
func (k kind) in(words []string) (at []int) {
	if k.where != nil {
		return k.where(words)
	}
	for i, word := range words {
		if slices.Contains(k.words, word) {
			at = append(at, i)
		}
	}
	return at
}

// english finds each place of each kind.
func english(t *tree) (findings []Finding) {
	for f := range t.source {
		findings = append(findings, hardPlaces(f, comments(t, f), kinds)...)
		findings = append(findings, hardPlaces(f, names(t, f), ofNames)...)
		if f.folder() != "testenv/lint" { // its strings are the rules themselves
			findings = append(findings, hardPlaces(f, literals(t, f), ofLiterals)...)
		}
	}
	return findings
}

func hardPlaces(f file, sentences []sentence, of []kind) (findings []Finding) {
	for _, s := range sentences {
		for _, k := range of {
			for _, i := range k.in(s.words) {
				findings = append(findings, Finding{Path: f.path, Line: s.lines[i], Remedy: k.remedy,
					What: fmt.Sprintf("%q is hard to read, of kind %q", s.around(i), k.name)})
			}
		}
	}
	return findings
}
