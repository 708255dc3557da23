package ingest

import (
	"errors"
	"fmt"

	"github.com/varvelog/varve/ingest/wal"
	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// olderLog is the write-ahead log of an earlier start of this node, whose
// records may have to be brought to the bucket before new ones are taken.
//
// They may be if nobody else can have given their offsets away: all leaderships
// since were of this data folder, and each record's offset is where its
// partition ends. Those that may not be are set aside for a person, never
// dropped and never appended elsewhere (tiering/journal/PROTOCOL.md, "Restart").
type olderLog struct {
	log  *wal.Incarnation
	next uint64 // LSN to go on from
}

var (
	errStopReading   = errors.New("enough read")
	errNotReplayable = errors.New("write-ahead log cannot be replayed")
)

// mayReplay is nil if a log may be replayed, and errNotReplayable with the reason
// if not; any other error leaves that open. local are the incarnations of this
// data folder.
func (c *core) mayReplay(l *wal.Incarnation, local map[segment.ID]bool) error {
	if l.Damage != nil && c.journal.History().Covered(l.ID) <= l.Damage.Highest {
		return fmt.Errorf("%w: %w", errNotReplayable, l.Damage)
	}
	if from := c.journal.History().Covered(l.ID); l.Records() > 0 && l.FirstLSN > max(from, 1) {
		return notReplayable("records %d to %d were removed as committed, but the bucket does not hold them", max(from, 1), l.FirstLSN-1)
	}
	if len(l.Epochs) == 0 {
		return nil
	}
	epoch := l.Epochs[len(l.Epochs)-1]
	var foreign error
	c.journal.History().LedSince(epoch, c.epoch, func(e uint32, incarnation segment.ID) {
		if foreign == nil && !local[incarnation] {
			foreign = notReplayable("another node led the journal in epoch %d, after epoch %d of these records", e, epoch)
		}
	})
	if foreign != nil {
		return foreign
	}
	return c.offsetsContinue(l)
}

// offsetsContinue checks that every record left to replay is where its partition
// ends, those before it replayed.
func (c *core) offsetsContinue(l *wal.Incarnation) error {
	ends := map[partlog.Key]int64{}
	return l.Read(c.firstUncovered(l), func(r wal.Record) error {
		k := partlog.Key{Topic: r.Topic, Index: r.Index}
		end, seen := ends[k]
		if !seen {
			p := c.parts[k]
			if p == nil {
				return notReplayable("record %d is of partition %d of topic %s, which is not open", r.LSN, r.Index, r.Topic)
			}
			end = p.next.Load()
		}
		if r.BaseOffset != end {
			return notReplayable("record %d has offset %d in partition %d of topic %s, which ends at %d", r.LSN, r.BaseOffset, r.Index, r.Topic, end)
		}
		h, err := batch.Parse(r.Batch)
		if err != nil {
			return notReplayable("record %d: %w", r.LSN, err)
		}
		ends[k] = h.LastOffset() + 1
		return nil
	})
}

func notReplayable(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{errNotReplayable}, args...)...)
}

func (c *core) firstUncovered(l *wal.Incarnation) uint64 {
	return max(c.journal.History().Covered(l.ID), l.FirstLSN)
}

// replaySome proposes one segment of a log's records, with offsets as they were
// and epochs of the new leadership. It reports whether anything was left.
func (c *core) replaySome(o *olderLog) (more bool, err error) {
	var b buffer
	from := o.next
	err = o.log.Read(from, func(r wal.Record) error {
		if b.bytes >= c.flushBytes {
			return errStopReading
		}
		data := append([]byte(nil), r.Batch...)
		h, err := batch.Parse(data)
		if err != nil {
			return err
		}
		k := partlog.Key{Topic: r.Topic, Index: r.Index}
		p := c.parts[k]
		batch.Patch(data, r.BaseOffset, p.epoch)
		p.next.Store(h.LastOffset() + 1)
		p.producers.Add(h, r.BaseOffset, c.now().UnixMilli())
		h.LeaderEpoch = p.epoch
		b.add(buffered{key: k, data: data, header: h, at: c.now()}, false)
		o.next = r.LSN + 1
		return nil
	})
	if err != nil && !errors.Is(err, errStopReading) {
		return false, err
	}
	if len(b.batches) == 0 {
		return false, nil
	}
	h := c.journal.Header()
	h.WAL = segment.WALRange{Incarnation: o.log.ID, From: from, To: o.next}
	return true, c.propose(h, b.batches, nil)
}

// replayed reports whether all of the log is in the bucket.
func (c *core) replayed(l *wal.Incarnation) bool {
	return l.Records() == 0 || c.journal.History().Covered(l.ID) > l.LastLSN
}
