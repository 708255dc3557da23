package file

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/varvelog/varve/tiering/objstore"
)

// recorder writes down every step on a disk, and fails a chosen one.
type recorder struct {
	osDisk
	root string
	fail func(step string) error

	mu    sync.Mutex
	steps []string
}

func (r *recorder) step(format string, paths ...any) error {
	for i, path := range paths {
		rel, _ := filepath.Rel(r.root, path.(string))
		if strings.HasPrefix(rel, tempFolder+"/") {
			rel = tempFolder + "/*"
		}
		paths[i] = rel
	}
	step := fmt.Sprintf(format, paths...)
	r.mu.Lock()
	r.steps = append(r.steps, step)
	r.mu.Unlock()
	if r.fail != nil {
		return r.fail(step)
	}
	return nil
}

func (r *recorder) mkdir(path string) error {
	return or(r.step("mkdir %s", path), func() error { return r.osDisk.mkdir(path) })
}

func (r *recorder) create(path string) (f diskFile, err error) {
	err = or(r.step("create %s", path), func() error { f, err = r.osDisk.create(path); return err })
	return recordedFile{r, f, path}, err
}

type recordedFile struct {
	r    *recorder
	f    diskFile
	path string
}

func (f recordedFile) Write(data []byte) (n int, err error) {
	err = or(f.r.step("write %s", f.path), func() error { n, err = f.f.Write(data); return err })
	return n, err
}

func (f recordedFile) Sync() error {
	return or(f.r.step("sync %s", f.path), f.f.Sync)
}

func (f recordedFile) Close() error {
	err := f.f.Close()
	return or(f.r.step("close %s", f.path), func() error { return err })
}

func (r *recorder) link(path, newPath string) error {
	return or(r.step("link %s %s", path, newPath), func() error { return r.osDisk.link(path, newPath) })
}

func (r *recorder) unlink(path string) error {
	return or(r.step("unlink %s", path), func() error { return r.osDisk.unlink(path) })
}

func (r *recorder) syncFolder(path string) error {
	return or(r.step("sync %s", path), func() error { return r.osDisk.syncFolder(path) })
}

func or(err error, do func() error) error {
	if err != nil {
		return err
	}
	return do()
}

// take returns the steps since the last call.
func (r *recorder) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	steps := r.steps
	r.steps = nil
	return steps
}

func openRecorded(t *testing.T, root string) (*Store, *recorder) {
	t.Helper()
	r := &recorder{root: root}
	s, err := openOn(r, root)
	if err != nil {
		t.Fatal(err)
	}
	return s, r
}

