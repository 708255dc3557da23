package wal

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"slices"
	"strings"
	"testing"

	"github.com/varvelog/varve/tiering/segment"
)

var testHeader = fileHeader{
	Cluster: segment.ID{0xc1}, Node: segment.ID{0x0d}, Incarnation: segment.ID{0x1c},
	Journal: 7, Number: 2, FirstLSN: 41,
}

var testRecord = Record{
	LSN: 42, Topic: segment.ID{0x70, 15: 0x71}, Index: 3, Epoch: 5, BaseOffset: 1000, Batch: []byte("record batch"),
}

// The bytes of version 1. A change to them makes logs on disks unreadable, so
// it needs a new version.
func TestFormatOnDiskIsUnchanged(t *testing.T) {
	header, seed := testHeader.encode()
	g := newGather()
	g.add(seed, &testRecord, 40)
	pieces, size := g.take()
	for name, c := range map[string]struct {
		got  []byte
		want string
	}{
		"header": {header[:80], "564152564557414c 0001 0000 00000007" +
			"c1000000000000000000000000000000 0d000000000000000000000000000000 1c000000000000000000000000000000" +
			"0000000000000002 0000000000000029"},
		"header CRC": {header[508:], "8f73ed15"},
		"record": {pieces[0], "00000044 7f142840 000000000000002a 0000000000000028" +
			"70000000000000000000000000000071 00000003 00000005 00000000000003e8" +
			"7265636f7264206261746368 00000000"},
		"mark": {appendMark(nil, seed, 43), "00000018 5076dc1b 000000000000002b 000000000000002a"},
	} {
		if got := hex.EncodeToString(c.got); got != strings.ReplaceAll(c.want, " ", "") {
			t.Errorf("%s is\n%s, want\n%s", name, got, c.want)
		}
	}
	if len(pieces) != 1 || size != 72 || len(header) != 512 || slices.Max(header[80:508]) != 0 {
		t.Errorf("%d pieces of %d bytes, header of %d", len(pieces), size, len(header))
	}
}

func TestAKnownCRCChangesNoByte(t *testing.T) {
	for _, n := range []int{1, 100, 16 << 10, 1 << 20} {
		r := testRecord
		r.Batch = bytes.Repeat([]byte("abcdefg"), n/7+1)
		want := appendRecordHeader(nil, 99, &r, 40)
		r.CRC = crc32.Checksum(r.Batch, castagnoli)
		if got := appendRecordHeader(nil, 99, &r, 40); !bytes.Equal(got, want) {
			t.Errorf("%d bytes: %x, want %x", len(r.Batch), got, want)
		}
	}
}

func TestHeaderWithAnyBitFlippedIsRefused(t *testing.T) {
	good, seed := testHeader.encode()
	if h, s, err := decodeHeader(good); err != nil || h != testHeader || s != seed {
		t.Fatalf("decodeHeader = %+v, %x, %v", h, s, err)
	}
	for bit := range len(good) * 8 {
		bad := slices.Clone(good)
		bad[bit/8] ^= 1 << (bit % 8)
		if _, _, err := decodeHeader(bad); !errors.Is(err, errBadHeader) {
			t.Fatalf("bit %d flipped: %v", bit, err)
		}
	}
	for _, n := range []int{0, 8, 511, 513} {
		if _, _, err := decodeHeader(make([]byte, n)); !errors.Is(err, errBadHeader) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

func TestNewerVersionIsUnsupportedNotBad(t *testing.T) {
	b, _ := testHeader.encode()
	b[9]++
	sealHeader(b)
	if _, _, err := decodeHeader(b); !errors.Is(err, ErrUnsupported) || errors.Is(err, errBadHeader) {
		t.Errorf("decodeHeader = %v, want ErrUnsupported", err)
	}
}

// sealHeader gives a changed header the CRC of a good one.
func sealHeader(b []byte) {
	binary.BigEndian.PutUint32(b[headerCRCAt:], crc32.Checksum(b[:headerCRCAt], castagnoli))
}

func TestRecordWithAnyBitFlippedIsRefused(t *testing.T) {
	g := newGather()
	g.add(77, &testRecord, 40)
	pieces, _ := g.take()
	good := pieces[0][:68] // without padding, which holds nothing
	if !checkFrame(good, 77) || checkFrame(good, 78) {
		t.Fatal("a record must be good under its own file's header only")
	}
	for bit := range len(good) * 8 {
		bad := slices.Clone(good)
		bad[bit/8] ^= 1 << (bit % 8)
		if f, ok := decodeFrame(bad); ok && f.length == len(bad) && checkFrame(bad, 77) {
			t.Fatalf("bit %d flipped, and the record was accepted", bit)
		}
	}
}

// The gathered bytes are the same, whether a batch is copied or not.
func TestGatheredRecordsLieBackToBack(t *testing.T) {
	g := newGather()
	total := 0
	for i, n := range []int{1, copyBelow - 1, copyBelow, copyBelow + 3, 7, 8, 100 << 10, 9} {
		r := testRecord
		r.LSN = uint64(1 + i)
		r.Batch = slices.Repeat([]byte{byte(i + 1)}, n)
		if !g.fits(n) {
			t.Fatalf("no room for %d bytes", n)
		}
		g.add(9, &r, 0)
		total += recordSize(n)
	}
	pieces, size := g.take()
	b := slices.Concat(pieces...)
	if size != total || len(b) != total {
		t.Fatalf("%d bytes, said to be %d, want %d", len(b), size, total)
	}
	for lsn := uint64(1); len(b) > 0; lsn++ {
		f, ok := decodeFrame(b)
		if !ok || !checkFrame(b[:f.length], 9) || f.lsn != lsn {
			t.Fatalf("record %d is bad: %+v", lsn, f)
		}
		b = b[f.size():]
	}
	g.reset()
	if pieces, size := g.take(); len(pieces) != 0 || size != 0 {
		t.Error("reset left something")
	}
}

func TestLengthsThatCannotBeAreRefused(t *testing.T) {
	for n, want := range map[uint32]bool{
		0: false, markSize - 1: false, markSize: true, markSize + 1: false, recordHeaderSize: false,
		recordHeaderSize + 1: true, MaxRecord: true, MaxRecord + 1: false, 1 << 31: false, 1<<32 - 1: false,
	} {
		b := make([]byte, markSize)
		binary.BigEndian.PutUint32(b, n)
		if _, ok := decodeFrame(b); ok != want {
			t.Errorf("length %d: %v, want %v", n, ok, want)
		}
	}
}
