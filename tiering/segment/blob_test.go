package segment_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/varvelog/varve/tiering/segment"
)

func testBlob() segment.Blob {
	return segment.Blob{Kind: segment.KindCheckpoint, Cluster: id(0xc1), Object: id(0x0f), Journal: 3, Seq: 900, Payload: []byte("what it adds up to")}
}

func TestBlobsKeepTheirBytes(t *testing.T) {
	want := snapshot(t, "v1-checkpoint.hex")
	if b, err := segment.EncodeBlob(testBlob()); err != nil || !bytes.Equal(b, want) {
		t.Errorf("EncodeBlob gives %x and %v, the file has %x", b, err, want)
	}
	got, err := segment.DecodeBlob(segment.KindCheckpoint, want)
	if payload := testBlob().Payload; err != nil || got.Seq != 900 || got.Object != id(0x0f) || !bytes.Equal(got.Payload, payload) {
		t.Errorf("DecodeBlob gives %+v and %v", got, err)
	}
}

func TestDamagedBlobIsNeverDecoded(t *testing.T) {
	b, err := segment.EncodeBlob(testBlob())
	if err != nil {
		t.Fatal(err)
	}
	for i := range b {
		damaged := bytes.Clone(b)
		damaged[i] ^= 0x11
		if _, err := segment.DecodeBlob(segment.KindCheckpoint, damaged); err == nil {
			t.Errorf("byte %d changed, and no error was returned", i)
		}
		if _, err := segment.DecodeBlob(segment.KindCheckpoint, b[:i]); !errors.Is(err, segment.ErrCorrupt) {
			t.Errorf("cut to %d bytes: %v, want ErrCorrupt", i, err)
		}
	}
	if _, err := segment.DecodeBlob(segment.KindIndex, b); !errors.Is(err, segment.ErrCorrupt) {
		t.Errorf("a checkpoint read as an index page: %v, want ErrCorrupt", err)
	}
}

func TestCheckpointKeysParse(t *testing.T) {
	at := segment.Ref{Seq: 42, Object: id(7)}
	key := segment.CheckpointKey(3, at)
	if got, ok := segment.ParseCheckpointKey(3, key); !ok || got != at {
		t.Errorf("%s parses to %v, %v", key, got, ok)
	}
	for _, bad := range []string{"", key + "0", key[:len(key)-1], "journals/4" + key[10:], segment.CheckpointPrefix(3) + "42-" + id(7).String()} {
		if got, ok := segment.ParseCheckpointKey(3, bad); ok {
			t.Errorf("%q parses to %v", bad, got)
		}
	}
}