func wantSteps(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n  %s\nwant:\n  %s", what, strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

// The order of these steps is the durability of the store: change it with care.
func TestEveryNameIsSyncedAfterWhatItStandsFor(t *testing.T) {
	s, r := openRecorded(t, t.TempDir())
	create := func(key string) error { return s.Create(t.Context(), key, objstore.Plain([]byte("data"))) }

	if err := create("journals/7/a"); err != nil {
		t.Fatal(err)
	}
	wantSteps(t, "first Create", r.take(),
		"sync .", "mkdir journals", "sync .", "sync journals", "mkdir journals/7", "sync journals", "sync journals/7",
		"mkdir .tmp", "sync .", "sync .tmp",
		"create .tmp/*", "write .tmp/*", "sync .tmp/*", "close .tmp/*", "link .tmp/* journals/7/a", "sync journals/7", "unlink .tmp/*")

	if err := create("journals/7/b"); err != nil {
		t.Fatal(err)
	}
	wantSteps(t, "second Create", r.take(),
		"create .tmp/*", "write .tmp/*", "sync .tmp/*", "close .tmp/*", "link .tmp/* journals/7/b", "sync journals/7", "unlink .tmp/*")

	if err := create("journals/7/b"); !errors.Is(err, objstore.ErrExists) {
		t.Fatal(err)
	}
	wantSteps(t, "refused Create", r.take(), "sync journals/7")

	if _, err := s.Get(t.Context(), "journals/7/a"); err != nil {
		t.Fatal(err)
	}
	wantSteps(t, "get of an object that this process created", r.take())

	if err := s.Delete(t.Context(), "journals/7/a"); err != nil {
		t.Fatal(err)
	}
	wantSteps(t, "Delete", r.take(), "unlink journals/7/a", "sync journals/7")
}

func TestWhatAnEarlierProcessNamedIsSyncedBeforeItIsRead(t *testing.T) {
	root := t.TempDir()
	first, _ := openRecorded(t, root)
	if err := first.Create(t.Context(), "journals/7/a", objstore.Plain([]byte("data"))); err != nil {
		t.Fatal(err)
	}
	s, r := openRecorded(t, root)
	for i, want := range [][]string{{"sync .", "sync journals", "sync journals/7"}, nil} {
		if _, err := s.Get(t.Context(), "journals/7/a"); err != nil {
			t.Fatal(err)
		}
		wantSteps(t, fmt.Sprintf("Get %d", i), r.take(), want...)
	}
}

func TestAnObjectWhoseFolderIsNotYetSyncedIsSyncedByItsReader(t *testing.T) {
	s, r := openRecorded(t, t.TempDir())
	if err := s.Create(t.Context(), "a/0", objstore.Plain(nil)); err != nil {
		t.Fatal(err)
	}
	r.take()
	r.fail = func(step string) error {
		if step != "sync a" {
			return nil
		}
		r.fail = nil // the reader's own sync is the second
		if _, err := s.Get(t.Context(), "a/1"); err != nil {
			t.Error(err)
		}
		return nil
	}
	if err := s.Create(t.Context(), "a/1", objstore.Plain(nil)); err != nil {
		t.Fatal(err)
	}
	wantSteps(t, "Create, and Get at its last sync", r.take(),
		"create .tmp/*", "write .tmp/*", "sync .tmp/*", "close .tmp/*", "link .tmp/* a/1", "sync a", "sync a", "unlink .tmp/*")
}

func TestAnyStepThatFailsFailsTheCreateAndNextTimeItIsDoneAgain(t *testing.T) {
	s, r := openRecorded(t, t.TempDir())
	if err := s.Create(t.Context(), "a/b", objstore.Plain([]byte("data"))); err != nil {
		t.Fatal(err)
	}
	steps := r.take()
	for n := range steps[:len(steps)-1] { // the last removes the temporary name
		t.Run(fmt.Sprintf("%d %s", n, steps[n]), func(t *testing.T) {
			s, r := openRecorded(t, t.TempDir())
			i := 0
			r.fail = func(string) error {
				if i++; i == n+1 {
					return syscall.EIO
				}
				return nil
			}
			err := s.Create(t.Context(), "a/b", objstore.Plain([]byte("data")))
			if !errors.Is(err, syscall.EIO) || errors.Is(err, objstore.ErrExists) {
				t.Fatalf("error %v", err)
			}
			named := slices.ContainsFunc(r.take(), func(s string) bool { return strings.HasPrefix(s, "link") && !strings.HasPrefix(steps[n], "link") })
			got, err := s.Get(t.Context(), "a/b")
			if named != (err == nil) || !named && !errors.Is(err, objstore.ErrNotFound) || named && string(got) != "data" {
				t.Errorf("Get: %q, %v", got, err)
			}
			if named && !slices.Contains(r.take(), "sync a") {
				t.Error("read before its name was synced")
			}
			err = s.Create(t.Context(), "a/b", objstore.Plain([]byte("data")))
			if named && !errors.Is(err, objstore.ErrExists) || !named && err != nil {
				t.Errorf("Create again: %v", err)
			}
			if !slices.Contains(r.take(), "sync a") {
				t.Error("created again, and not synced")
			}
			if temps, _ := filepath.Glob(filepath.Join(s.root, tempFolder, "*")); len(temps) != 0 {
				t.Errorf("left %q", temps)
			}
		})
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	for _, c := range []struct {
		err  error
		want error
		says string
	}{
		{syscall.ENOSPC, syscall.ENOSPC, "no space left in the store: free space"},
		{syscall.EDQUOT, syscall.EDQUOT, "no space left in the store: free space"},
		{syscall.EROFS, objstore.ErrDenied, "read-only"},
		{syscall.EACCES, objstore.ErrDenied, "permission denied"},
		{fs.ErrPermission, objstore.ErrDenied, "permission denied"},
		{syscall.EIO, syscall.EIO, "input/output error"},
	} {
		s, r := openRecorded(t, t.TempDir())
		r.fail = func(step string) error {
			if step == "write .tmp/*" {
				return &fs.PathError{Op: "write", Path: "x", Err: c.err}
			}
			return nil
		}
		err := s.Create(t.Context(), "a", objstore.Plain([]byte("data")))
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v: %v", c.err, err)
		}
		for _, sentinel := range []error{objstore.ErrExists, objstore.ErrNotFound, objstore.ErrNoBucket} {
			if errors.Is(err, sentinel) {
				t.Errorf("%v is %v", err, sentinel)
			}
		}
	}
}
