package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/varvelog/varve/testenv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// repository is a small repository that a test builds.
type repository struct {
	t   *testing.T
	dir string
}

func newRepository(t *testing.T) repository {
	t.Helper()
	testenv.LookTool(t, "git")
	r := repository{t, t.TempDir()}
	r.git("init", "--quiet", "--initial-branch=main")
	return r
}

func (r repository) git(args ...string) string {
	r.t.Helper()
	return r.gitWith(nil, args...)
}

// gitWith runs git and returns its output.
func (r repository) gitWith(env []string, args ...string) string {
	r.t.Helper()
	cmd := git(r.dir, append([]string{"-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgSign=false",
		"-c", "core.hooksPath=/dev/null"}, args...)...)
	cmd.Env = append(append(cmd.Env, "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null"), env...)
	output, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, output)
	}
	return strings.TrimSpace(string(output))
}

// commit commits a change of the given files at a time in seconds.
func (r repository) commit(seconds int64, author, message string, files ...string) {
	r.t.Helper()
	for _, name := range files {
		path := filepath.Join(r.dir, name)
		if err := os.WriteFile(path, fmt.Appendf(nil, "%d", seconds), 0o644); err != nil {
			r.t.Fatal(err)
		}
	}
	r.git("add", "--all")
	date := fmt.Sprintf("@%d +0130", seconds)
	r.gitWith([]string{"GIT_AUTHOR_NAME=" + author, "GIT_AUTHOR_DATE=@1 +0000", "GIT_COMMITTER_DATE=" + date},
		"commit", "--quiet", "--allow-empty", "--cleanup=verbatim", "--message", message)
}

// events runs gitlog and decodes its lines.
func events(t *testing.T, args ...string) []commit {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if err := run(args, &stdout, &stderr); err != nil {
		t.Fatal(err)
	}
	if stderr.Len() > 0 {
		t.Errorf("a short run prints to stderr: %s", stderr.Bytes())
	}
	return decode(t, stdout.Bytes())
}

func decode(t *testing.T, lines []byte) (list []commit) {
	t.Helper()
	if !bytes.Equal(lines, bytes.ToValidUTF8(lines, nil)) {
		t.Errorf("output is not UTF-8: %q", lines)
	}
	for line := range bytes.Lines(lines) {
		var c commit
		decoder := json.NewDecoder(bytes.NewReader(line))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&c); err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		list = append(list, c)
	}
	return list
}

func subjects(list []commit) (subjects []string) {
	for _, c := range list {
		subjects = append(subjects, c.Subject)
	}
	return subjects
}

func TestEventsAreTheCommitsOldestFirst(t *testing.T) {
	r := newRepository(t)
	r.commit(1000000000, "Ada <&> Lovelace", "first\n\nbody one\n\nbody \"two\"\n", "a", "b c", ":d\n")
	r.commit(1000000060, "Bob", "second", "a")
	r.commit(1000000120, "Bob", "third, empty")

	list := events(t, r.dir)
	if got, want := subjects(list), []string{"first", "second", "third, empty"}; !slices.Equal(got, want) {
		t.Fatalf("subjects %q, want %q", got, want)
	}
	first := list[0]
	if len(first.Commit) != 40 || len(first.Parents) != 0 {
		t.Errorf("hash %q, parents %q", first.Commit, first.Parents)
	}
	first.Commit, first.Parents = "", nil
	want := commit{Author: "Ada & Lovelace", Email: "a@example.org", Date: "2001-09-09T01:46:40Z", Timestamp: 1000000000000,
		Subject: "first", Body: "body one\n\nbody \"two\"", Files: 3} // git takes <> out of names
	if fmt.Sprint(first) != fmt.Sprint(want) {
		t.Errorf("first event\n got %+v\nwant %+v", first, want)
	}
	if got := list[1].Parents; !slices.Equal(got, []string{list[0].Commit}) {
		t.Errorf("parents of the second %q", got)
	}
	if list[1].Files != 1 || list[2].Files != 0 {
		t.Errorf("files %d and %d, want 1 and 0", list[1].Files, list[2].Files)
	}
}

func TestParentsComeBeforeChildrenWhateverTheClocksSay(t *testing.T) {
	r := newRepository(t)
	r.commit(2000, "A", "root", "a")
	r.git("checkout", "--quiet", "-b", "side")
	r.commit(1000, "A", "side, clock behind", "b")
	r.git("checkout", "--quiet", "main")
	r.commit(3000, "A", "main", "a")
	r.gitWith([]string{"GIT_COMMITTER_DATE=@4000 +0000"}, "merge", "--quiet", "--no-ff", "--message", "merge", "side")

	list := events(t, r.dir)
	seen := make(map[string]bool)
	for _, c := range list {
		for _, parent := range c.Parents {
			if !seen[parent] {
				t.Errorf("%q comes before its parent", c.Subject)
			}
		}
		seen[c.Commit] = true
	}
	if len(list) != 4 || list[0].Subject != "root" || list[3].Subject != "merge" {
		t.Fatalf("subjects %q", subjects(list))
	}
	if merge := list[3]; len(merge.Parents) != 2 || merge.Files != 1 {
		t.Errorf("merge has %d parents and %d files, want 2 and, against the first, 1", len(merge.Parents), merge.Files)
	}
}

func TestMaxKeepsTheOldest(t *testing.T) {
	r := newRepository(t)
	for i := range 5 {
		r.commit(int64(1000+i), "A", fmt.Sprintf("commit %d", i), "a")
	}
	if got := subjects(events(t, "--max", "2", r.dir)); !slices.Equal(got, []string{"commit 0", "commit 1"}) {
		t.Errorf("subjects %q", got)
	}
}

