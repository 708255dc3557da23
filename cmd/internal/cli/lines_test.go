package cli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/varvelog/varve/testenv/seeded"
)

func readerSource(r io.Reader) source {
	return source{name: "input", open: func() (io.ReadCloser, error) { return io.NopCloser(r), nil }}
}

// collect returns the lines as they were when they were emitted, and as they
// are when all input has been read: they must not change in between.
func collect(t *testing.T, r io.Reader, limit int) (then, now []string, err error) {
	t.Helper()
	var lines [][]byte
	err = eachLine(t.Context(), readerSource(r), limit, func(number int64, line []byte) error {
		lines = append(lines, line)
		then = append(then, string(line))
		if number != int64(len(lines)) {
			t.Fatalf("line %d has number %d", len(lines), number)
		}
		return nil
	})
	for _, l := range lines {
		now = append(now, string(l))
	}
	return then, now, err
}

func TestLinesAreCutAtLineFeedsAndNowhereElse(t *testing.T) {
	for input, want := range map[string]string{
		"": "", "\n": "|", "a": "a|", "a\n": "a|", "a\nb": "a|b|", "\n\na\r\n": "||a\r|", "a\x00\x85\u2028b\n\n": "a\x00\x85\u2028b||",
	} {
		for name, r := range map[string]io.Reader{
			"whole": strings.NewReader(input), "bytewise": iotest.OneByteReader(strings.NewReader(input)),
			"with the end": iotest.DataErrReader(strings.NewReader(input)),
		} {
			lines, _, err := collect(t, r, 100)
			got := strings.Join(append(lines, ""), "|")
			if err != nil || got != want {
				t.Errorf("%q %s: got %q, %v, want %q", input, name, got, err, want)
			}
		}
	}
}

func TestLinesOfAnySizeComeWholeAndStayUntouched(t *testing.T) {
	seed := seeded.Seed(t)
	random := rand.New(rand.NewPCG(seed, 0))
	var want []string
	var input bytes.Buffer
	for range 300 {
		line := strings.Repeat(string(rune('a'+random.IntN(26))), random.IntN(1<<random.IntN(19)))
		want = append(want, line)
		input.WriteString(line + "\n")
	}
	then, now, err := collect(t, iotest.HalfReader(bytes.NewReader(input.Bytes())), 1<<19)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Join(then, "\n") != strings.Join(want, "\n") || strings.Join(now, "\n") != strings.Join(want, "\n") {
		t.Fatal("lines differ")
	}
}

func TestTheLimitIsTheLongestLineThatPasses(t *testing.T) {
	long := strings.Repeat("x", blockSize+10)
	for _, r := range []func(io.Reader) io.Reader{func(r io.Reader) io.Reader { return r }, iotest.HalfReader} {
		if _, _, err := collect(t, r(strings.NewReader("a\n"+long+"\n")), len(long)); err != nil {
			t.Fatal(err)
		}
		for _, end := range []string{"", "\n", "\nb\n"} {
			lines, _, err := collect(t, r(strings.NewReader("a\n"+long+end)), len(long)-1)
			if !errors.Is(err, errLineTooLong) || !strings.Contains(err.Error(), "input, line 2:") || len(lines) != 1 {
				t.Fatalf("got %v after %d lines", err, len(lines))
			}
		}
	}
}

func TestAnInterruptionIsNotHeldUpByAQuietInput(t *testing.T) {
	input, lines := io.Pipe()
	defer lines.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go io.WriteString(lines, "a\nb")
	var got []string
	err := eachLine(ctx, readerSource(input), 100, func(_ int64, line []byte) error {
		got = append(got, string(line))
		cancel()
		return nil
	})
	if !errors.Is(err, errInterrupted) || len(got) != 1 {
		t.Fatalf("got %v after %q", err, got)
	}
}
