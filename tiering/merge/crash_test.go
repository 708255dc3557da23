package merge

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/varvelog/varve/testenv/seeded"
)

// crashing is a Folder that keeps images of itself, as a power cut may leave it at each
// creation, write and removal. No file is synced. So each may have lost its end, or have
// zeros there, or be gone.
type crashing struct {
	Folder
	w      *world
	root   string
	images []string
}

func (d *crashing) Create(name string) (File, error) {
	d.image()
	f, err := d.Folder.Create(name)
	return crashingFile{f, d}, err
}

type crashingFile struct {
	File
	disk *crashing
}

func (f crashingFile) Write(b []byte) (int, error) {
	f.disk.image()
	return f.File.Write(b)
}

func (f crashingFile) Remove() error {
	f.disk.image()
	return f.File.Remove()
}

func (d *crashing) image() {
	t := d.w.t
	image, err := os.MkdirTemp(d.root, "")
	if err != nil {
		t.Fatal(err)
	}
	d.images = append(d.images, image)
	files, err := os.ReadDir(string(d.Folder))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(string(d.Folder), f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		kept := d.w.rng.IntN(len(b) + 1)
		switch d.w.rng.IntN(4) {
		case 0:
			continue
		case 1:
			b = b[:kept]
		case 2:
			clear(b[kept:])
		}
		if err := os.WriteFile(filepath.Join(image, f.Name()), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAFolderAfterAPowerCutIsAStart begins a leadership on each image. It must find the folder
// empty, and merge as on a new one. Nor does a file that came into it in between count.
func TestAFolderAfterAPowerCutIsAStart(t *testing.T) {
	w := newWorld(t, 4, seeded.Seed(t))
	d := &crashing{Folder: Folder(filepath.Join(t.TempDir(), "merge", "1")), w: w, root: t.TempDir()}
	w.opt.Disk = d
	w.lead()
	for range 40 {
		w.produce(1, 3, 300)
		w.work()
	}
	full := 0
	for _, image := range d.images {
		if left, _ := os.ReadDir(image); len(left) > 0 {
			full++
		}
		w.opt.Disk = Folder(image)
		w.lead()
		if left, err := os.ReadDir(image); err != nil || len(left) > 0 {
			t.Fatalf("a start leaves %v (%v)", left, err)
		}
		if err := os.WriteFile(filepath.Join(image, "spool"), make([]byte, 1<<20), 0o600); err != nil {
			t.Fatal(err)
		}
		w.produce(1, 3, 300)
		w.work()
		w.check()
	}
	if full < 10 {
		t.Errorf("only %d of %d images have files", full, len(d.images))
	}
}

func TestAFileTakesThePlaceOfAnother(t *testing.T) {
	d := Folder(t.TempDir())
	if err := os.WriteFile(filepath.Join(string(d), "spool"), []byte("of another job"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := d.Create("spool")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Remove()
	if n, err := f.ReadAt(make([]byte, 1), 0); n > 0 || err == nil {
		t.Errorf("a new file has %d bytes, %v", n, err)
	}
}
