package file_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/file"
	"github.com/varvelog/varve/tiering/objstore/storetest"
)

func TestStoreKeepsTheContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) objstore.Store { return open(t, t.TempDir()) })
}

func TestALargeObjectIsStreamed(t *testing.T) { storetest.BoundedMemory(t, open(t, t.TempDir())) }

func open(t testing.TB, root string) *file.Store {
	t.Helper()
	s, err := file.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestRacingStoresOnOneFolderHaveOneWinner(t *testing.T) {
	root := t.TempDir()
	const stores, keys = 8, 20
	winners := make([][]int, keys)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range stores {
		s := open(t, root)
		wg.Go(func() {
			for k := range keys {
				err := s.Create(t.Context(), fmt.Sprintf("a/%d/object", k), objstore.Plain(fmt.Appendf(nil, "store %d", i)))
				if err == nil {
					mu.Lock()
					winners[k] = append(winners[k], i)
					mu.Unlock()
				} else if !errors.Is(err, objstore.ErrExists) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for k, w := range winners {
		got, err := open(t, root).Get(t.Context(), fmt.Sprintf("a/%d/object", k))
		if len(w) != 1 || err != nil || string(got) != fmt.Sprintf("store %d", w[0]) {
			t.Errorf("key %d: winners %v, read %q, %v", k, w, got, err)
		}
	}
}

func TestLeftoversAreInvisibleAndRemovedWhenOld(t *testing.T) {
	root := t.TempDir()
	s := open(t, root)
	if err := s.Create(t.Context(), "a", objstore.Plain([]byte("x"))); err != nil {
		t.Fatal(err)
	}
	old, young := filepath.Join(root, ".tmp", "old"), filepath.Join(root, ".tmp", "young")
	for _, name := range []string{old, young} {
		if err := os.WriteFile(name, []byte("half an obj"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	long := time.Now().Add(-24 * time.Hour)
	if err := os.Chtimes(old, long, long); err != nil {
		t.Fatal(err)
	}
	s = open(t, root)
	if keys := list(t, s); !slices.Equal(keys, []string{"a"}) {
		t.Errorf("listed %q", keys)
	}
	if _, err := os.Stat(old); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("old leftover: %v", err)
	}
	if _, err := os.Stat(young); err != nil {
		t.Errorf("young leftover: %v", err)
	}
	for _, call := range []error{
		s.Create(t.Context(), ".tmp/mine", objstore.Plain(nil)), s.Delete(t.Context(), ".tmp/young"),
		func() error { _, err := s.Get(t.Context(), ".tmp/young"); return err }(),
	} {
		if call == nil || errors.Is(call, objstore.ErrNotFound) {
			t.Errorf("a key in the store's own folder: %v", call)
		}
	}
}

func TestAMissingFolderIsErrNoBucketAndNotCreatedAgain(t *testing.T) {
	root := filepath.Join(t.TempDir(), "a", "bucket")
	if _, err := file.Open(root); !errors.Is(err, objstore.ErrNoBucket) {
		t.Errorf("Open: %v", err)
	}
	for range 2 { // the second finds it
		if err := file.EnsureFolder(root); err != nil {
			t.Fatal(err)
		}
	}
	s := open(t, root)
	if err := s.Create(t.Context(), "x/y", objstore.Plain([]byte("data"))); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(root); err != nil {
		t.Fatal(err)
	}
	_, getErr := s.Get(t.Context(), "x/y")
	for name, err := range map[string]error{
		"Get":    getErr,
		"Create": s.Create(t.Context(), "x/z", objstore.Plain(nil)),
		"Delete": s.Delete(t.Context(), "x/y"),
		"List":   s.List(t.Context(), "", "", func(objstore.Info) error { return nil }),
		"again":  s.Create(t.Context(), "x/z", objstore.Plain(nil)),
	} {
		if !errors.Is(err, objstore.ErrNoBucket) || errors.Is(err, objstore.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := os.Stat(root); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder is back: %v", err)
	}
}

func TestAFolderThatWasRemovedDuringAWriteIsMadeAgain(t *testing.T) {
	root := t.TempDir()
	s := open(t, root)
	for _, remove := range []string{"x", ".tmp"} {
		if err := s.Create(t.Context(), "x/"+remove, objstore.Plain([]byte("data"))); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(filepath.Join(root, remove)); err != nil {
			t.Fatal(err)
		}
		if err := s.Create(t.Context(), "x/y/"+remove, objstore.Plain(nil)); err == nil {
			continue // its parents were not known, and made
		}
		if err := s.Create(t.Context(), "x/y/"+remove, objstore.Plain(nil)); err != nil {
			t.Errorf("after %s was removed: %v", remove, err)
		}
	}
}

func TestOpenOfAFileFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := file.Open(path); err == nil || !strings.Contains(err.Error(), "not a folder") {
		t.Errorf("error %v", err)
	}
	if err := file.EnsureFolder(path); err == nil {
		t.Error("EnsureFolder: no error")
	}
}

func TestAKeyCannotBeAFolderOfOthers(t *testing.T) {
	s := open(t, t.TempDir())
	if err := s.Create(t.Context(), "a/b", objstore.Plain([]byte("x"))); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"a", "a/b/c"} {
		err := s.Create(t.Context(), key, objstore.Plain(nil))
		if err == nil || errors.Is(err, objstore.ErrExists) || !strings.Contains(err.Error(), "cannot hold both") {
			t.Errorf("Create %s: %v", key, err)
		}
		if _, err := s.Get(t.Context(), key); !errors.Is(err, objstore.ErrNotFound) {
			t.Errorf("Get %s: %v", key, err)
		}
	}
	if got, err := s.Get(t.Context(), "a/b"); err != nil || string(got) != "x" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestAnObjectIsReadOnly(t *testing.T) {
	root := t.TempDir()
	if err := open(t, root).Create(t.Context(), "a", objstore.Plain([]byte("x"))); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(root, "a"))
	if err != nil || info.Mode().Perm()&0o222 != 0 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func list(t *testing.T, s objstore.Store) (keys []string) {
	t.Helper()
	err := s.List(t.Context(), "", "", func(i objstore.Info) error { keys = append(keys, i.Key); return nil })
	if err != nil {
		t.Error(err)
	}
	return keys
}

func BenchmarkStore(b *testing.B) { storetest.Benchmark(b, open(b, b.TempDir())) }

// The age of a bucket is that of objects that were there before: those that the process
// itself creates agree with its clock, however wrong that is.
func TestTheNewestObjectIsOneThatWasThereBefore(t *testing.T) {
	root := t.TempDir()
	first := open(t, root)
	now := time.Now()
	for key, age := range map[string]time.Duration{"a": 48 * time.Hour, "b": 24 * time.Hour, "journals/0/c": 36 * time.Hour} {
		if err := first.Create(t.Context(), key, objstore.Plain([]byte(key))); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(filepath.Join(root, key), now, now.Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	s := objstore.Instrument(open(t, root), func(objstore.Op, int64, time.Duration, error) {})
	newest := func() time.Duration { return now.Sub(s.(objstore.Dated).NewestModified()).Round(time.Hour) }
	if at := s.(objstore.Dated).NewestModified(); !at.IsZero() {
		t.Errorf("before any read: %v", at)
	}
	if err := s.Create(t.Context(), "d", objstore.Plain([]byte("d"))); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		read func() error
		want time.Duration
	}{
		{func() error { _, err := s.Get(t.Context(), "a"); return err }, 48 * time.Hour},
		{func() error { return s.GetRange(t.Context(), "journals/0/c", 0, make([]byte, 1)) }, 36 * time.Hour},
		{func() error { _, err := s.Get(t.Context(), "a"); return err }, 36 * time.Hour},
		{func() error { _, err := s.Get(t.Context(), "d"); return err }, 36 * time.Hour},
		{func() error { return s.List(t.Context(), "", "", func(objstore.Info) error { return nil }) }, 24 * time.Hour},
	} {
		if err := step.read(); err != nil || newest() != step.want {
			t.Errorf("the newest object is %v old, want %v; error %v", newest(), step.want, err)
		}
	}
	if _, ok := objstore.Store(first).(objstore.Clock); ok {
		t.Error("a folder has no clock of its own")
	}
}
