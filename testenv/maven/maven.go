// Package maven brings libraries of Java for programs that tests and
// measurements run.
//
// It owns the folders of jars in varve's cache, one for each pinned list. It
// promises that a folder is absent or whole. It builds nothing, and it names no
// registry: Maven asks the one that the user has configured.
package maven

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/varvelog/varve/testenv/cache"
)

// ErrMissing: a program that is needed is not installed.
var ErrMissing = errors.New("is not installed")

// plugin is pinned, so that all machines do the same.
const plugin = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"

// Jars returns the class path of a profile of a pom, of all of it if the
// profile is empty. It fetches the jars first if the cache does not have them.
// The name and the pom decide the content. Reports of waiting go to progress.
func Jars(ctx context.Context, name string, pom []byte, profile string, progress io.Writer) (string, error) {
	path, err := cache.Path(name, pom)
	if err != nil {
		return "", err
	}
	err = cache.Folder(path, progress, func(dir string) error { return fetch(ctx, dir, pom, profile, progress) })
	return filepath.Join(path, "*"), err
}

func fetch(ctx context.Context, dir string, pom []byte, profile string, progress io.Writer) error {
	program, err := Look("mvn")
	if err != nil {
		return err
	}
	temp, err := os.MkdirTemp("", "varve-maven-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	file := filepath.Join(temp, "pom.xml")
	if err := os.WriteFile(file, pom, 0o600); err != nil {
		return err
	}
	args := []string{"-q", "-B", "--strict-checksums", "-f", file, plugin, "-DincludeScope=runtime", "-DoutputDirectory=" + dir}
	if profile != "" {
		args = append(args, "-P", profile)
	}
	fmt.Fprintln(progress, "fetching jars by Maven")
	var output bytes.Buffer
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("fetch jars by Maven: %w\n%s", err, output.String())
	}
	return nil
}

// Look returns the path of a program, or an error that wraps ErrMissing.
func Look(program string) (string, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		return "", fmt.Errorf("%s %w", program, ErrMissing)
	}
	return path, nil
}
