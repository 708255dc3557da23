package cache_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/varvelog/varve/testenv/cache"
)

func TestFolderIsAbsentOrWhole(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_CACHE_HOME", home)
	path, err := cache.Path("things-1.0", []byte("pins"))
	if err != nil {
		t.Fatal(err)
	}
	half := func(dir string) error {
		return errors.Join(os.WriteFile(filepath.Join(dir, "half"), nil, 0o600), errors.New("the registry is away"))
	}
	if err := cache.Folder(path, io.Discard, half); err == nil || err.Error() != "the registry is away" {
		t.Fatalf("a folder that could not be made: %v", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("half a folder is there: %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(path), "making-*")); err != nil || len(left) > 0 {
		t.Fatalf("left behind: %q, %v", left, err)
	}
	made := 0
	whole := func(dir string) error {
		made++
		return os.WriteFile(filepath.Join(dir, "whole"), nil, 0o600)
	}
	for range 2 {
		if err := cache.Folder(path, io.Discard, whole); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(filepath.Join(path, "whole")); err != nil || made != 1 {
		t.Errorf("made %d times: %v", made, err)
	}
}

func TestOtherPinsAreAnotherEntry(t *testing.T) {
	one, err1 := cache.Path("things", []byte("a"))
	other, err2 := cache.Path("things", []byte("b"))
	if err1 != nil || err2 != nil || one == other {
		t.Errorf("%s and %s: %v, %v", one, other, err1, err2)
	}
}