func TestBranchAndBareRepository(t *testing.T) {
	r := newRepository(t)
	r.commit(1000, "A", "one", "a")
	r.git("branch", "old")
	r.commit(1001, "A", "two", "a")
	bare := filepath.Join(t.TempDir(), "bare")
	r.git("clone", "--quiet", "--bare", r.dir, bare)
	if got := subjects(events(t, "--branch", "old", bare)); !slices.Equal(got, []string{"one"}) {
		t.Errorf("branch old: %q", got)
	}
	if got := subjects(events(t, bare)); !slices.Equal(got, []string{"one", "two"}) {
		t.Errorf("HEAD: %q", got)
	}
}

func TestInvalidBytesAreReplaced(t *testing.T) {
	r := newRepository(t)
	r.commit(1000, "A", "one", "a")
	// git commit mends messages, old gits and other programs did not.
	object := fmt.Sprintf("tree %s\nparent %s\nauthor \xe9 <e\xff@x> 1 +0000\ncommitter C <c> 1001 +0000\n\nbad \xff\xfe ✓\n\nbo\xc3",
		r.git("rev-parse", "main^{tree}"), r.git("rev-parse", "main"))
	path := filepath.Join(t.TempDir(), "commit")
	if err := os.WriteFile(path, []byte(object), 0o644); err != nil {
		t.Fatal(err)
	}
	r.git("update-ref", "refs/heads/main", r.git("hash-object", "-t", "commit", "-w", path))
	list := events(t, r.dir)
	if len(list) != 2 {
		t.Fatalf("%d events, want 2", len(list))
	}
	got := list[1]
	if got.Subject != "bad \uFFFD ✓" || got.Body != "bo\uFFFD" || got.Author != "\uFFFD" || got.Email != "e\uFFFD@x" {
		t.Errorf("event %+v", got)
	}
}

func TestConfigurationOfTheUserChangesNothing(t *testing.T) {
	r := newRepository(t)
	r.commit(1000, "A", "one", "a")
	r.commit(1001, "A", "two ✓", "b")
	want := fmt.Sprint(events(t, r.dir))
	for _, setting := range [][2]string{{"i18n.logOutputEncoding", "ISO-8859-1"}, {"log.showRoot", "false"},
		{"log.showSignature", "true"}, {"color.ui", "always"}, {"diff.noprefix", "true"}, {"log.diffMerges", "off"}} {
		r.git("config", setting[0], setting[1])
	}
	t.Setenv("GIT_DIR", "/no/such/repository")
	if got := fmt.Sprint(events(t, r.dir)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestErrorsSayWhatIsWrong(t *testing.T) {
	r := newRepository(t)
	empty := t.TempDir()
	t.Setenv("GIT_CEILING_DIRECTORIES", filepath.Dir(empty)) // the temporary folder may be in a repository
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"no repository given": {nil, "want one repository"},
		"no such folder":      {[]string{filepath.Join(empty, "absent")}, "no such file"},
		"not a repository":    {[]string{empty}, "not a git repository"},
		"no commits":          {[]string{r.dir}, "no commit that is named HEAD"},
		"no such branch":      {[]string{"--branch", "nope", r.dir}, "no commit that is named nope"},
		"branch like a flag":  {[]string{"--branch=--all", r.dir}, "names no branch"},
		"negative max":        {[]string{"--max=-1", r.dir}, "negative"},
	} {
		t.Run(name, func(t *testing.T) {
			err := run(test.args, &bytes.Buffer{}, &bytes.Buffer{})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}

func TestGitMissingIsSaid(t *testing.T) {
	r := newRepository(t)
	t.Setenv("PATH", t.TempDir())
	err := run([]string{r.dir}, &bytes.Buffer{}, &bytes.Buffer{})
	if err == nil || !strings.Contains(err.Error(), "git is not installed") {
		t.Errorf("error %v", err)
	}
}

func TestDamagedRepositoryFailsWithGitsWords(t *testing.T) {
	r := newRepository(t)
	r.commit(1000, "A", "one", "a")
	first := events(t, r.dir)[0].Commit
	r.commit(1001, "A", "two", "a")
	if err := os.Remove(filepath.Join(r.dir, ".git", "objects", first[:2], first[2:])); err != nil {
		t.Fatal(err)
	}
	err := run([]string{r.dir}, &bytes.Buffer{}, &bytes.Buffer{})
	if err == nil || !strings.Contains(err.Error(), first) {
		t.Errorf("error %v, want git's about %s", err, first)
	}
}

// cutWriter fails after some bytes, like a full disk.
type cutWriter struct{ left int }

func (w *cutWriter) Write(b []byte) (int, error) {
	if w.left -= len(b); w.left < 0 {
		return 0, os.ErrClosed
	}
	return len(b), nil
}

func TestFailedWriteIsAnError(t *testing.T) {
	r := newRepository(t)
	r.commit(1000, "A", "one\n\n"+strings.Repeat("long ", 20_000), "a")
	for _, room := range []int{0, 50_000} {
		if err := run([]string{r.dir}, &cutWriter{room}, &bytes.Buffer{}); err == nil {
			t.Errorf("success with room for %d bytes only", room)
		}
	}
}

func TestProgressEndsWithTheFinalNumbers(t *testing.T) {
	var out bytes.Buffer
	p := startProgress(&out)
	p.add(1 << 20)
	time.Sleep(progressInterval + progressInterval/4)
	p.add(1 << 20)
	p.stop()
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], "1 commits, 1.0 MiB") || !strings.Contains(lines[1], "2 commits, 2.0 MiB") {
		t.Errorf("progress %q", lines)
	}
}
