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

// consent asks before something is done for good. If there is no terminal to
// ask at, only --yes is consent.
func consent(env *Env, yes bool, question string) error {
	if yes {
		return nil
	}
	if !isTerminal(env.Stdin) {
		return usagef("nothing was deleted: standard input is not a terminal, so varve cannot ask; add --yes to delete for good")
	}
	fmt.Fprintf(env.Stderr, "%s Type yes: ", question)
	answer, err := bufio.NewReader(env.Stdin).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read the answer: %w", err)
	}
	if strings.TrimSpace(answer) != "yes" {
		return errors.New("nothing was deleted: the answer was not yes")
	}
	return nil
}
