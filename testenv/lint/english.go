package lint

import (
	"fmt"
	"slices"
	"strings"
)

const maxSentenceWords = 30

// kind is one way to be hard to read, for a reader whose first language is
// another. The places of each are counted for each package.
type kind struct {
	name   string // a column of the table
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

// use is a place of some kind.
type use struct {
	path string
	line int
	said string
}

// uses are the places by package, and then by the name of the kind.
type uses map[string]map[string][]use

func usesOf(t *tree) uses {
	all := make(uses)
	for f := range t.source {
		all.add(f, comments(t, f), kinds)
		all.add(f, names(t, f), ofNames)
		if f.folder() != "testenv/lint" { // its strings are the rules themselves
			all.add(f, literals(t, f), ofLiterals)
		}
	}
	return all
}

func (u uses) add(f file, sentences []sentence, of []kind) {
	found := u[f.folder()]
	if found == nil {
		found = make(map[string][]use)
		u[f.folder()] = found
	}
	for _, s := range sentences {
		for _, k := range of {
			for _, i := range k.in(s.words) {
				found[k.name] = append(found[k.name], use{f.path, s.lines[i], s.around(i)})
			}
		}
	}
}

// english holds each package to its numbers in the table. A lower count passes:
// people who work at the same time need not agree on a number.
func english(t *tree) (findings []Finding) {
	table, findings := readTable(t)
	for folder, of := range usesOf(t) {
		for _, k := range kinds {
			places, limit := of[k.name], table[folder][k.name]
			if len(places) <= limit {
				continue
			}
			remedy := k.remedy + " (text that moved here brings its number, in " + tablePath + ")"
			for _, p := range t.newOnes(places) {
				findings = append(findings, Finding{Path: p.path, Line: p.line, Remedy: remedy,
					What: fmt.Sprintf("%q is hard to read; of kind %q, %s has %d, over %d", p.said, k.name, folder, len(places), limit)})
			}
		}
	}
	return findings
}

// maxPlaces is how many places of a kind are shown if none is known to be new.
const maxPlaces = 5

// newOnes returns the places on lines that are new, or the first places if no
// line is known to be.
func (t *tree) newOnes(places []use) []use {
	var found []use
	for _, p := range places {
		if t.isNew != nil && t.isNew(p.path, p.line) {
			found = append(found, p)
		}
	}
	if len(found) > 0 {
		return found
	}
	return places[:min(len(places), maxPlaces)]
}
