package stored

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"time"

	"github.com/varvelog/varve/testenv/cache"
)

// Program is a store that can be built and run.
type Program struct {
	Name    string // of its pin, too
	command string // the main package of its server

	// run returns the arguments and the environment of a server that keeps its data in dir
	// and listens at address.
	run func(dir, address string) (args, env []string, err error)
}

// Programs are all of them.
var Programs = []Program{versity, seaweed}

// module finds the root of the repository.
var module = regexp.MustCompile(`(?m)^module github\.com/varvelog/varve$`)

// pin returns the folder of the module that pins the program, in the repository that the
// working directory is in.
func (p Program) pin() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the repository: %w", err)
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		goMod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && module.Match(goMod) {
			return filepath.Join(dir, "testenv", "stored", "pin", p.Name), nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("find the repository: no go.mod of varve in or above %s", start)
		}
	}
}

// Build returns the path of the binary, after building it if it is not there yet. That
// takes minutes, and needs the go command and a module proxy. A build that fails or is
// ended leaves nothing behind.
func (p Program) Build(ctx context.Context, progress io.Writer) (string, error) {
	pin, err := p.pin()
	if err != nil {
		return "", err
	}
	var pins [][]byte
	for _, name := range []string{"go.mod", "go.sum"} {
		text, err := os.ReadFile(filepath.Join(pin, name))
		if err != nil {
			return "", fmt.Errorf("read the pin of %s: %w", p.Name, err)
		}
		pins = append(pins, text)
	}
	path, err := cache.Path("store-"+p.Name, pins...)
	if err != nil {
		return "", err
	}
	err = cache.Folder(path, progress, func(dir string) error {
		fmt.Fprintf(progress, "building %s once, which takes minutes\n", p.Name)
		return p.build(ctx, pin, filepath.Join(dir, p.Name))
	})
	if err != nil {
		return "", fmt.Errorf("build %s: %w", p.Name, err)
	}
	return filepath.Join(path, p.Name), nil
}

func (p Program) build(ctx context.Context, pin, binary string) error {
	var output bytes.Buffer
	cmd := exec.CommandContext(ctx, "go", "build", "-mod=readonly", "-buildvcs=false", "-trimpath", "-ldflags=-s -w", "-o", binary, p.command)
	cmd.Dir, cmd.Stdout, cmd.Stderr = pin, &output, &output
	// No workspace of the user may change the pin.
	cmd.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0")
	// The go command ends its compilers on an interrupt, not when killed.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Run(); err != nil {
		return errors.Join(err, errors.New(output.String()))
	}
	return nil
}
