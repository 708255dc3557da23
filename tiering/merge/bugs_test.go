package merge

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/varvelog/varve/testenv/seeded"
	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/batch/batchtest"
	"github.com/varvelog/varve/tiering/segment"
)

// bugs are changes that a wrong merger makes to batches of the same size, with CRCs that are
// right.
var bugs = map[string]func(b [][]byte){
	"alters a record": func(b [][]byte) { b[2][len(b[2])-3] ^= 1; batchtest.FixCRC(b[2]) },
	"doubles a record in place of the next": func(b [][]byte) {
		copy(b[2], b[1])
		binary.BigEndian.PutUint64(b[2], 2)
	},
	"swaps two records": func(b [][]byte) {
		first := bytes.Clone(b[1])
		copy(b[1], b[3])
		copy(b[3], first)
		binary.BigEndian.PutUint64(b[1], 1)
		binary.BigEndian.PutUint64(b[3], 3)
	},
}

// wrongDisk changes the batches that a job gathers.
type wrongDisk struct {
	Disk
	bug  func([][]byte)
	done bool
}

func (d *wrongDisk) Create(name string) (File, error) {
	f, err := d.Disk.Create(name)
	if !strings.HasPrefix(name, "spool") || d.bug == nil || err != nil {
		return f, err
	}
	return wrongFile{f, d}, nil
}

type wrongFile struct {
	File
	disk *wrongDisk
}

func (f wrongFile) Write(b []byte) (int, error) {
	var batches [][]byte
	_ = batch.Walk(b, func(pos int, h batch.Header) error {
		batches = append(batches, b[pos:pos+h.Size()])
		return nil
	})
	f.disk.bug(batches)
	f.disk.done = true
	return f.File.Write(b)
}

// TestABugOfTheMergerGivesNoResult changes batches between the sources and the output, where
// they are copied and where they are compressed in another way.
func TestABugOfTheMergerGivesNoResult(t *testing.T) {
	for name, bug := range bugs {
		for _, recompress := range []bool{false, true} {
			w := newWorld(t, 1, 1)
			disk := &wrongDisk{Disk: w.opt.Disk, bug: bug}
			w.opt.Disk, w.opt.DueBytes, w.opt.ObjectBytes = disk, 1, 1<<20
			w.lead()
			w.produceFive(recompress)
			_, err := w.merger.Run(t.Context())
			if !errors.Is(err, ErrMismatch) || !disk.done || w.merger.Stats().Results > 0 {
				t.Errorf("a merger that %s, and compresses %v: error %v", name, recompress, err)
			}
			if _, merged := w.check(); merged > 0 {
				t.Errorf("a merger that %s, and compresses %v, has a result", name, recompress)
			}
			disk.bug = nil
			w.now = w.now.Add(time.Hour)
			w.work()
			if _, merged := w.check(); merged == 0 {
				t.Errorf("after a merger that %s, nothing is merged", name)
			}
		}
	}
}

// produceFive writes five batches of one record, which a job copies or decompresses.
func (w *world) produceFive(decompress bool) {
	w.t.Helper()
	k := w.keys()[0]
	spec := batchtest.Spec{LeaderEpoch: int32(w.epoch), BaseTimestamp: w.now.UnixMilli()}
	if decompress {
		spec.Codec = batch.LZ4
		topic := w.topics[k.Topic]
		topic.Recompress = true
		w.topics[k.Topic] = topic
	}
	p := segment.Records{Partition: segment.Partition{Topic: k.Topic, Index: k.Index, LeaderEpoch: spec.LeaderEpoch}}
	for i := range 5 {
		spec.BaseOffset = int64(i)
		spec.Records = []batchtest.Record{{Timestamp: spec.BaseTimestamp, Value: bytes.Repeat([]byte{byte(i)}, 900)}}
		p.Batches = append(p.Batches, batchtest.Build(spec))
		w.truth[k] = append(w.truth[k], recordsOf(w.t, p.Batches[i])...)
	}
	w.ends[k] = 5
	w.object(segment.KindData, nil, []segment.Records{p})
}

// TestABugOfTheMergerIsNoticed: a record that is lost, doubled or changed on the way into
// an object keeps it from being used.
func TestABugOfTheMergerIsNoticed(t *testing.T) {
	for name, bug := range map[string]func(b []byte) []byte{
		"lost":    func(b []byte) []byte { h, _ := batch.Parse(b); return b[h.Size():] },
		"doubled": func(b []byte) []byte { h, _ := batch.Parse(b); return append(b[:h.Size():h.Size()], b...) },
		"offset":  func(b []byte) []byte { batch.Patch(b, mustParse(b).BaseOffset+1, mustParse(b).LeaderEpoch); return b },
		"epoch":   func(b []byte) []byte { batch.Patch(b, mustParse(b).BaseOffset, mustParse(b).LeaderEpoch+1); return b },
		"time":    func(b []byte) []byte { batch.SetLogAppendTime(b, 77); return b },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 4, seeded.Seed(t))
			w.lead()
			for range 2 {
				var parts []segment.Records
				for _, k := range w.keys() { // the bug needs two batches
					parts = append(parts, segment.Records{
						Partition: segment.Partition{Topic: k.Topic, Index: k.Index, LeaderEpoch: int32(w.epoch)},
						Batches:   [][]byte{w.batch(k, 1000), w.batch(k, 1000)},
					})
				}
				w.object(segment.KindData, nil, parts)
			}
			w.now = w.now.Add(2 * time.Hour)
			w.opt.Disk = buggyDisk{w.disk, bug}
			w.lead()
			if again, err := w.merger.Run(t.Context()); err == nil || again {
				t.Fatal("the job succeeded")
			}
			if journal, merged := w.check(); merged > 0 || journal == 0 || len(w.state.Intents()) > 0 {
				t.Fatalf("%d extents are merged, %d intents are open", merged, len(w.state.Intents()))
			}
			w.opt.Disk = w.disk
			w.lead()
			for range 4 { // the first jobs are small
				w.now = w.now.Add(time.Hour)
				w.work()
			}
			if journal, _ := w.check(); journal > 0 {
				t.Errorf("%d extents are in the journal without the bug", journal)
			}
		})
	}
}

func mustParse(b []byte) batch.Header {
	h, err := batch.Parse(b)
	if err != nil {
		panic(err)
	}
	return h
}

// buggyDisk changes the batches that are read from the spool, once, as a bug might.
type buggyDisk struct {
	*memDisk
	bug func([]byte) []byte
}

func (d buggyDisk) Create(name string) (File, error) {
	f, err := d.memDisk.Create(name)
	if !strings.HasPrefix(name, "spool") {
		return f, err
	}
	return &buggyFile{File: f, bug: d.bug}, err
}

type buggyFile struct {
	File
	bug func([]byte) []byte
}

// ReadAt puts the changed batches in the place of the first ones, in as many bytes. At the
// end there may be half a batch.
func (f *buggyFile) ReadAt(b []byte, at int64) (int, error) {
	n, err := f.File.ReadAt(b, at)
	if h, parsed := batch.Parse(b); parsed == nil && f.bug != nil && h.Size() < len(b) {
		changed := f.bug(append([]byte(nil), b...))
		if len(changed) < len(b) {
			changed = append(changed, b[:len(b)-len(changed)]...)
		}
		copy(b, changed)
		copy(f.File.(*memFile).data[at:], b)
		f.bug = nil
	}
	return n, err
}
