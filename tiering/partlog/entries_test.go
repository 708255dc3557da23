package partlog

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	"github.com/varvelog/varve/tiering/segment"
)

var testTopic = segment.ID{0xaa, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 0xbb}

var goldenEntries = []struct {
	name  string
	entry segment.Entry
	kind  uint16
	hex   string
}{
	{"open", Open{Key{testTopic, 5}, 1 << 33, 9}.Encode(), 1,
		"01aa0102030405060708090a0b0c0d0ebb00000005000000020000000000000009"},
	{"seal", Seal{Key{testTopic, 0x01020304}}.Encode(), 2, "01aa0102030405060708090a0b0c0d0ebb01020304"},
	{"expire producers", ExpireProducers{BeforeMs: 1_700_000_000_000}.Encode(), 3, "010000018bcfe56800"},
	{"delete records", DeleteRecords{Key{testTopic, 5}, 1 << 33}.Encode(), 4,
		"01aa0102030405060708090a0b0c0d0ebb000000050000000200000000"},
}

// The bytes of entries are part of the bucket's format: after a change here, old entries
// could not be read.
func TestEntryBytesStayTheSame(t *testing.T) {
	for _, g := range goldenEntries {
		if got := hex.EncodeToString(g.entry.Payload); got != g.hex || g.entry.Kind != g.kind {
			t.Errorf("%s: kind %d, payload %s, want kind %d, %s", g.name, g.entry.Kind, got, g.kind, g.hex)
		}
	}
}

func TestEntriesReadBack(t *testing.T) {
	open := Open{Key{testTopic, 0}, 0, maxEpoch}
	if got, err := DecodeOpen(open.Encode().Payload); err != nil || got != open {
		t.Errorf("%+v, %v", got, err)
	}
	seal := Seal{Key{testTopic, 9}}
	if got, err := DecodeSeal(seal.Encode().Payload); err != nil || got != seal {
		t.Errorf("%+v, %v", got, err)
	}
	del := DeleteRecords{Key{testTopic, 9}, 7}
	if got, err := DecodeDeleteRecords(del.Encode().Payload); err != nil || got != del {
		t.Errorf("%+v, %v", got, err)
	}
	expire := ExpireProducers{BeforeMs: 12}
	if got, err := DecodeExpireProducers(expire.Encode().Payload); err != nil || got != expire {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestBadEntriesAreRefused(t *testing.T) {
	k := Key{testTopic, 1}
	newer := Open{Key: k}.Encode().Payload
	newer[0] = 2
	for _, tc := range []struct {
		name    string
		payload []byte
		want    error
	}{
		{"empty", nil, segment.ErrCorrupt},
		{"short", Open{Key: k}.Encode().Payload[:30], segment.ErrCorrupt},
		{"trailing byte", append(Open{Key: k}.Encode().Payload, 0), segment.ErrCorrupt},
		{"newer version", newer, segment.ErrUnsupported},
		{"version zero", make([]byte, 33), segment.ErrUnsupported},
		{"no topic", Open{Key: Key{Index: 1}}.Encode().Payload, segment.ErrCorrupt},
		{"negative partition", Open{Key: Key{testTopic, -1}}.Encode().Payload, segment.ErrCorrupt},
		{"negative offset", Open{Key: k, StartOffset: -1}.Encode().Payload, segment.ErrCorrupt},
		{"negative epoch base", Open{Key: k, EpochBase: -1}.Encode().Payload, segment.ErrCorrupt},
		{"epoch base too large", Open{Key: k, EpochBase: maxEpoch + 1}.Encode().Payload, segment.ErrCorrupt},
	} {
		if _, err := DecodeOpen(tc.payload); !errors.Is(err, tc.want) {
			t.Errorf("%s: error %v, want %v", tc.name, err, tc.want)
		}
	}
	for name, payload := range map[string][]byte{
		"before a negative offset": DeleteRecords{k, -1}.Encode().Payload,
		"of no topic":              DeleteRecords{Key{Index: 1}, 1}.Encode().Payload,
		"short":                    DeleteRecords{k, 1}.Encode().Payload[:28],
	} {
		if _, err := DecodeDeleteRecords(payload); !errors.Is(err, segment.ErrCorrupt) {
			t.Errorf("deleted records %s: error %v", name, err)
		}
	}
	if _, err := DecodeExpireProducers(ExpireProducers{BeforeMs: -1}.Encode().Payload); !errors.Is(err, segment.ErrCorrupt) {
		t.Errorf("expiry before 1970: error %v", err)
	}
}

// reencode decodes an entry and encodes it again; false if it was refused.
func reencode(kind uint16, payload []byte) (again segment.Entry, ok bool) {
	var err error
	switch kind {
	case EntryOpen:
		var e Open
		e, err = DecodeOpen(payload)
		again = e.Encode()
	case EntrySeal:
		var e Seal
		e, err = DecodeSeal(payload)
		again = e.Encode()
	case EntryExpireProducers:
		var e ExpireProducers
		e, err = DecodeExpireProducers(payload)
		again = e.Encode()
	case EntryDeleteRecords:
		var e DeleteRecords
		e, err = DecodeDeleteRecords(payload)
		again = e.Encode()
	default:
		return reencodeTiering(kind, payload)
	}
	return again, err == nil
}

func FuzzDecodeEntry(f *testing.F) {
	for _, g := range goldenEntries {
		f.Add(g.kind, g.entry.Payload)
		f.Add(g.kind, g.entry.Payload[:len(g.entry.Payload)-1])
	}
	for _, g := range tieringEntries() {
		f.Add(g.entry.Kind, g.entry.Payload)
		f.Add(g.entry.Kind, g.entry.Payload[:len(g.entry.Payload)-1])
	}
	f.Fuzz(func(t *testing.T, kind uint16, payload []byte) {
		again, ok := reencode(kind, payload)
		if !ok {
			return
		}
		if again.Kind != kind || !bytes.Equal(again.Payload, payload) {
			t.Errorf("%x was accepted and encodes as %x", payload, again.Payload)
		}
	})
}
