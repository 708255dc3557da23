package file

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// Objects are the same whether they pass the page cache by or not: around the limits,
// from any place in memory, and in a file system without direct writes.
func TestObjectsWrittenWithoutThePageCacheAreWhole(t *testing.T) {
	memory := make([]byte, 2*directSize+2*block) // so large that the allocator aligns it
	rand.NewChaCha8([32]byte{1}).Read(memory)
	folders := map[string]string{"disk": t.TempDir()}
	if shm, err := os.MkdirTemp("/dev/shm", "varve"); err == nil {
		t.Cleanup(func() { os.RemoveAll(shm) })
		folders["memory"] = shm
	}
	for name, folder := range folders {
		for i, part := range [][]byte{
			memory[:directSize-1], memory[:directSize], memory[:directSize+1], memory[:directSize+block],
			memory[1 : directSize+2], memory[block/2 : 2*directSize], memory[block:], memory[block : 2*directSize+7], nil,
		} {
			path := filepath.Join(folder, string(rune('a'+i)))
			f, err := osDisk{}.create(path)
			if err != nil {
				t.Fatal(err)
			}
			n, err := f.Write(part)
			if err == nil && n == len(part) {
				err = f.Sync()
			}
			if err != nil || f.Close() != nil {
				t.Errorf("%s: %d of %d bytes written, %v", name, n, len(part), err)
			}
			if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, part) {
				t.Errorf("%s, part %d: read %d other bytes, error %v", name, i, len(got), err)
			}
		}
	}
}

func TestDirectWritesAreSwitchedOnAndOff(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, on := range []bool{true, false} {
		if err := (osFile{f}).setDirect(on); err != nil {
			t.Skipf("the file system of temporary files: %v", err)
		}
		if flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0); err != nil || flags&unix.O_DIRECT != 0 != on {
			t.Errorf("switched to %v: flags %#x, error %v", on, flags, err)
		}
	}
}
