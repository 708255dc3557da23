package wal_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"testing"

	"github.com/varvelog/varve/ingest/wal"
	"github.com/varvelog/varve/ingest/wal/crashfs"
	"github.com/varvelog/varve/tiering/segment"
)

const headerSize = 512

// filePath is the path of a file of the first incarnation.
func filePath(number int) string {
	return fmt.Sprintf("%s/%010d-%s/%012d.wal", dir, 1, segment.ID{3}, number)
}

// offsetOf is where a record lies in the first file.
func offsetOf(lsn uint64) int {
	return headerSize + bytesOf(segment.ID{3}, 1, lsn-1)
}

// manyFiles is a disk with a log of several files, properly closed.
func manyFiles(t *testing.T) (d *crashfs.FS, last uint64) {
	d = disk(t, nil)
	opt := options(d)
	l := mustOpen(t, opt)
	last = appendNext(t, l, opt.Incarnation, 0, 150)
	mustClose(t, l)
	return d, last
}

func flip(off int) func([]byte) []byte {
	return func(b []byte) []byte { b[off] ^= 4; return b }
}

func zeroFrom(off int) func([]byte) []byte {
	return func(b []byte) []byte { clear(b[off:]); return b }
}

func cutAt(off int) func([]byte) []byte {
	return func(b []byte) []byte { return b[:off] }
}

// Each row is a log of one file with records 1 to 20, synced one by one and
// then closed, damaged as said.
func TestDamageIsNotTakenForTheEndOfTheLog(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func([]byte) []byte
		last   uint64 // the records that survive
		damage bool
	}{
		{"nothing", func(b []byte) []byte { return b }, 20, false},
		{"bit in the first batch", flip(offsetOf(1) + 60), 0, true},
		{"bit in a batch in the middle", flip(offsetOf(10) + 60), 9, true},
		{"bit in a length", flip(offsetOf(10) + 3), 9, true},
		{"length of 4 GiB", func(b []byte) []byte { copy(b[offsetOf(10):], "\xff\xff\xff\xff"); return b }, 9, true},
		{"bit in a CRC", flip(offsetOf(10) + 5), 9, true},
		{"bit in an LSN", flip(offsetOf(10) + 15), 9, true},
		{"record zeroed", func(b []byte) []byte { clear(b[offsetOf(10):offsetOf(11)]); return b }, 9, true},
		{"two records swapped", func(b []byte) []byte {
			return slices.Concat(b[:offsetOf(10)], b[offsetOf(11):offsetOf(12)], b[offsetOf(10):offsetOf(11)], b[offsetOf(12):])
		}, 9, true},
		{"record taken out", func(b []byte) []byte { return slices.Delete(b, offsetOf(10), offsetOf(11)) }, 9, true},
		{"record doubled", func(b []byte) []byte {
			return slices.Concat(b[:offsetOf(11)], b[offsetOf(10):])
		}, 10, true},
		{"bit in the last record, before the mark", flip(offsetOf(20) + 60), 19, true},
		{"bit in the padding", flip(offsetOf(2) - 1), 20, false},
		{"mark zeroed", zeroFrom(offsetOf(21)), 20, false},
		// From here on nothing shows that there was more.
		{"last record and mark zeroed", zeroFrom(offsetOf(20)), 19, false},
		{"tail zeroed", zeroFrom(offsetOf(10) + 30), 9, false},
		{"file cut between records", cutAt(offsetOf(10)), 9, false},
		{"file cut in a record", cutAt(offsetOf(10) + 9), 9, false},
		{"file cut behind the header", cutAt(headerSize), 0, false},
		// The header was durable before the file had its name.
		{"bit in the magic", flip(0), 0, true},
		{"bit in the header", flip(77), 0, true},
		{"file cut in the header", cutAt(100), 0, true},
		{"file empty", cutAt(0), 0, true},
		{"file zeroed", zeroFrom(0), 0, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := disk(t, nil)
			opt := options(d)
			opt.SegmentBytes = 256 << 10
			l := mustOpen(t, opt)
			for lsn := range uint64(20) {
				if err := waitSynced(l, appendNext(t, l, opt.Incarnation, lsn, 1)); err != nil {
					t.Fatal(err)
				}
			}
			mustClose(t, l)
			d = d.Image(crashfs.KeepNone) // with the mark, which Close has synced
			if err := d.Corrupt(filePath(1), c.change); err != nil {
				t.Fatal(err)
			}
			checkSurvivors(t, scanOne(t, next(opt, d)), c.last, c.damage)
		})
	}
}

