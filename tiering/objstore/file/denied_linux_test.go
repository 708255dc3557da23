package file_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/file"
)

func TestAFolderThatIsNotOursIsErrDenied(t *testing.T) {
	root := t.TempDir()
	s := open(t, root)
	if err := s.Create(t.Context(), "a/b", objstore.Plain([]byte("x"))); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(root, "a"), 0o000); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Chmod(filepath.Join(root, "a"), 0o700) })
	for name, err := range withoutRoot(t, func() map[string]error {
		_, getErr := s.Get(t.Context(), "a/b")
		_, openErr := file.Open(filepath.Join(root, "a", "below"))
		return map[string]error{
			"Get":    getErr,
			"Create": s.Create(t.Context(), "a/c", objstore.Plain(nil)),
			"Delete": s.Delete(t.Context(), "a/b"),
			"List":   s.List(t.Context(), "", "", func(objstore.Info) error { return nil }),
			"Open":   openErr,
		}
	}) {
		if !errors.Is(err, objstore.ErrDenied) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// withoutRoot calls fn without root's power over files.
func withoutRoot(t *testing.T, fn func() map[string]error) map[string]error {
	if os.Geteuid() != 0 {
		return fn()
	}
	result := make(chan map[string]error)
	go func() {
		runtime.LockOSThread() // and never unlock: the thread ends with the goroutine
		if err := syscall.Setfsuid(65534); err != nil {
			t.Error(err)
		}
		result <- fn()
	}()
	return <-result
}
