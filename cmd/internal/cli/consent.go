package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// isTerminal reports whether a person may sit at the other end. The null device
// is a character device too: only a terminal has a size.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	return err == nil
}

// consent asks before something is deleted for good.
func consent(env *Env, yes bool, question string) error {
	return agree(env, yes, question, "nothing was deleted", "to delete for good")
}

// agree asks before something is done for good. If there is no terminal to ask at, only
// --yes is consent. The refusal begins with undone, and gives the purpose of --yes.
func agree(env *Env, yes bool, question, undone, to string) error {
	if yes {
		return nil
	}
	if !isTerminal(env.Stdin) {
		return usagef("%s: standard input is not a terminal, so varve cannot ask; add --yes %s", undone, to)
	}
	fmt.Fprintf(env.Stderr, "%s Type yes: ", question)
	answer, err := bufio.NewReader(env.Stdin).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read the answer: %w", err)
	}
	if strings.TrimSpace(answer) != "yes" {
		return fmt.Errorf("%s: the answer was not yes", undone)
	}
	return nil
}
