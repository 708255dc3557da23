package cli_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"golang.org/x/sys/unix"

	"github.com/varvelog/varve/cmd/internal/cli"
)

// asking are the commands that ask before they delete, with their questions.
var asking = []struct {
	line, question string
}{
	{"topic delete a b", "Delete a and b and all records in it, for good?"},
	{"topic delete-records a --before latest", "Delete the records at 0 offsets of a, for good?"},
	{"group delete g h", "Delete the committed offsets of g and h, for good?"},
}

func TestDeletingWithoutATerminalNeedsAYes(t *testing.T) {
	null, err := os.Open(os.DevNull) // a character device, as a terminal is
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	c := broker(t, kfake.SeedTopics(1, "a", "b"))
	for _, a := range asking {
		c.stdin = null
		if o := c.run(t, strings.Fields(a.line)...); strings.Contains(o.stderr, "Type yes") {
			t.Errorf("%s: asks without a terminal: %s", a.line, o.stderr)
		} else {
			o.expect(t, cli.ExitUsage, "nothing was deleted", "not a terminal", "--yes")
		}
		c.reading("yes\n").run(t, strings.Fields(a.line)...).expect(t, cli.ExitUsage, "--yes")
	}
	if o := c.run(t, "topic", "list"); !strings.Contains(o.stdout, "\na ") {
		t.Fatalf("got %s", o.stdout)
	}
}

// terminal opens a pseudo-terminal: text written to the first is typed at the
// second.
func terminal(t *testing.T) (keyboard, stdin *os.File) {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no pseudo-terminals here: %v", err)
	}
	t.Cleanup(func() { keyboard.Close() })
	if err := unix.IoctlSetPointerInt(int(keyboard.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Skipf("no pseudo-terminals here: %v", err)
	}
	n, err := unix.IoctlGetInt(int(keyboard.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Skipf("no pseudo-terminals here: %v", err)
	}
	stdin, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stdin.Close() })
	return keyboard, stdin
}

func TestProduceAtATerminalSaysWhatItWaitsFor(t *testing.T) {
	c := broker(t, kfake.SeedTopics(1, "t"))
	keyboard, stdin := terminal(t)
	c.stdin = stdin
	if _, err := keyboard.WriteString("a\nb\n\x04"); err != nil {
		t.Fatal(err)
	}
	c.run(t, "produce", "t").expect(t, cli.ExitOK, "each line you type becomes a record; Ctrl-D ends", "2 records")
	if o := c.reading("c\n").run(t, "produce", "t"); strings.Contains(o.stderr, "Ctrl-D") {
		t.Errorf("got %s", o.stderr)
	}
}

func TestDeletingAsksOnATerminal(t *testing.T) {
	c := broker(t, kfake.SeedTopics(1, "a", "b"))
	for _, a := range asking {
		for _, answer := range []string{"y\n", "no\n", "\n", "\x04"} {
			keyboard, stdin := terminal(t)
			c.stdin = stdin
			if _, err := keyboard.WriteString(answer); err != nil {
				t.Fatal(err)
			}
			c.run(t, strings.Fields(a.line)...).expect(t, cli.ExitFailure, a.question+" Type yes: ", "nothing was deleted")
		}
	}
	keyboard, stdin := terminal(t)
	c.stdin = stdin
	if _, err := keyboard.WriteString("yes\n"); err != nil {
		t.Fatal(err)
	}
	c.run(t, "topic", "delete", "a").expect(t, cli.ExitOK, `deleted topic "a"`)
}
