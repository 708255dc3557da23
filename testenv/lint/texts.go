package lint

import (
	"path"
	"regexp"
	"strings"
)

var (
	address   = regexp.MustCompile(`https?://[^\s"'` + "`" + `)>]+`)
	document  = regexp.MustCompile(`[\w./-]*\w\.md\b`)
	upward    = regexp.MustCompile(`(?:\.\./)+[\w.-]+[\w./-]*`)
	reference = regexp.MustCompile(`(?i)\bissues? #?\d+|(?:^|[\s(])#\d+\b`)
	leftover  = regexp.MustCompile(`\b(?:TODO|FIXME|XXX)\b`)
	machine   = regexp.MustCompile(`(?:^|[^\w./-])(?:/work|/root)/`)
)

// texts wants comments and documents to name only things that a reader of the
// repository can find.
func texts(t *tree) (findings []Finding) {
	for _, f := range t.files {
		if path.Base(f.path) == "go.sum" || f.path == "LICENSE" || f.layer() == "testenv" && strings.HasPrefix(f.path, "testenv/lint/") {
			continue // checksums, another's text, and the rules themselves
		}
		for i, line := range strings.Split(string(f.text), "\n") {
			add := func(what, remedy string) {
				findings = append(findings, Finding{Path: f.path, Line: i + 1, What: what, Remedy: remedy})
			}
			line = address.ReplaceAllString(line, "")
			for _, name := range document.FindAllString(line, -1) {
				if !t.has(f, name) {
					add("names the document "+name+", which is not there",
						"give its path from the root or from here, or say what it says")
				}
			}
			if machine.MatchString(line) {
				add("names a folder of one machine", "name what it is for")
			}
			prose := line
			if f.ast != nil {
				prose = comment(line)
			}
			for _, name := range upward.FindAllString(prose, -1) {
				name = strings.TrimRight(name, "./") // the sentence's full stop
				if !t.has(f, name) && !document.MatchString(name) {
					add("names "+name+", which is not there", "give its path from the root")
				}
			}
			if found := reference.FindString(prose); found != "" {
				add("refers to "+strings.TrimLeft(found, " \t("), "say the reason, or give the full address")
			}
			if leftover.MatchString(prose) {
				add("leaves work for later", "do it, or write down the limit as one")
			}
		}
	}
	return findings
}

// comment returns the part of a line of Go from the first // that begins
// a comment, or nothing. A comment over several lines, of /* */, is not seen.
func comment(line string) string {
	if strings.HasPrefix(strings.TrimSpace(line), "//") {
		return line
	}
	if _, after, ok := strings.Cut(line, " // "); ok {
		return after
	}
	return ""
}

// has says whether the tree has name, from the root or from f's folder.
func (t *tree) has(f file, name string) bool {
	return t.paths[path.Clean(name)] || t.paths[path.Join(f.folder(), name)]
}
