package wal

import (
	"bytes"
	"os"
	"slices"
	"testing"

	"github.com/varvelog/varve/tiering/segment"
)

// oneFile is a disk that holds one file with these bytes.
type oneFile struct {
	FS
	content []byte
}

func (f oneFile) ReadDir(string) ([]string, error)   { return []string{walName(1)}, nil }
func (f oneFile) OpenFile(string, int) (File, error) { return memFile{bytes.NewReader(f.content)}, nil }

type memFile struct{ *bytes.Reader }

func (f memFile) Size() (int64, error)             { return f.Reader.Size(), nil }
func (memFile) Close() error                       { return nil }
func (memFile) Sync() error                        { return os.ErrInvalid }
func (memFile) Preallocate(int64) error            { return os.ErrInvalid }
func (memFile) WriteAt([]byte, int64) (int, error) { return 0, os.ErrInvalid }
func (memFile) WriteVec([][]byte, int64) error     { return os.ErrInvalid }

// With any bytes in a file, every record that is read has LSN, length and CRC
// as a writer would have made them. So laying it out again gives the same
// bytes.
func FuzzReadFile(f *testing.F) {
	h := fileHeader{Cluster: segment.ID{1}, Node: segment.ID{2}, Incarnation: segment.ID{3}, Journal: 7, Number: 1, FirstLSN: 5}
	header, seed := h.encode()
	g := newGather()
	var log []byte
	for lsn := uint64(5); lsn < 9; lsn++ {
		g.add(seed, &Record{LSN: lsn, Epoch: 1, Batch: bytes.Repeat([]byte{byte(lsn)}, int(lsn*lsn))}, lsn-1)
	}
	pieces, _ := g.take()
	log = slices.Concat(pieces...)
	marked := appendMark(slices.Clone(log), seed, 9)
	f.Add(true, log)
	f.Add(true, marked)
	f.Add(true, append(make([]byte, 64), log...))
	f.Add(true, append(slices.Clone(log[:100]), log...))
	f.Add(true, []byte("\xff\xff\xff\xff\x00\x00\x00\x00"))
	f.Add(false, append(slices.Clone(header), marked...))
	f.Add(false, header[:99])
	f.Add(false, []byte{})
	f.Fuzz(func(t *testing.T, withHeader bool, b []byte) {
		if withHeader {
			b = append(slices.Clone(header), b...)
		}
		inc := &Incarnation{dir: "d", opt: Options{
			Cluster: h.Cluster, Node: h.Node, Incarnation: h.Incarnation, Journal: h.Journal, FS: oneFile{content: b},
		}}
		if err := inc.scan(); err != nil {
			return // of another version, or of others
		}
		if len(inc.files) == 0 {
			if inc.Damage == nil || inc.Records() != 0 {
				t.Fatal("no file, no damage")
			}
			return
		}
		at, lsn := headerSize, inc.FirstLSN
		err := inc.Read(inc.FirstLSN, func(r Record) error {
			synced := uint64(0)
			if fr, ok := decodeFrame(b[at:]); ok {
				synced = fr.synced
			}
			n := recordHeaderSize + len(r.Batch)
			again := appendRecordHeader(nil, inc.files[0].seed, &r, synced)
			if r.LSN != lsn || !bytes.Equal(append(again, r.Batch...), b[at:at+n]) {
				t.Fatalf("record %d at %d reads as %+v", lsn, at, r)
			}
			at, lsn = at+recordSize(len(r.Batch)), lsn+1
			return nil
		})
		if (err != nil) != (inc.Damage != nil) || lsn != inc.LastLSN+1 {
			t.Fatalf("read up to %d, scan said %d; %v, %v", lsn-1, inc.LastLSN, err, inc.Damage)
		}
	})
}
