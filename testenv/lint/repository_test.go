package lint_test

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/varvelog/varve/testenv/lint"
)

const root = "../.."

var update = flag.Bool("lint.update", false, "lower the numbers of plain English to today's counts; none is raised")

func TestRepositoryKeepsTheRules(t *testing.T) {
	if *update {
		name, text, err := lint.Lowered(os.DirFS(root))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, name), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	lines := sync.OnceValue(newLines)
	findings, err := lint.Check(os.DirFS(root), func(path string, line int) bool { return lines()[path+":"+strconv.Itoa(line)] || lines()[path] })
	if err != nil {
		t.Fatal(err)
	}
	for _, finding := range findings {
		t.Error(finding)
	}
}

// newLines returns the lines, as path:line, that git has as added since the
// counts were last changed, and the paths that git does not have. Without git
// it returns none.
func newLines() map[string]bool {
	found := make(map[string]bool)
	since, err := git("log", "-1", "--format=%H", "--", "testenv/lint/english.txt")
	if err != nil {
		return found
	}
	if since = strings.TrimSpace(since); since == "" {
		since = "HEAD"
	}
	diff, err := git("diff", "--unified=0", "--no-color", "--no-ext-diff", "--no-prefix", since, "--", "*.go")
	if err != nil {
		return found
	}
	path := ""
	for line := range strings.Lines(diff) {
		if after, ok := strings.CutPrefix(line, "+++ "); ok {
			path = strings.TrimSpace(after)
		} else if strings.HasPrefix(line, "@@ ") {
			first, count := added(line)
			for i := range count {
				found[path+":"+strconv.Itoa(first+i)] = true
			}
		}
	}
	untracked, _ := git("ls-files", "--others", "--exclude-standard", "--", "*.go")
	for path := range strings.Lines(untracked) {
		found[strings.TrimSpace(path)] = true
	}
	return found
}

// added returns the lines that a hunk adds, of "@@ -7,2 +8,3 @@".
func added(hunk string) (first, count int) {
	_, hunk, _ = strings.Cut(hunk, " +")
	hunk, _, _ = strings.Cut(hunk, " ")
	begin, length, several := strings.Cut(hunk, ",")
	first, _ = strconv.Atoi(begin)
	if count = 1; several {
		count, _ = strconv.Atoi(length)
	}
	return first, count
}

func git(args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir = root
	output, err := cmd.Output()
	return string(output), err
}
