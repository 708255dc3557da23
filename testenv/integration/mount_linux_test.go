package integration

import (
	"errors"
	"fmt"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// smallDisk mounts a file system of some size in memory. It skips the test if
// the user may not mount.
func smallDisk(t testing.TB, bytes int64) (folder string) {
	t.Helper()
	folder = t.TempDir()
	err := unix.Mount("varve-test", folder, "tmpfs", 0, fmt.Sprintf("size=%d", bytes))
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENODEV) {
		t.Skipf("needs to mount a file system: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(folder, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return folder
}

// setReadOnly remounts a small disk; a file that is open for writing has to be
// closed first, which its owner is about to do.
func setReadOnly(t testing.TB, folder string, readOnly bool) {
	t.Helper()
	flags := uintptr(unix.MS_REMOUNT)
	if readOnly {
		flags |= unix.MS_RDONLY
	}
	ctx := deadline(t)
	for {
		err := unix.Mount("varve-test", folder, "tmpfs", flags, "")
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatal(err)
		case <-time.After(time.Millisecond):
		}
	}
}

// smallBucket is a folder bucket on a disk of some size.
func smallBucket(t testing.TB, bytes int64) bucket {
	return bucketIn(filepath.Join(smallDisk(t, bytes), "bucket"))
}
