package ingest

import (
	"bytes"
	"io"
	"syscall"

	"github.com/varvelog/varve/tiering/merge"
)

// simDisk is the folder for merging, which is lost with its process. It may be full.
type simDisk struct {
	n     *proc
	files int
}

// Empty implements merge.Disk.
func (d *simDisk) Empty() error { return nil }

// Create implements merge.Disk.
func (d *simDisk) Create(string) (merge.File, error) {
	d.files++
	return &simFile{d: d}, nil
}

type simFile struct {
	d       *simDisk
	b       bytes.Buffer
	removed bool
}

// Write implements merge.File.
func (f *simFile) Write(b []byte) (int, error) {
	c := f.d.n.f.c
	if !c.quiet && c.Chance(c.shape.DiskFull) {
		c.Count("folder for merging full")
		return 0, syscall.ENOSPC
	}
	return f.b.Write(b)
}

// ReadAt implements merge.File.
func (f *simFile) ReadAt(b []byte, offset int64) (int, error) {
	if f.removed {
		f.d.n.f.c.Fail("%s reads a file of the folder for merging that it removed", f.d.n.p.Name)
	}
	if offset >= int64(f.b.Len()) {
		return 0, io.EOF
	}
	n := copy(b, f.b.Bytes()[offset:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// Remove implements merge.File.
func (f *simFile) Remove() error {
	if f.removed {
		f.d.n.f.c.Fail("%s removes a file of the folder for merging twice", f.d.n.p.Name)
	}
	f.removed = true
	f.d.files--
	return nil
}
