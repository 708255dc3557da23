package partlog

import (
	"bytes"
	"fmt"

	"github.com/varvelog/varve/tiering/segment"
)

// Drop makes all records of a sealed partition garbage: its topic is gone. The partition
// leaves the state once a Release has freed all of it.
//
//	 0  1  version, 1
//	 1 16  topic id
//	17  4  partition
type Drop struct{ Key }

// Encode returns the entry.
func (e Drop) Encode() segment.Entry {
	return segment.Entry{Kind: EntryDrop, Payload: newPayload(e.Key, 21).B}
}

// DecodeDrop reads the payload of an EntryDrop.
func DecodeDrop(payload []byte) (Drop, error) {
	k, err := decodeKey(payload, "drop")
	return Drop{k}, err
}

// Reopen takes a seal back: the topic was undeleted. The partition takes records again,
// from where its log ends.
//
//	 0  1  version, 1
//	 1 16  topic id
//	17  4  partition
type Reopen struct{ Key }

// Encode returns the entry.
func (e Reopen) Encode() segment.Entry {
	return segment.Entry{Kind: EntryReopen, Payload: newPayload(e.Key, 21).B}
}

// DecodeReopen reads the payload of an EntryReopen.
func DecodeReopen(payload []byte) (Reopen, error) {
	k, err := decodeKey(payload, "reopen")
	return Reopen{k}, err
}

func decodeKey(payload []byte, kind string) (Key, error) {
	r, err := openPayload(payload)
	if err != nil {
		return Key{}, fmt.Errorf("decode %s entry: %w", kind, err)
	}
	k := readKey(r)
	if err := closePayload(r, k.valid()); err != nil {
		return Key{}, fmt.Errorf("decode %s entry: %w", kind, err)
	}
	return k, nil
}

// Cleaned follows a compaction of a partition. Another one, with the same Cleaned as
// before, comes ahead of the first Result that leaves tombstones out. From then on a
// snapshot of the log up to a lower offset is of no use.
//
//	 0  1  version, 1
//	 1 16  topic id
//	17  4  partition
//	21  8  cleaned
//	29  8  time, Unix milliseconds
//	37  8  offset below which tombstones may be missing
type Cleaned struct {
	Key
	Cleaned         int64 // below it, each key has one record
	TimeMs          int64 // of the entry that moved Cleaned
	TombstonesBelow int64 // not above the Cleaned of the entry before
}

// Encode returns the entry.
func (e Cleaned) Encode() segment.Entry {
	w := newPayload(e.Key, 45)
	w.I64(e.Cleaned)
	w.I64(e.TimeMs)
	w.I64(e.TombstonesBelow)
	return segment.Entry{Kind: EntryCleaned, Payload: w.B}
}

// DecodeCleaned reads the payload of an EntryCleaned.
func DecodeCleaned(payload []byte) (Cleaned, error) {
	r, err := openPayload(payload)
	if err != nil {
		return Cleaned{}, fmt.Errorf("decode cleaned entry: %w", err)
	}
	e := Cleaned{Key: readKey(r), Cleaned: r.I64(), TimeMs: r.I64(), TombstonesBelow: r.I64()}
	ok := e.Key.valid() && e.TimeMs >= 0 && e.TombstonesBelow >= 0 && e.Cleaned >= e.TombstonesBelow && e.Cleaned <= maxOffset+1
	if err := closePayload(r, ok); err != nil {
		return Cleaned{}, fmt.Errorf("decode cleaned entry: %w", err)
	}
	return e, nil
}

func compareIDs(a, b segment.ID) int { return bytes.Compare(a[:], b[:]) }