// checkSurvivors checks that records 1 to last are read, and damage reported.
func checkSurvivors(t *testing.T, inc *wal.Incarnation, last uint64, damage bool) {
	t.Helper()
	if (inc.Damage != nil) != damage {
		t.Errorf("Damage = %v, want %v", inc.Damage, damage)
	}
	err := checkRead(inc, 1, last)
	var de *wal.DamageError
	if errors.As(err, &de) != damage || (err != nil && de == nil) {
		t.Errorf("reading ended with %v", err)
	}
}

func TestDamageAcrossFiles(t *testing.T) {
	d, last := manyFiles(t)
	whole := scanOne(t, next(options(nil), d))
	if whole.Files < 4 || whole.LastLSN != last {
		t.Fatalf("log has %d files and ends at %d", whole.Files, whole.LastLSN)
	}
	firsts := firstLSNs(t, d, whole.Files)
	for _, c := range []struct {
		name   string
		change func(d *crashfs.FS) error
		last   uint64
	}{
		{"full file zeroed behind a record", func(d *crashfs.FS) error { return d.Corrupt(filePath(1), zeroFrom(offsetOf(5))) }, 4},
		{"last record of a full file flipped", func(d *crashfs.FS) error { return d.Corrupt(filePath(1), flip(offsetOf(firsts[1]-1)+60)) }, firsts[1] - 2},
		{"full file cut", func(d *crashfs.FS) error { return d.Corrupt(filePath(1), cutAt(offsetOf(5))) }, 4},
		{"header of the second file", func(d *crashfs.FS) error { return d.Corrupt(filePath(2), flip(20)) }, firsts[1] - 1},
		{"header of the last file", func(d *crashfs.FS) error { return d.Corrupt(filePath(whole.Files), flip(20)) }, firsts[whole.Files-1] - 1},
		{"second file missing", func(d *crashfs.FS) error { return d.Remove(filePath(2)) }, firsts[1] - 1},
		{"second file is a copy of the third", func(d *crashfs.FS) error { return copyFile(d, filePath(3), filePath(2)) }, firsts[1] - 1},
		{"first record and header of the second file", func(d *crashfs.FS) error {
			return errors.Join(d.Corrupt(filePath(1), flip(offsetOf(3)+60)), d.Corrupt(filePath(2), flip(20)))
		}, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			img := d.Image(crashfs.KeepAll)
			if err := c.change(img); err != nil {
				t.Fatal(err)
			}
			checkSurvivors(t, scanOne(t, next(options(nil), img)), c.last, true)
		})
	}
}

