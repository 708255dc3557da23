// Command gitlog turns the history of a git repository into events: one JSON
// object a line on standard output, one line a commit, oldest first. Its
// purpose is to fill varve with real data.
//
//	gitlog [--branch REVISION] [--max N] REPOSITORY > events.jsonl
//
// REPOSITORY is a clone, bare or with a work tree. A line has these fields:
//
//	commit     hash, hexadecimal
//	author     name
//	email      the author's
//	date       committer date, RFC 3339 in UTC
//	timestamp  the same in milliseconds since 1970
//	subject    first paragraph of the message
//	body       the rest of the message
//	parents    hashes; empty for a first commit
//	files      number of files it changes against its first parent
//
// It promises that no commit comes before its parents (timestamps therefore may
// go back where clocks did). Every line is valid UTF-8 (invalid bytes become
// U+FFFD), and the same history gives the same bytes. It reads as git writes,
// and keeps no more than one commit in memory. It never changes the repository.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/pflag"
)

const usage = "usage: gitlog [--branch REVISION] [--max N] REPOSITORY > events.jsonl"

// progressInterval is the time between two lines of progress, and so the
// longest silence of a run.
const progressInterval = 2 * time.Second

func main() {
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "gitlog:", err)
		os.Exit(1)
	}
}

func run(args []string, stdout, stderr io.Writer) error {
	flags := pflag.NewFlagSet("gitlog", pflag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprintf(stderr, "%s\n%s", usage, flags.FlagUsages()) }
	branch := flags.String("branch", "HEAD", "branch, tag or commit whose history to write")
	limit := flags.Int("max", 0, "end after this many commits, the oldest; 0: all")
	if err := flags.Parse(args); errors.Is(err, pflag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	if flags.NArg() != 1 {
		return fmt.Errorf("want one repository, got %d\n%s", flags.NArg(), usage)
	}
	if *limit < 0 {
		return fmt.Errorf("--max %d is negative", *limit)
	}
	return write(flags.Arg(0), *branch, *limit, stdout, stderr)
}

// write writes the events of the first limit commits of branch, all for 0.
func write(repository, branch string, limit int, stdout, stderr io.Writer) error {
	history, err := open(repository, branch)
	if err != nil {
		return err
	}
	progress := startProgress(stderr)
	defer progress.stop()
	out := bufio.NewWriterSize(stdout, 1<<16)
	for n := 0; limit == 0 || n < limit; n++ {
		commit, err := history.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return errors.Join(err, history.close())
		}
		line, err := commit.line()
		if err != nil {
			return errors.Join(err, history.close())
		}
		if _, err := out.Write(line); err != nil {
			return errors.Join(fmt.Errorf("write events: %w", err), history.close())
		}
		progress.add(len(line))
	}
	if err := history.close(); err != nil {
		return err
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write events: %w", err)
	}
	return nil
}
