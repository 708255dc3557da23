package shard

import (
	"fmt"

	"github.com/varvelog/varve/metadata/coordinator"
	"github.com/varvelog/varve/tiering/batch"
)

// lacks reports whether the partition has to be read. It has to while it loads, when
// unknown records stand before a batch of this Core, and when records are needed that
// no batch under way brings.
func (c *Core) lacks() bool {
	switch {
	case c.phase == Loading:
		return true
	case c.phase == Ended:
		return false
	case len(c.flights) > 0:
		return c.flights[0].base > c.applied
	}
	return c.need > c.applied
}

func (c *Core) maybeScan() {
	if c.scanning || !c.lacks() || c.scanAt.After(c.world.Now()) {
		return
	}
	if !c.current() && !c.restart() {
		return
	}
	c.scanning, c.scanFrom = true, c.applied
	c.world.Scan(c.applied)
}

// current reports whether the kept state knows all tombstones that were removed. It knows
// those before the records that it had when the scan under way began. A state that was
// built from the empty one needs no older tombstones. But if one was removed since, the
// scan may have read a record and missed its tombstone.
func (c *Core) current() bool {
	seen := c.applied
	if c.scanning {
		seen = c.scanFrom
	}
	_, tombstones := c.world.Compacted()
	if seen >= tombstones {
		c.whole = max(c.whole, tombstones)
	}
	return tombstones <= c.whole
}

// complete reports whether the kept state is that of all records before applied. Where
// records were removed, one that counts may be missing because of a later one with its key.
func (c *Core) complete() bool {
	removed, _ := c.world.Compacted()
	return c.applied >= removed && c.current()
}

// restart begins again with the empty state: a key that it has may have been deleted since,
// and the tombstone is gone.
func (c *Core) restart() bool {
	if c.phase == Leading {
		c.phase = Loading
		c.machine.Resign(errRestart)
		c.abandon(errRestart)
	}
	if err := c.machine.Restore(c.empty); err != nil {
		c.fail(fmt.Errorf("restore the empty state: %w", err))
		return false
	}
	_, c.whole = c.world.Compacted()
	c.applied, c.unpublished, c.lastPublished = 0, 0, 0
	return true
}

var errRestart = fmt.Errorf("%w: it reads its partition from the start again", coordinator.ErrNotCoordinator)

// Scanned takes the batches of a scan, in order; data is not kept. An error ends
// the scan, and comes back by ScanDone.
func (c *Core) Scanned(data []byte) error {
	err := batch.Walk(data, func(pos int, h batch.Header) error {
		if h.LastOffset() < c.applied || c.phase == Ended {
			return nil
		}
		return c.scannedBatch(data[pos:pos+h.Size()], h)
	})
	if err == nil && c.phase != Ended {
		c.settle()
	}
	return err
}

// maxRecord bounds the records of a compressed batch, which no Core appends.
const maxRecord = 1 << 20

func (c *Core) scannedBatch(data []byte, h batch.Header) error {
	err := batch.Records(data, maxRecord, func(r batch.Record) bool {
		switch {
		case r.Offset < c.applied:
			return true
		case !c.reach(r.Offset):
			return false
		}
		return c.apply(&batch.Record{Timestamp: r.Timestamp, Key: clone(r.Key), Value: clone(r.Value)})
	})
	if c.phase == Ended {
		return c.err
	}
	if err != nil {
		return fmt.Errorf("batch at offset %d: %w", h.BaseOffset, err)
	}
	return nil
}

// reach goes to an offset at which the partition goes on. The records before it were
// removed if they lie where records may be. Else they are lost, which ends the Core.
func (c *Core) reach(next int64) bool {
	if next == c.applied {
		return true
	}
	if removed, _ := c.world.Compacted(); next > removed {
		c.fail(fmt.Errorf("records from offset %d to %d are missing", c.applied, next-1))
		return false
	}
	c.applied = next
	return true
}

// clone keeps nil apart from empty.
func clone(b []byte) []byte {
	if b == nil {
		return nil
	}
	return append([]byte{}, b...)
}

// ScanDone ends a scan: all committed records before end have been Scanned, or err is
// the reason why not.
func (c *Core) ScanDone(end int64, err error) {
	current := c.current()
	c.scanning = false
	switch {
	case c.phase == Ended:
		return
	case !current:
		if c.restart() {
			c.maybeScan()
		}
		return
	case err == nil && end > c.applied && !c.reach(end):
		return
	}
	if err != nil {
		c.world.Trouble(err)
	} else if c.phase == Loading && c.complete() {
		c.lead()
	}
	if err == nil && !c.lacks() {
		c.pause = 0
	} else {
		c.pause = min(max(2*c.pause, scanFirst), scanMost)
	}
	c.scanAt = c.world.Now().Add(c.pause)
	c.settle()
}

func (c *Core) lead() {
	c.phase = Leading
	c.turn(c.machine.Lead)
	if len(c.deleted) > 0 {
		c.TopicsDeleted(c.deleted)
		c.deleted = nil
	}
	c.doubt() // an earlier coordinator of this process may have appended records
}

// serveReads gives the reads their turn for which enough is applied.
func (c *Core) serveReads() {
	if len(c.reads) == 0 || !c.complete() {
		return
	}
	for c.phase == Leading && len(c.reads) > 0 && c.reads[0].end <= c.applied {
		fn := c.reads[0].fn
		c.reads = c.reads[1:]
		c.turn(func(out coordinator.Out) { fn(out, nil) })
	}
}

// failRead answers the oldest read with err.
func (c *Core) failRead(err error) {
	r := c.reads[0]
	c.reads = c.reads[1:]
	r.fn(nil, err)
}
