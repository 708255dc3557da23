package segment_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/varvelog/varve/tiering/segment"
)

// COMPATIBILITY: the files in testdata are objects as version 1 wrote them, and
// buckets are full of their like. If one of these tests fails, the code is wrong,
// not the file. Never change a file; a new version gets files of its own.

// snapshot returns the bytes of a file of hex digits.
func snapshot(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	b, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// smallObject has every kind of content but sparse entries.
func smallObject() (segment.Header, []segment.Entry, []segment.Records) {
	h, entries, parts := testObject()
	parts[1].Batches = [][]byte{someBatch(0, 5, 1, 3)}
	return h, entries, parts
}

func emptyObject(kind segment.Kind) (segment.Header, []segment.Entry, []segment.Records) {
	h := testHeader()
	h.Kind, h.WAL = kind, segment.WALRange{}
	return h, nil, nil
}

func TestJournalObjectsKeepTheirBytes(t *testing.T) {
	tests := map[string]func() (segment.Header, []segment.Entry, []segment.Records){
		"v1-data.hex":   smallObject,
		"v1-fence.hex":  func() (segment.Header, []segment.Entry, []segment.Records) { return emptyObject(segment.KindFence) },
		"v1-filler.hex": func() (segment.Header, []segment.Entry, []segment.Records) { return emptyObject(segment.KindFiller) },
	}
	for name, content := range tests {
		t.Run(name, func(t *testing.T) {
			want := snapshot(t, name)
			built, footer, err := segment.Build(content())
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(built, want) {
				t.Errorf("Build gives %x, the file has %x", built, want)
			}
			o, err := segment.Decode(want)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(o.Footer, footer) {
				t.Errorf("footer is\n%+v, want\n%+v", o.Footer, footer)
			}
		})
	}
}

// TestLargeObjectKeepsItsBytes covers the sparse entries.
func TestLargeObjectKeepsItsBytes(t *testing.T) {
	b, footer, err := segment.Build(testObject())
	if err != nil {
		t.Fatal(err)
	}
	want := []segment.SparseEntry{{RelOffset: 2, RelPosition: 80_144}}
	if got := footer.Partitions[1].Sparse; !reflect.DeepEqual(got, want) {
		t.Errorf("sparse entries are %+v, want %+v", got, want)
	}
	const sum = "b817ff138bbef55a425d453402b41134ad2031757d6e9f415b08b1c389b8f1c9"
	if got := fmt.Sprintf("%x", sha256.Sum256(b)); got != sum {
		t.Errorf("SHA-256 is %s, want %s", got, sum)
	}
}

func testCluster() segment.Cluster {
	return segment.Cluster{ID: id(0xc1), Format: 1, Window: 4, CreatedMs: 1_700_000_000_000}
}

func testFloor() segment.Floor {
	return segment.Floor{Journal: 3, N: 2, Floor: 900, Checkpoint: "journals/3/checkpoints/899",
		Hash: [32]byte{0: 1, 31: 2}, Object: id(0x0f), Cluster: id(0xc1)}
}

func TestSmallObjectsKeepTheirBytes(t *testing.T) {
	cluster, floor := snapshot(t, "v1-cluster.hex"), snapshot(t, "v1-floor.hex")
	if b, err := segment.EncodeCluster(testCluster()); err != nil || !bytes.Equal(b, cluster) {
		t.Errorf("EncodeCluster gives %x and %v, the file has %x", b, err, cluster)
	}
	if c, err := segment.DecodeCluster(cluster); err != nil || c != testCluster() {
		t.Errorf("DecodeCluster gives %+v and %v", c, err)
	}
	if b, err := segment.EncodeFloor(testFloor()); err != nil || !bytes.Equal(b, floor) {
		t.Errorf("EncodeFloor gives %x and %v, the file has %x", b, err, floor)
	}
	if f, err := segment.DecodeFloor(floor); err != nil || f != testFloor() {
		t.Errorf("DecodeFloor gives %+v and %v", f, err)
	}
}
