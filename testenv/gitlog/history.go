package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"
)

// format is git's for one commit: fields that each end with a NUL, as no field
// can hold one. With -z git ends the last with a NUL of its own, then come the
// changed files (see countFiles).
const format = "tformat:%H%x00%P%x00%an%x00%ae%x00%ct%x00%s%x00%b"

// commit is one event. The order of its fields is the order in the line.
type commit struct {
	Commit    string   `json:"commit"`
	Author    string   `json:"author"`
	Email     string   `json:"email"`
	Date      string   `json:"date"`
	Timestamp int64    `json:"timestamp"`
	Subject   string   `json:"subject"`
	Body      string   `json:"body"`
	Parents   []string `json:"parents"`
	Files     int      `json:"files"`
}

// line returns the event with its line end.
func (c commit) line() ([]byte, error) {
	var line bytes.Buffer
	encoder := json.NewEncoder(&line)
	encoder.SetEscapeHTML(false) // e-mail addresses stay readable
	if err := encoder.Encode(c); err != nil {
		return nil, fmt.Errorf("encode commit %s: %w", c.Commit, err)
	}
	return line.Bytes(), nil
}

// history is a running git log.
type history struct {
	cmd    *exec.Cmd
	out    *bufio.Reader
	stdout io.Closer
	stderr bytes.Buffer
	ended  bool // its output has ended
}

// open starts to read the history of branch, oldest commit first.
func open(repository, branch string) (*history, error) {
	tip, err := resolve(repository, branch)
	if err != nil {
		return nil, err
	}
	h := &history{cmd: git(repository,
		// The user's configuration must not change the output.
		"-c", "i18n.logOutputEncoding=UTF-8", "-c", "log.showRoot=true", "-c", "log.showSignature=false",
		"log", "-z", "--reverse", "--date-order", "--no-color", "--no-notes", "--format="+format,
		"--raw", "--no-renames", "--no-ext-diff", "--diff-merges=first-parent", tip)}
	h.cmd.Stderr = &h.stderr
	stdout, err := h.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("run git log: %w", err)
	}
	if err := h.cmd.Start(); err != nil {
		return nil, fmt.Errorf("run git log: %w", err)
	}
	h.stdout, h.out = stdout, bufio.NewReaderSize(stdout, 1<<16)
	return h, nil
}

// resolve returns the hash of the commit that branch names.
func resolve(repository, branch string) (string, error) {
	if branch == "" || strings.HasPrefix(branch, "-") {
		return "", fmt.Errorf("--branch %q names no branch, tag or commit", branch)
	}
	if info, err := os.Stat(repository); err != nil {
		return "", fmt.Errorf("open repository: %w", err)
	} else if !info.IsDir() {
		return "", fmt.Errorf("open repository: %s is not a folder", repository)
	}
	if output, err := git(repository, "rev-parse", "--git-dir").CombinedOutput(); errors.Is(err, exec.ErrNotFound) {
		return "", errors.New("git is not installed; on Debian: apt-get install git")
	} else if err != nil {
		return "", fmt.Errorf("open repository %s: %s", repository, bytes.TrimSpace(output))
	}
	hash, err := git(repository, "rev-parse", "--verify", "--quiet", branch+"^{commit}").Output()
	if err != nil {
		return "", fmt.Errorf("repository %s has no commit that is named %s; name another with --branch", repository, branch)
	}
	return string(bytes.TrimSpace(hash)), nil
}

// git is a git command on the repository, whatever repository the environment
// may name (a hook's does), with messages in English.
func git(repository string, args ...string) *exec.Cmd {
	cmd := exec.Command("git", append([]string{"-C", repository}, args...)...)
	others := []string{"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR", "GIT_NAMESPACE"}
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(variable string) bool {
		name, _, _ := strings.Cut(variable, "=")
		return slices.Contains(others, name)
	}), "LC_ALL=C")
	return cmd
}

// next returns the next commit, or io.EOF after the last.
func (h *history) next() (commit, error) {
	hash, err := h.out.ReadString(0)
	if err == io.EOF && hash == "" {
		h.ended = true
		return commit{}, io.EOF
	}
	var fields [7]string
	fields[0] = hash
	for i := 1; i < len(fields) && err == nil; i++ {
		fields[i], err = h.out.ReadString(0)
	}
	if err != nil {
		return commit{}, fmt.Errorf("read git log: %w", h.cut(err))
	}
	for i, field := range fields {
		fields[i] = strings.ToValidUTF8(strings.TrimSuffix(field, "\x00"), "\uFFFD")
	}
	seconds, err := strconv.ParseInt(fields[4], 10, 64)
	if err != nil {
		return commit{}, fmt.Errorf("read date of commit %s: %w", fields[0], err)
	}
	files, err := h.countFiles()
	if err != nil {
		return commit{}, fmt.Errorf("read files of commit %s: %w", fields[0], h.cut(err))
	}
	return commit{
		Commit: fields[0], Parents: append([]string{}, strings.Fields(fields[1])...), // never null
		Author: fields[2], Email: fields[3],
		Date: time.Unix(seconds, 0).UTC().Format(time.RFC3339), Timestamp: seconds * 1000,
		Subject: fields[5], Body: strings.TrimRight(fields[6], "\n"), Files: files,
	}, nil
}

// countFiles counts the changed files after a commit's fields: a line end,
// then for each file ":<modes, hashes, status>" NUL "<path>" NUL. The next
// commit begins with its hash, so never with a colon.
func (h *history) countFiles() (int, error) {
	if first, err := h.out.Peek(1); err != nil || first[0] != '\n' {
		return 0, notEOF(err)
	}
	if _, err := h.out.Discard(1); err != nil {
		return 0, err
	}
	for n := 0; ; n++ {
		if first, err := h.out.Peek(1); err != nil || first[0] != ':' {
			return n, notEOF(err)
		}
		for range 2 {
			if err := h.skipField(); err != nil {
				return n, err
			}
		}
	}
}

func (h *history) skipField() error {
	for {
		_, err := h.out.ReadSlice(0)
		if err != bufio.ErrBufferFull {
			return err
		}
	}
}

// notEOF lets the end of the output pass where a commit may end.
func notEOF(err error) error {
	if err == io.EOF {
		return nil
	}
	return err
}

// cut notes that the output ended where no commit may end; close returns the
// reason.
func (h *history) cut(err error) error {
	if err == io.EOF {
		h.ended = true
		return io.ErrUnexpectedEOF
	}
	return err
}

// close ends git if it still runs, and reports its failure if it ended by
// itself.
func (h *history) close() error {
	if !h.ended {
		// Not waiting for the rest: git ends on the closed pipe.
		if err := errors.Join(h.stdout.Close(), h.cmd.Process.Kill()); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return fmt.Errorf("end git log: %w", err)
		}
		_ = h.cmd.Wait() // says that it was killed
		return nil
	}
	if err := h.cmd.Wait(); err != nil {
		return fmt.Errorf("git log: %w: %s", err, bytes.TrimSpace(h.stderr.Bytes()))
	}
	return nil
}