// firstLSNs reads the first LSN of each file from its header.
func firstLSNs(t *testing.T, d *crashfs.FS, files int) (firsts []uint64) {
	t.Helper()
	for n := range files {
		err := d.Corrupt(filePath(n+1), func(b []byte) []byte {
			firsts = append(firsts, binary.BigEndian.Uint64(b[72:]))
			return b
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return firsts
}

func copyFile(d *crashfs.FS, from, to string) error {
	var content []byte
	return errors.Join(
		d.Corrupt(from, func(b []byte) []byte { content = slices.Clone(b); return b }),
		d.Corrupt(to, func([]byte) []byte { return content }))
}

// Release removes from the front, so that a log without its first files is
// whole, and says so with FirstLSN.
func TestMissingFirstFileShowsInFirstLSN(t *testing.T) {
	d, last := manyFiles(t)
	second := firstLSNs(t, d, 2)[1]
	if err := d.Remove(filePath(1)); err != nil {
		t.Fatal(err)
	}
	inc := scanOne(t, next(options(nil), d))
	if inc.Damage != nil {
		t.Fatal(inc.Damage)
	}
	if err := checkRead(inc, second, last); err != nil {
		t.Fatal(err)
	}
	if err := inc.Read(second-1, func(wal.Record) error { return nil }); err == nil {
		t.Error("reading from a record that is gone succeeded")
	}
}

func TestEveryBitOfTheHeaderCounts(t *testing.T) {
	d := disk(t, nil)
	opt := options(d)
	opt.SegmentBytes = 2 << 10
	l := mustOpen(t, opt)
	if _, err := l.Append([]wal.Record{{Epoch: 1, Batch: []byte("x")}}); err != nil {
		t.Fatal(err)
	}
	mustClose(t, l)
	for bit := range headerSize * 8 {
		change := func(b []byte) []byte { b[bit/8] ^= 1 << (bit % 8); return b }
		if err := d.Corrupt(filePath(1), change); err != nil {
			t.Fatal(err)
		}
		inc := scanOne(t, next(opt, d))
		if inc.Damage == nil || inc.Records() != 0 {
			t.Fatalf("bit %d flipped: %d records, no damage", bit, inc.Records())
		}
		if err := d.Corrupt(filePath(1), change); err != nil {
			t.Fatal(err)
		}
	}
	if inc := scanOne(t, next(opt, d)); inc.Damage != nil || inc.Records() != 1 {
		t.Fatalf("with all bits as they were: %+v", inc)
	}
}

func TestFilesOfOthersStopTheScan(t *testing.T) {
	d, _ := manyFiles(t)
	for name, change := range map[string]func(*wal.Options){
		"cluster": func(o *wal.Options) { o.Cluster[0]++ },
		"node":    func(o *wal.Options) { o.Node[0]++ },
		"journal": func(o *wal.Options) { o.Journal++ },
	} {
		opt := next(options(nil), d)
		change(&opt)
		if found, err := wal.Scan(opt); !errors.Is(err, wal.ErrForeign) || found != nil {
			t.Errorf("other %s: Scan = %v, %v", name, found, err)
		}
	}
	if err := d.Rename(filePath(1), filePath(1)[:len(filePath(1))-5]+"x.wal"); err != nil {
		t.Fatal(err)
	}
	if _, err := wal.Scan(next(options(nil), d)); err == nil {
		t.Error("a file with a strange name was passed over")
	}
}

// A file under another log's name would be replayed as that log's.
func TestFileOfAnotherIncarnationIsDamage(t *testing.T) {
	d, _ := manyFiles(t)
	other := options(d)
	other.Incarnation = segment.ID{9}
	l := mustOpen(t, other)
	appendNext(t, l, other.Incarnation, 0, 3)
	mustClose(t, l)
	path := fmt.Sprintf("%s/%010d-%s/%012d.wal", dir, 2, other.Incarnation, 1)
	if err := copyFile(d, filePath(1), path); err != nil {
		t.Fatal(err)
	}
	found, err := wal.Scan(next(options(nil), d))
	if err != nil || len(found) != 2 || found[0].Damage != nil || found[1].Damage == nil || found[1].Records() != 0 {
		t.Fatalf("Scan = %+v, %v", found, err)
	}
}

// An I/O error is never the end of the log.
func TestReadErrorIsNotTheEnd(t *testing.T) {
	d, _ := manyFiles(t)
	opt := next(options(nil), d)
	for fail := 1; ; fail++ {
		n := 0
		opt.FS = d.With(func(op crashfs.Op) error {
			if n++; n == fail && op.Kind != "close" {
				return syscall.EIO
			}
			return nil
		})
		found, err := wal.Scan(opt)
		if n < fail {
			if err != nil || fail < 10 {
				t.Fatalf("%d operations, %v", n, err)
			}
			break
		}
		if err == nil && found[0].LastLSN == 150 {
			continue // it was a close
		}
		if !errors.Is(err, syscall.EIO) {
			t.Fatalf("failure of operation %d: Scan = %+v, %v", fail, found, err)
		}
	}
}

func TestEmptyFolderIsALogWithoutRecords(t *testing.T) {
	d := disk(t, nil)
	opt := options(d)
	if found, err := wal.Scan(opt); len(found) != 0 || err != nil {
		t.Errorf("Scan of a missing folder = %v, %v", found, err)
	}
	l := mustOpen(t, opt)
	mustClose(t, l)
	if found, err := wal.Scan(opt); len(found) != 0 || err != nil {
		t.Errorf("Scan of the log's own folder = %v, %v", found, err)
	}
	if err := d.Remove(filePath(1)); err != nil { // as if the crash came before the file
		t.Fatal(err)
	}
	inc := scanOne(t, next(opt, d))
	if err := checkRead(inc, 1, 0); err != nil || inc.Damage != nil {
		t.Errorf("%v, %v", err, inc.Damage)
	}
	if err := inc.Remove(); err != nil {
		t.Fatal(err)
	}
}
