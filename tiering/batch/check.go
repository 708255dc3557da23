package batch

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Rules are the demands of a topic on the records of a batch.
type Rules struct {
	Keys           bool  // no key may be null
	Oldest, Newest int64 // bounds of timestamps, in Unix milliseconds; -1 is always allowed
}

// BadRecord is a record that is not accepted, by its place in its batch.
type BadRecord struct {
	Index     int32
	Timestamp int64 // Unix milliseconds
	Err       error // ErrKey, ErrTimestamp, or an ErrInvalidRecord that says what is malformed
}

// BadRecords is the error of a batch that is refused because of its records. It has the
// first of these in order. It is an ErrTimestamp if one of them is, else an
// ErrInvalidRecord.
type BadRecords []BadRecord

// maxBadRecords bounds the records named in one error.
const maxBadRecords = 100

func (e BadRecords) Error() string {
	var words []string
	for _, r := range e[:min(len(e), 3)] {
		words = append(words, fmt.Sprintf("record %d: %v", r.Index, r.Err))
	}
	if len(e) > 3 {
		words = append(words, "and more")
	}
	return strings.Join(words, "; ")
}

// Is makes BadRecords an error of one class.
func (e BadRecords) Is(target error) bool {
	class := ErrInvalidRecord
	for _, r := range e {
		if errors.Is(r.Err, ErrTimestamp) {
			class = ErrTimestamp
		}
	}
	return target == class
}

// Check walks the records of a batch that Validate has accepted. b holds that batch and no
// more. Check returns the greatest timestamp of the records, -1 if none carries one.
//
// There must be as many records as the header says, with offset deltas from 0 up without a
// gap. They must keep the rules, and no bytes may follow them. Compressed records are
// decoded in a stream, in little memory whatever they expand to, which is taken from room.
// BadRecords has the records at fault; other errors are those of ctx.
func Check(ctx context.Context, room *Room, b []byte, h Header, rules Rules) (maxTimestamp int64, err error) {
	var o opened
	if err := o.open(ctx, room, b, h); err != nil {
		return 0, refused(ctx, 0, err)
	}
	defer o.close()
	if err := foreign(&o.plan); err != nil {
		return 0, refused(ctx, 0, undecodable(h, err))
	}
	maxTimestamp = -1
	var bad BadRecords
	for i := range h.Records {
		e, flaw := o.reader.next()
		if flaw != "" {
			return 0, refused(ctx, i, o.reader.flawed(i, h, flaw))
		}
		if e.offset != i {
			return 0, refused(ctx, i, fmt.Errorf("record %d of %d has offset delta %d", i, h.Records, e.offset))
		}
		ts := h.BaseTimestamp + e.timestamp
		maxTimestamp = max(maxTimestamp, ts)
		if rules.breaks(e, ts) && len(bad) < maxBadRecords {
			bad = append(bad, rules.verdict(i, e, ts))
		}
	}
	if err := o.finished(h); err != nil {
		return 0, refused(ctx, h.Records-1, err)
	}
	if bad != nil {
		return 0, bad
	}
	return maxTimestamp, nil
}

func (r *Rules) breaks(e entry, ts int64) bool {
	return r.Keys && !e.keyed || ts != -1 && (ts < r.Oldest || ts > r.Newest)
}

func (r *Rules) verdict(i int32, e entry, ts int64) BadRecord {
	if r.Keys && !e.keyed {
		return BadRecord{Index: i, Timestamp: ts, Err: ErrKey}
	}
	return BadRecord{Index: i, Timestamp: ts, Err: ErrTimestamp}
}

// refused returns the error of a batch that no consumer could read from record i on. If
// ctx has ended, the batch may be good, and the error is that of ctx.
func refused(ctx context.Context, i int32, err error) error {
	if ctx.Err() != nil {
		return err
	}
	return BadRecords{{Index: i, Err: fmt.Errorf("%w: %w", ErrInvalidRecord, err)}}
}
