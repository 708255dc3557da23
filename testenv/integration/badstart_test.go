package integration

import (
	"strings"
	"testing"

	"github.com/varvelog/varve/testenv"
)

// wantRefusal wants `varve serve` to end with a code and one line that has all
// the words.
func wantRefusal(t *testing.T, v testenv.Varve, code int, words ...string) {
	t.Helper()
	out := refused(t, v)
	if out.Code != code {
		t.Errorf("exit code %d, want %d", out.Code, code)
	}
	wantLine(t, string(out.Stderr), words...)
}

// refused runs a node that must not start.
func refused(t *testing.T, v testenv.Varve) testenv.Output {
	t.Helper()
	given := map[string]bool{}
	for _, arg := range v.Args {
		name, _, _ := strings.Cut(arg, "=")
		given[name] = true
	}
	v.Args = append([]string{"serve"}, v.Args...)
	for name, value := range map[string]func() string{
		"--listen": func() string { return testenv.FreeAddr(t) }, "--http": func() string { return testenv.FreeAddr(t) },
		"--data-dir": t.TempDir,
	} {
		if !given[name] {
			v.Args = append(v.Args, name, value())
		}
	}
	out := v.Run(t, patience)
	if out.Code == 0 {
		t.Fatalf("varve %q ended with code 0:\n%s", v.Args, out.Stderr)
	}
	return out
}

// wantLine wants the last line printed to be the error, with all the words, and
// no other line but log lines.
func wantLine(t *testing.T, output string, words ...string) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(output), "\n")
	last := lines[len(lines)-1]
	if !strings.HasPrefix(last, "varve: ") {
		t.Errorf("the last line is no error: %q", last)
	}
	for _, word := range words {
		if !strings.Contains(last, word) {
			t.Errorf("the error %q lacks %q", last, word)
		}
	}
	for _, line := range lines[:len(lines)-1] {
		if !strings.HasPrefix(line, "time=") {
			t.Errorf("a line that is no log line: %q", line)
		}
	}
	if strings.Contains(output, "goroutine ") {
		t.Errorf("a stack trace:\n%s", output)
	}
}
