package shard

import (
	"bytes"
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/varvelog/varve/tiering/batch"
)

// world carries out the requests of a Core, on goroutines that end with the Shard.
// The answers are events of the Shard.
type world struct{ s *Shard }

func (w world) Now() time.Time { return w.s.opt.Now() }
func (w world) TopicGone(name string, id [16]byte) bool {
	return w.s.opt.Topics.TopicGone(name, id)
}
func (w world) AppendEnd() (int64, bool)               { return w.s.opt.Partition.AppendEnd() }
func (w world) Committed() (int64, bool)               { return w.s.opt.Partition.Committed() }
func (w world) Compacted() (records, tombstones int64) { return w.s.opt.Partition.Compacted() }
func (w world) Publish(snapshot Snapshot) {
	w.s.opt.Snapshots.Put(w.s.opt.Key, snapshot)
}

// troubleEvery is how often trouble that goes on is logged: attempts are many, and so
// may be the partitions.
const troubleEvery = time.Minute

func (w world) Trouble(err error) {
	s, now := w.s, w.Now()
	if s.ctx.Err() != nil || !s.troubled.IsZero() && now.Sub(s.troubled) < troubleEvery {
		return
	}
	s.troubled = now
	s.log.Warn("coordinator cannot read its partition, trying again", "error", err)
}

// Append hands the batch to the goroutine that sends, so that the Machine has its
// turns while there is no room.
func (w world) Append(token uint64, data []byte, h batch.Header) {
	s := w.s
	s.outMu.Lock()
	defer s.outMu.Unlock()
	s.outbox = append(s.outbox, outgoing{token, data, h, w.Now().Add(appendLimit)})
	if !s.sending {
		s.sending = true
		s.work.Go(s.send)
	}
}

// send sends all batches, in order. While there is no room, each is given up when its
// time is over, so batches do not gather here.
func (s *Shard) send() {
	for {
		s.outMu.Lock()
		out := s.outbox
		s.outbox = nil
		s.sending = len(out) > 0
		s.outMu.Unlock()
		if len(out) == 0 {
			return
		}
		for _, o := range out {
			ctx, cancel := context.WithTimeout(s.ctx, o.until.Sub(s.opt.Now()))
			s.opt.Partition.Append(ctx, o.data, o.h, func(base int64, err error) {
				s.push(func() { s.core.Appended(o.token, base, err) })
			})
			cancel()
		}
	}
}

// recovered logs the end of a trouble.
func (s *Shard) recovered() {
	if !s.troubled.IsZero() {
		s.log.Info("coordinator reads its partition again")
		s.troubled = time.Time{}
	}
}

func (w world) Scan(from int64) {
	s := w.s
	s.work.Go(func() {
		p := pages{s: s}
		end, err := s.opt.Partition.Scan(s.ctx, from, p.add)
		if err == nil {
			err = p.hand()
		}
		s.push(func() {
			if err == nil {
				s.recovered()
			}
			s.core.ScanDone(end, err)
		})
	})
}

// pages gathers the batches of a scan, so that not each is an event, and not all are
// in memory.
type pages struct {
	s    *Shard
	page bytes.Buffer
}

func (p *pages) add(batches []byte) error {
	p.page.Write(batches)
	if p.page.Len() < pageBytes {
		return nil
	}
	return p.hand()
}

var errStopped = errors.New("the coordinator has stopped")

// hand gives the page to the Core and waits.
func (p *pages) hand() error {
	if p.page.Len() == 0 {
		return nil
	}
	result := make(chan error, 1)
	p.s.stats.scanned.Add(int64(p.page.Len()))
	if !p.s.push(func() { result <- p.s.core.Scanned(p.page.Bytes()) }) {
		return errStopped
	}
	select {
	case err := <-result:
		p.page.Reset()
		return err
	case <-p.s.ctx.Done():
		return errStopped
	}
}

// Stats shows the state of a Shard.
type Stats struct {
	Phase    Phase
	Failed   bool          // it ended because it could not go on
	Load     time.Duration // from its start until it led
	Applied  int64         // offset
	Scanned  int64         // bytes of batches read
	Appended int64         // batches sent
}

// counts are Stats that any goroutine may read.
type counts struct {
	phase, load, applied, scanned, appended atomic.Int64
	failed                                  atomic.Bool
}

// note takes the owner's numbers, after a burst of events.
func (n *counts) note(c *Core, begin, now time.Time) {
	if c.Phase() == Leading && Phase(n.phase.Load()) == Loading {
		n.load.Store(int64(now.Sub(begin)))
	}
	n.phase.Store(int64(c.Phase()))
	n.applied.Store(c.Applied())
	n.appended.Store(int64(c.token))
}

// Stats may be called from anywhere.
func (s *Shard) Stats() Stats {
	n := &s.stats
	return Stats{
		Phase: Phase(n.phase.Load()), Failed: n.failed.Load(), Load: time.Duration(n.load.Load()),
		Applied: n.applied.Load(), Scanned: n.scanned.Load(), Appended: n.appended.Load(),
	}
}
