package maven

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// fakeMaven puts a program named mvn first on the path, and an empty cache.
func fakeMaven(t *testing.T, script string) {
	t.Helper()
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "mvn"), []byte("#!/bin/sh\n"+script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
}

func TestJarsAreFetchedOnce(t *testing.T) {
	count := filepath.Join(t.TempDir(), "count")
	fakeMaven(t, `echo run >> `+count+`
for a; do case $a in -DoutputDirectory=*) touch "${a#-DoutputDirectory=}/a.jar";; esac; done
`)
	for range 2 {
		path, err := Jars(t.Context(), "jars", []byte("<project/>"), "p", io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		if found, err := filepath.Glob(path); err != nil || len(found) != 1 || filepath.Base(found[0]) != "a.jar" {
			t.Fatalf("%s has %v, %v", path, found, err)
		}
	}
	if runs, err := os.ReadFile(count); err != nil || string(runs) != "run\n" {
		t.Errorf("Maven ran: %q, %v", runs, err)
	}
}

func TestAFailureOfMavenLeavesNoFolder(t *testing.T) {
	fakeMaven(t, "exit 3")
	for range 2 {
		if _, err := Jars(t.Context(), "jars", nil, "", io.Discard); err == nil {
			t.Fatal("the second time, an empty folder is taken")
		}
	}
}

func TestAMissingProgramIsNamed(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	_, err := Jars(t.Context(), "jars", nil, "", io.Discard)
	if !errors.Is(err, ErrMissing) || err.Error() != "mvn is not installed" {
		t.Fatalf("got %v", err)
	}
}
