package foreign

import (
	"os"
	"testing"
)

// TestKeepABucket writes a bucket with the binary that VARVE_BIN names, and copies it to
// the folder that VARVE_KEEP_BUCKET names, which must not exist. So the buckets in testdata
// were made, before the program changed its format.
func TestKeepABucket(t *testing.T) {
	folder := os.Getenv("VARVE_KEEP_BUCKET")
	if folder == "" {
		t.Skip("VARVE_KEEP_BUCKET is not set")
	}
	w := newWorld(t)
	w.fill()
	w.node.Stop(t)
	w.must(os.CopyFS(folder, os.DirFS(w.folder)))
}
