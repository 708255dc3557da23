package shard

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

func sampleSnapshots() *Snapshots {
	s := NewSnapshots()
	s.Put(partlog.Key{Topic: segment.ID{2}, Index: 0}, Snapshot{Offset: 3})
	s.Put(partlog.Key{Topic: segment.ID{1}, Index: 49}, Snapshot{Offset: 1 << 40, State: []byte("state")})
	s.Put(partlog.Key{Topic: segment.ID{1}, Index: 2}, Snapshot{Offset: 7, State: []byte("old")})
	s.Put(partlog.Key{Topic: segment.ID{1}, Index: 2}, Snapshot{Offset: 8, State: []byte("new")})
	return s
}

// TestSnapshotBytes pins the format: checkpoints in buckets have it.
func TestSnapshotBytes(t *testing.T) {
	const want = "00010000" + "00000003" +
		"01000000000000000000000000000000" + "00000002" + "0000000000000008" + "00000003" + "6e6577" +
		"01000000000000000000000000000000" + "00000031" + "0000010000000000" + "00000005" + "7374617465" +
		"02000000000000000000000000000000" + "00000000" + "0000000000000003" + "00000000"
	b := sampleSnapshots().Encode()
	if got := hex.EncodeToString(b); got != want {
		t.Errorf("got\n%s, want\n%s", got, want)
	}
	s, err := DecodeSnapshots(b)
	if err != nil {
		t.Fatal(err)
	}
	if again := s.Encode(); !bytes.Equal(again, b) {
		t.Errorf("decoded and encoded again:\n%x", again)
	}
	if b := NewSnapshots().Encode(); b != nil {
		t.Errorf("nothing encodes to %x", b)
	}
}

func TestSnapshotOfAGonePartitionIsForgotten(t *testing.T) {
	s := sampleSnapshots()
	k := partlog.Key{Topic: segment.ID{2}}
	s.Forget(k)
	s, err := DecodeSnapshots(s.Encode())
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := s.Get(k); ok || len(s.byKey) != 2 {
		t.Errorf("left: %v", s.byKey)
	}
}

func TestSnapshotsThatFindNoRoomAreLeftOut(t *testing.T) {
	s := sampleSnapshots()
	s.Put(partlog.Key{Topic: segment.ID{1}, Index: 3}, Snapshot{Offset: 1, State: make([]byte, maxSnapshotBytes)})
	b := s.Encode()
	if got, err := DecodeSnapshots(b); err != nil || len(got.byKey) != 3 || len(b) > 1<<10 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}

func TestDamagedSnapshotsAreRefused(t *testing.T) {
	for name, change := range map[string]func(b []byte) []byte{
		"zero version":     func(b []byte) []byte { b[1] = 0; return b },
		"newer version":    func(b []byte) []byte { b[1] = 2; return b },
		"reserved":         func(b []byte) []byte { b[3] = 1; return b },
		"none":             func(b []byte) []byte { b[7] = 0; return b[:8] },
		"too many":         func(b []byte) []byte { b[4] = 0xff; return b },
		"order":            func(b []byte) []byte { b[8] = 3; return b },
		"zero topic":       func(b []byte) []byte { b[8] = 0; return b },
		"negative number":  func(b []byte) []byte { b[24] = 0x80; return b },
		"offset of zero":   func(b []byte) []byte { b[35] = 0; return b },
		"negative offset":  func(b []byte) []byte { b[28] = 0x80; return b },
		"length":           func(b []byte) []byte { b[36] = 0x7f; return b },
		"cut short":        func(b []byte) []byte { return b[:len(b)-1] },
		"more than counts": func(b []byte) []byte { return append(b, 0) },
	} {
		_, err := DecodeSnapshots(change(sampleSnapshots().Encode()))
		if !errors.Is(err, segment.ErrCorrupt) && !errors.Is(err, segment.ErrUnsupported) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzDecodeSnapshots(f *testing.F) {
	f.Add(sampleSnapshots().Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := DecodeSnapshots(b)
		if err == nil && !bytes.Equal(s.Encode(), b) {
			t.Fatalf("%x encodes to %x", b, s.Encode())
		}
	})
}
