package partlog

import (
	"fmt"

	"github.com/varvelog/varve/tiering/segment"
	"github.com/varvelog/varve/tiering/wire"
)

// The kinds of entries of a data journal. A kind this program does not know
// stops it.
const (
	EntryOpen            uint16 = 1
	EntrySeal            uint16 = 2
	EntryExpireProducers uint16 = 3
	EntryDeleteRecords   uint16 = 4
)

// entryVersion is the only version of the payloads below.
const entryVersion = 1

// maxEpoch bounds journal epochs and epoch bases, so that their sum always fits into
// Kafka's leader epoch.
const maxEpoch = 1<<30 - 1

// MaxEpochBase is the highest epoch base of a partition.
const MaxEpochBase = maxEpoch

// Open makes the journal take records of a partition. It comes before the
// records in the same object.
//
//	 0  1  version, 1
//	 1 16  topic id
//	17  4  partition
//	21  8  start offset
//	29  4  epoch base
type Open struct {
	Key
	StartOffset int64 // offset of the first record to come
	EpochBase   int32 // leader epoch less journal epoch, in [0, 2^30)
}

// Encode returns the entry.
func (e Open) Encode() segment.Entry {
	w := newPayload(e.Key, 33)
	w.I64(e.StartOffset)
	w.I32(e.EpochBase)
	return segment.Entry{Kind: EntryOpen, Payload: w.B}
}

// DecodeOpen reads the payload of an EntryOpen.
func DecodeOpen(payload []byte) (Open, error) {
	r, err := openPayload(payload)
	if err != nil {
		return Open{}, fmt.Errorf("decode open entry: %w", err)
	}
	e := Open{Key: readKey(r), StartOffset: r.I64(), EpochBase: r.I32()}
	ok := e.Key.valid() && e.StartOffset >= 0 && e.EpochBase >= 0 && e.EpochBase <= maxEpoch
	if err := closePayload(r, ok); err != nil {
		return Open{}, fmt.Errorf("decode open entry: %w", err)
	}
	return e, nil
}

// Seal makes the journal take no more records of a partition.
// It comes after the records in the same object.
//
//	 0  1  version, 1
//	 1 16  topic id
//	17  4  partition
type Seal struct{ Key }

// Encode returns the entry.
func (e Seal) Encode() segment.Entry {
	w := newPayload(e.Key, 21)
	return segment.Entry{Kind: EntrySeal, Payload: w.B}
}

// DecodeSeal reads the payload of an EntrySeal.
func DecodeSeal(payload []byte) (Seal, error) {
	r, err := openPayload(payload)
	if err != nil {
		return Seal{}, fmt.Errorf("decode seal entry: %w", err)
	}
	e := Seal{Key: readKey(r)}
	if err := closePayload(r, e.Key.valid()); err != nil {
		return Seal{}, fmt.Errorf("decode seal entry: %w", err)
	}
	return e, nil
}

// ExpireProducers forgets, in all partitions of the journal, the idempotent
// producers that were last used before a time. It comes before the records in
// the same object.
//
//	0  1  version, 1
//	1  8  time
type ExpireProducers struct {
	BeforeMs int64 // Unix milliseconds, compared with the BuiltMs of segments
}

// Encode returns the entry.
func (e ExpireProducers) Encode() segment.Entry {
	w := wire.Writer{B: make([]byte, 0, 9)}
	w.U8(entryVersion)
	w.I64(e.BeforeMs)
	return segment.Entry{Kind: EntryExpireProducers, Payload: w.B}
}

// DecodeExpireProducers reads the payload of an EntryExpireProducers.
func DecodeExpireProducers(payload []byte) (ExpireProducers, error) {
	r, err := openPayload(payload)
	if err != nil {
		return ExpireProducers{}, fmt.Errorf("decode expire-producers entry: %w", err)
	}
	e := ExpireProducers{BeforeMs: r.I64()}
	if err := closePayload(r, e.BeforeMs >= 0); err != nil {
		return ExpireProducers{}, fmt.Errorf("decode expire-producers entry: %w", err)
	}
	return e, nil
}

// DeleteRecords moves the start of a partition up to an offset: no reader gets the records
// before it any more. It changes nothing if the offset is not above the start. It comes
// before the records in the same object, and goes up to their first offset at most: only
// committed records are deleted.
//
//	 0  1  version, 1
//	 1 16  topic id
//	17  4  partition
//	21  8  offset
type DeleteRecords struct {
	Key
	Before int64 // the first offset that is kept
}

// Encode returns the entry.
func (e DeleteRecords) Encode() segment.Entry {
	w := newPayload(e.Key, 29)
	w.I64(e.Before)
	return segment.Entry{Kind: EntryDeleteRecords, Payload: w.B}
}

// DecodeDeleteRecords reads the payload of an EntryDeleteRecords.
func DecodeDeleteRecords(payload []byte) (DeleteRecords, error) {
	r, err := openPayload(payload)
	if err != nil {
		return DeleteRecords{}, fmt.Errorf("decode delete-records entry: %w", err)
	}
	e := DeleteRecords{Key: readKey(r), Before: r.I64()}
	if err := closePayload(r, e.Key.valid() && e.Before >= 0); err != nil {
		return DeleteRecords{}, fmt.Errorf("decode delete-records entry: %w", err)
	}
	return e, nil
}

func (k Key) valid() bool { return !k.Topic.IsZero() && k.Index >= 0 }

func newPayload(k Key, size int) *wire.Writer {
	w := &wire.Writer{B: make([]byte, 0, size)}
	w.U8(entryVersion)
	w.ID(k.Topic)
	w.I32(k.Index)
	return w
}

func openPayload(b []byte) (*wire.Reader, error) {
	r := wire.NewReader(b)
	if v := r.U8(); r.Err() == nil && v != entryVersion {
		return nil, fmt.Errorf("payload version %d, this program knows %d: %w", v, entryVersion, segment.ErrUnsupported)
	}
	return r, nil
}

func closePayload(r *wire.Reader, inRange bool) error {
	if err := r.Close(); err != nil {
		return fmt.Errorf("%w: %w", segment.ErrCorrupt, err)
	}
	if !inRange {
		return fmt.Errorf("%w: value out of range", segment.ErrCorrupt)
	}
	return nil
}

func readKey(r *wire.Reader) Key { return Key{Topic: r.ID(), Index: r.I32()} }
