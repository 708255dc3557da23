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
	log   *wal.Incarnation // what was found
	files olderFiles       // its files
	next  uint64           // LSN to go on from; 0: not begun
}

// olderFiles is what replay does with an older log; *wal.Incarnation has it.
type olderFiles interface {
	Read(from uint64, fn func(wal.Record) error) error
	SetAside(reason string) (folder string, err error)
	Remove() error
}

// replay is what is left to do with the older logs of a data folder.
type replay struct {
	older []*olderLog         // oldest first, until they are dealt with
	local map[segment.ID]bool // their incarnations
	// warn tells of records that were set aside, to which folder and why.
	warn func(records int, folder string, reason error)
}

// addOlder takes the next older log.
func (c *core) addOlder(found *wal.Incarnation, files olderFiles) {
	c.replay.older = append(c.replay.older, &olderLog{log: found, files: files})
	c.replay.local[found.ID] = true
}

// replayOlder brings the older logs to the bucket, one segment after the other,
// and then lets requests in. It is called again while there is something left.
func (c *core) replayOlder() error {
	for len(c.replay.older) > 0 {
		o := c.replay.older[0]
		done, err := c.replayOne(o)
		if errors.Is(err, errNotReplayable) {
			err, done = c.setAside(o, err), true
		}
		if err != nil || !done {
			return err
		}
		c.replay.older = c.replay.older[1:]
	}
	c.accepting = true
	return nil
}

// replayOne reports whether all of a log is in the bucket and the log is gone.
func (c *core) replayOne(o *olderLog) (done bool, err error) {
	if o.next == 0 {
		if err := c.mayReplay(o); err != nil {
			return false, err
		}
		o.next = c.firstUncovered(o)
	}
	for o.next <= o.log.LastLSN {
		if !c.journal.Room() {
			return false, nil
		}
		if err := c.replaySome(o); err != nil {
			return false, err
		}
	}
	if !c.replayed(o) {
		return false, nil // not committed yet
	}
	return true, o.files.Remove()
}

// setAside keeps what may not be replayed for a person to look at.
func (c *core) setAside(o *olderLog, reason error) error {
	n := max(1, int(o.log.LastLSN+1)-int(c.firstUncovered(o))) // one at least, of what cannot be read
	folder, err := o.files.SetAside(reason.Error())
	if err != nil {
		return err
	}
	c.replay.warn(n, folder, reason)
	return nil
}

var (
	errStopReading   = errors.New("enough read")
	errNotReplayable = errors.New("write-ahead log cannot be replayed")
)

// mayReplay is nil if a log may be replayed, and errNotReplayable with the reason
// if not; any other error leaves that open.
func (c *core) mayReplay(o *olderLog) error {
	l := o.log
	if d := l.Damage; d != nil {
		if d.Highest == 0 || c.journal.History().Covered(l.ID) <= d.Highest {
			return fmt.Errorf("%w: %w", errNotReplayable, d)
		}
		return nil // what cannot be read is in the bucket, with all the rest
	}
	if from := c.journal.History().Covered(l.ID); l.Records() > 0 && l.FirstLSN > max(from, 1) {
		return notReplayable("records %d to %d were removed as committed, but the bucket does not hold them", max(from, 1), l.FirstLSN-1)
	}
	if c.firstUncovered(o) > l.LastLSN {
		return nil // all of it is in the bucket, whoever led since
	}
	epoch := l.Epochs[len(l.Epochs)-1]
	var foreign error
	c.journal.History().LedSince(epoch, c.epoch, func(e uint32, incarnation segment.ID) {
		if foreign == nil && !c.replay.local[incarnation] {
			foreign = notReplayable("another node led the journal in epoch %d, after epoch %d of these records", e, epoch)
		}
	})
	if foreign != nil {
		return foreign
	}
	return c.offsetsContinue(o)
}

// offsetsContinue checks that every record left to replay is where its partition
// ends, those before it replayed.
func (c *core) offsetsContinue(o *olderLog) error {
	ends := map[partlog.Key]int64{}
	return o.files.Read(c.firstUncovered(o), func(r wal.Record) error {
		k := partlog.Key{Topic: r.Topic, Index: r.Index}
		end, seen := ends[k]
		if !seen {
			var open bool
			if end, open = c.ends.next(k); !open {
				return notReplayable("record %d is of partition %d of topic %s, which is not open", r.LSN, r.Index, r.Topic)
			}
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

func (c *core) firstUncovered(o *olderLog) uint64 {
	return max(c.journal.History().Covered(o.log.ID), o.log.FirstLSN)
}

// replaySome proposes one segment of a log's records, with offsets as they were
// and epochs of the new leadership.
func (c *core) replaySome(o *olderLog) error {
	var b buffer
	from := o.next
	err := o.files.Read(from, func(r wal.Record) error {
		if b.bytes >= c.flushBytes {
			return errStopReading
		}
		data := append([]byte(nil), r.Batch...)
		h, err := batch.Parse(data)
		if err != nil {
			return err
		}
		k := partlog.Key{Topic: r.Topic, Index: r.Index}
		c.ends.replay(k, data, &h, r.BaseOffset)
		b.add(buffered{key: k, data: data, header: h, at: c.now()}, false)
		o.next = r.LSN + 1
		return nil
	})
	if err != nil && !errors.Is(err, errStopReading) {
		return err
	}
	h := c.journal.Header()
	h.WAL = segment.WALRange{Incarnation: o.log.ID, From: from, To: o.next}
	return c.propose(h, b.batches)
}

// replayed reports whether all of the log is in the bucket.
func (c *core) replayed(o *olderLog) bool {
	return o.log.Records() == 0 || c.journal.History().Covered(o.log.ID) > o.log.LastLSN
}
