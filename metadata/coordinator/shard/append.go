package shard

import (
	"fmt"
	"time"

	"github.com/varvelog/varve/metadata/coordinator"
	"github.com/varvelog/varve/tiering/batch"
)

// pending is an Append of a Machine.
type pending struct {
	records []batch.Record
	bytes   int
	done    func(coordinator.Out, error)
}

// flight is a batch on its way into the partition.
type flight struct {
	token   uint64
	appends []pending
	base    int64 // -1 while not committed
}

// flush sends the appends of the turns since the last one, in as few batches as they
// fit into.
func (c *Core) flush() {
	for c.phase == Leading && len(c.pending) > 0 {
		pending := c.pending
		c.pending = nil
		for len(pending) > 0 {
			n := together(pending)
			c.send(pending[:n:n])
			pending = pending[n:]
		}
	}
}

// together is how many appends go into the next batch.
func together(pending []pending) int {
	n, bytes := 1, pending[0].bytes
	for n < len(pending) && bytes+pending[n].bytes <= maxBatchBytes {
		bytes += pending[n].bytes
		n++
	}
	return n
}

func (c *Core) send(appends []pending) {
	var records []batch.Record
	for i := range appends {
		records = append(records, appends[i].records...)
	}
	switch f := (&flight{appends: appends}); {
	case len(records) == 0:
		c.answer(f, nil)
		return
	case appends[0].bytes > maxAppendBytes: // and alone, then
		c.answer(f, fmt.Errorf("%w: %d bytes, limit is %d", coordinator.ErrTooLarge, appends[0].bytes, maxAppendBytes))
		return
	}
	data, h := batch.Build(records)
	c.token++
	c.flights = append(c.flights, &flight{token: c.token, appends: appends, base: -1})
	c.world.Append(c.token, data, h)
}

// Appended takes the outcome of an Append: committed from offset base on, or the
// reason why that is not known.
func (c *Core) Appended(token uint64, base int64, err error) {
	for i, f := range c.flights {
		if f.token != token {
			continue
		}
		if err == nil {
			f.base = base
		} else {
			c.flights = append(c.flights[:i:i], c.flights[i+1:]...)
			c.doubt()
			c.answer(f, err)
		}
		c.settle()
		return
	}
}

// doubt is for an append that may be committed later, or not. All appended records
// are needed then, so that the Machine learns of it without a request.
func (c *Core) doubt() {
	if end, ok := c.world.AppendEnd(); ok {
		c.need = max(c.need, end)
	}
}

// settle applies the flights that come next in the partition and answers those
// that are applied.
func (c *Core) settle() {
	for len(c.flights) > 0 && c.phase == Leading {
		f := c.flights[0]
		if f.base < 0 || f.base > c.applied {
			break
		}
		if f.base == c.applied && !c.applyFlight(f) {
			return
		}
		c.flights = c.flights[1:]
		c.answer(f, nil)
	}
	c.publish()
	c.serveReads()
	c.maybeScan()
}

// applyFlight applies the records of a batch, as if they were read from the partition.
func (c *Core) applyFlight(f *flight) bool {
	for i := range f.appends {
		for j := range f.appends[i].records {
			if !c.apply(&f.appends[i].records[j]) {
				return false
			}
		}
	}
	return true
}

// apply gives the Machine the record at the applied offset.
func (c *Core) apply(r *batch.Record) bool {
	at := coordinator.Position{Offset: c.applied, TimestampMs: r.Timestamp}
	if err := c.machine.Apply(at, coordinator.Record{Key: r.Key, Value: r.Value}); err != nil {
		c.fail(fmt.Errorf("record at offset %d: %w", at.Offset, err))
		return false
	}
	c.applied++
	c.unpublished += len(r.Key) + len(r.Value) + recordOverhead
	return true
}

// answer returns the outcome of a batch to the appends in it.
func (c *Core) answer(f *flight, err error) {
	for i := range f.appends {
		c.finish(&f.appends[i], err)
	}
}

func (c *Core) finish(p *pending, err error) {
	c.turn(func(out coordinator.Out) { p.done(out, err) })
}

// drop answers the appends that are not sent any more, and those that are made when
// they are answered.
func (c *Core) drop(err error) {
	for len(c.pending) > 0 {
		dropped := c.pending
		c.pending = nil
		for i := range dropped {
			c.finish(&dropped[i], err)
		}
	}
}

// turn is an Out.
type turn struct {
	core *Core // nil when the turn is over
	now  time.Time
}

func (t *turn) Now() time.Time { return t.now }

func (t *turn) TopicGone(name string, id [16]byte) bool { return t.core.world.TopicGone(name, id) }

func (t *turn) Append(records []coordinator.Record, done func(coordinator.Out, error)) {
	if t.core == nil {
		panic("shard: Out used after its turn")
	}
	p := pending{records: make([]batch.Record, len(records)), done: done}
	for i, r := range records {
		p.records[i] = batch.Record{Timestamp: t.now.UnixMilli(), Key: r.Key, Value: r.Value}
		p.bytes += len(r.Key) + len(r.Value) + recordOverhead
	}
	t.core.pending = append(t.core.pending, p)
}
