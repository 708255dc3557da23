package lint

import (
	"go/ast"
	"go/token"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// sentence is a sentence of a comment or of a string: its words in lower case,
// without punctuation, and the line of each.
type sentence struct {
	words []string
	lines []int
}

// around returns the word at i with those next to it.
func (s sentence) around(i int) string {
	return strings.Join(s.words[max(0, i-2):min(len(s.words), i+3)], " ")
}

// comments returns the sentences of all comments of a Go file. Directives and
// indented text, such as byte maps, are left out; items of lists are read.
func comments(t *tree, f file) (found []sentence) {
	for _, group := range f.ast.Comments {
		var s splitter
		for _, comment := range group.List {
			line, text := t.line(comment.Pos()), comment.Text
			if directive.MatchString(text) {
				continue
			}
			if block, ok := strings.CutPrefix(text, "/*"); ok {
				text = strings.TrimSuffix(block, "*/")
			}
			for i, part := range strings.Split(text, "\n") {
				s.commentLine(strings.TrimPrefix(part, "//"), line+i)
			}
		}
		found = append(found, s.end()...)
	}
	return found
}

// literals returns the sentences of the file's string literals that have a
// space: messages of errors, logs and tests, and help. A literal without one is
// a name or a key. Strings that a format fixed are left out.
func literals(t *tree, f file) (found []sentence) {
	ast.Inspect(f.ast, func(node ast.Node) bool {
		literal, ok := node.(*ast.BasicLit)
		if !ok || literal.Kind != token.STRING || !strings.Contains(literal.Value, " ") {
			return true
		}
		text := unquoted(literal.Value)
		if text == fixedStrings[f.path] {
			return true
		}
		var s splitter
		for i, part := range strings.Split(text, "\n") {
			s.add(part, t.line(literal.Pos())+i)
		}
		found = append(found, s.end()...)
		return true
	})
	return found
}

// names returns the words of each name that the file declares, other than in
// capitals: of "TestNodeStarts" they are test, node, starts.
func names(t *tree, f file) (found []sentence) {
	add := func(idents ...*ast.Ident) {
		for _, ident := range idents {
			words := camelWord.FindAllString(ident.Name, -1)
			s := sentence{lines: slices.Repeat([]int{t.line(ident.Pos())}, len(words))}
			for _, word := range words {
				s.words = append(s.words, strings.ToLower(word))
			}
			found = append(found, s)
		}
	}
	ast.Inspect(f.ast, func(node ast.Node) bool {
		switch n := node.(type) {
		case *ast.FuncDecl:
			add(n.Name)
		case *ast.TypeSpec:
			add(n.Name)
		case *ast.ValueSpec:
			add(n.Names...)
		case *ast.Field:
			add(n.Names...)
		case *ast.AssignStmt:
			for _, left := range n.Lhs {
				if ident, ok := left.(*ast.Ident); ok && n.Tok == token.DEFINE {
					add(ident)
				}
			}
		}
		return true
	})
	return found
}

var camelWord = regexp.MustCompile(`[A-Z]?[a-z]+`)

// unquoted takes the quotes away, and escapes as far as they separate words. It
// keeps the lines of the source.
func unquoted(literal string) string {
	if literal[0] == '`' {
		return strings.Trim(literal, "`")
	}
	return strings.NewReplacer(`\n`, " ", `\t`, " ", `\"`, `"`).Replace(literal[1 : len(literal)-1])
}

var (
	directive = regexp.MustCompile(`^//[a-z]+:\S`)
	listItem  = regexp.MustCompile(`^\s+(?:[-*+•]|\d+[.)])\s`)
)

// splitter splits lines into sentences.
type splitter struct {
	found  []sentence
	open   sentence
	inList bool
}

// commentLine adds a line of a comment, as godoc reads it.
func (s *splitter) commentLine(text string, line int) {
	indented := strings.HasPrefix(text, "\t") || strings.HasPrefix(text, "  ")
	switch {
	case strings.TrimSpace(text) == "":
		s.finish()
	case listItem.MatchString(text):
		s.finish()
		s.inList = true
		s.add(listItem.ReplaceAllString(text, ""), line)
	case indented && !s.inList:
		s.finish()
	default:
		s.inList = indented
		s.add(text, line)
	}
}

// add adds the words of a line. A word in quotes is spoken of, not used, and
// stands as "".
func (s *splitter) add(text string, line int) {
	for _, field := range strings.Fields(text) {
		bare := strings.TrimRight(field, ".,;:!?)")
		word := strings.TrimFunc(field, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
		if word != "" {
			if len(bare) > 2 && strings.ContainsRune("\"`'", rune(bare[0])) && bare[len(bare)-1] == bare[0] {
				word = ""
			}
			s.open.words = append(s.open.words, strings.ToLower(word))
			s.open.lines = append(s.open.lines, line)
		}
		if closed := strings.TrimRight(field, "\"'`)"); strings.HasSuffix(closed, "?") {
			s.open = sentence{} // a question may ask in any words
		} else if strings.HasSuffix(closed, ".") || strings.HasSuffix(closed, "!") {
			s.finish()
		}
	}
}

func (s *splitter) finish() {
	if len(s.open.words) > 0 {
		s.found = append(s.found, s.open)
	}
	s.open = sentence{}
}

func (s *splitter) end() []sentence {
	s.finish()
	return s.found
}
