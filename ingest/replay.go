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
// records may have to be brought to the bucket before new ones are accepted.
//
// They may be if no other node can have given their offsets away: all leaderships
// since were of this data folder, and each record's offset is where its partition
// ends. Other records are set aside for an operator, never dropped and never appended
// elsewhere (tiering/journal/PROTOCOL.md, "Restart").
type olderLog struct {
	log   *wal.Incarnation // as it was found
	files olderFiles       // its files
	next  uint64           // LSN to go on from; 0: not begun
}

// olderFiles is an older log as replay uses it; *wal.Incarnation has it.
type olderFiles interface {
	Read(from uint64, fn func(wal.Record) error) error
	SetAside(reason string) (folder string, err error)
	Remove() error
}

// replay brings the older logs of a data folder to the bucket.
type replay struct {
	*ports
	ends     *appendEnds
	flusher  *flusher
	commands *commands

	older []*olderLog         // oldest first, until they are dealt with
	local map[segment.ID]bool // leaderships of this data folder
	// onAside is called for records that were set aside, with their folder and why.
	onAside func(records int, folder string, reason error)
}

// add takes the next older log.
func (p *replay) add(found *wal.Incarnation, files olderFiles) {
	p.older = append(p.older, &olderLog{log: found, files: files})
	p.local[found.ID] = true
}

// run brings the older logs to the bucket, one object after the other, under the
// leadership of an epoch. It is called again until all of them are dealt with.
func (p *replay) run(epoch uint32) (done bool, err error) {
	for len(p.older) > 0 {
		o := p.older[0]
		done, err := p.one(o, epoch)
		if errors.Is(err, errNotReplayable) {
			err, done = p.setAside(o, err), true
		}
		if err != nil || !done {
			return false, err
		}
		p.older = p.older[1:]
	}
	return true, nil
}

// one reports whether all of a log is in the bucket and the log is gone.
func (p *replay) one(o *olderLog, epoch uint32) (done bool, err error) {
	if o.next == 0 {
		if err := p.mayReplay(o, epoch); err != nil {
			return false, err
		}
		o.next = p.firstUncovered(o)
	}
	for o.next <= o.log.LastLSN {
		if !p.journal.Room() {
			return false, nil
		}
		if err := p.some(o); err != nil {
			return false, err
		}
	}
	if !p.replayed(o) {
		return false, nil // not committed yet
	}
	return true, o.files.Remove()
}

// setAside keeps records that may not be replayed for an operator to look at.
func (p *replay) setAside(o *olderLog, reason error) error {
	n := max(1, int(o.log.LastLSN+1)-int(p.firstUncovered(o))) // at least one, if records cannot be read
	folder, err := o.files.SetAside(reason.Error())
	if err != nil {
		return err
	}
	p.onAside(n, folder, reason)
	return nil
}

var errNotReplayable = errors.New("write-ahead log cannot be replayed")

// mayReplay is nil if a log may be replayed, and errNotReplayable with the reason
// if not; any other error leaves that open.
func (p *replay) mayReplay(o *olderLog, leads uint32) error {
	l := o.log
	if d := l.Damage; d != nil {
		if d.Highest == 0 || p.journal.History().Covered(l.ID) <= d.Highest {
			return fmt.Errorf("%w: %w", errNotReplayable, d)
		}
		return nil // the records that cannot be read are in the bucket, with all the rest
	}
	if from := p.journal.History().Covered(l.ID); l.Records() > 0 && l.FirstLSN > max(from, 1) {
		return notReplayable("records %d to %d were removed as committed, but the bucket does not hold them", max(from, 1), l.FirstLSN-1)
	}
	if p.firstUncovered(o) > l.LastLSN {
		return nil // all of it is in the bucket, whichever node led since
	}
	epoch := l.Epochs[len(l.Epochs)-1]
	var foreign error
	p.journal.History().LedSince(epoch, leads, func(e uint32, incarnation segment.ID) {
		if foreign == nil && !p.local[incarnation] {
			foreign = notReplayable("another node led the journal in epoch %d, after epoch %d of these records", e, epoch)
		}
	})
	if foreign != nil {
		return foreign
	}
	return p.offsetsContinue(o)
}

// offsetsContinue checks that every record left to replay is where its partition
// ends, those before it replayed.
func (p *replay) offsetsContinue(o *olderLog) error {
	ends := map[partlog.Key]int64{}
	return o.files.Read(p.firstUncovered(o), func(r wal.Record) error {
		k := partlog.Key{Topic: r.Topic, Index: r.Index}
		end, seen := ends[k]
		if !seen {
			var open bool
			if end, open = p.ends.next(k); !open {
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

func (p *replay) firstUncovered(o *olderLog) uint64 {
	return max(p.journal.History().Covered(o.log.ID), o.log.FirstLSN)
}

// some proposes one object of a log's records, with offsets as they were
// and epochs of the new leadership.
func (p *replay) some(o *olderLog) error {
	var b buffer
	from := o.next
	err := o.files.Read(from, func(r wal.Record) error {
		if b.bytes >= p.flusher.flushBytes {
			return errStopReading
		}
		x, err := p.readRecord(&r)
		if err != nil {
			return err
		}
		p.ends.replay(x.key, x.data, &x.header, r.BaseOffset)
		b.add(x, false)
		o.next = r.LSN + 1
		return nil
	})
	if err != nil && !errors.Is(err, errStopReading) {
		release(b.batches)
		return err
	}
	h := p.journal.Header()
	h.WAL = segment.WALRange{Incarnation: o.log.ID, From: from, To: o.next}
	return p.flusher.propose(h, b.batches, p.commands.board())
}

// replayed reports whether all of the log is in the bucket.
func (p *replay) replayed(o *olderLog) bool {
	return o.log.Records() == 0 || p.journal.History().Covered(o.log.ID) > o.log.LastLSN
}
