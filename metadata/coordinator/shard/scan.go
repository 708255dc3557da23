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
	c.scanning = true
	c.world.Scan(c.applied)
}

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
		case r.Offset > c.applied:
			c.missing(r.Offset)
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

// missing ends the Core, because the partition goes on at an offset beyond the next
// one. It assumes that no extent of a coordinator's partition has gaps: where compaction
// may leave records out, a gap must be skipped here and in ScanDone.
func (c *Core) missing(next int64) {
	c.fail(fmt.Errorf("records from offset %d to %d are missing", c.applied, next-1))
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
	c.scanning = false
	if c.phase == Ended {
		return
	}
	if err == nil && end > c.applied {
		c.missing(end)
		return
	}
	if err != nil {
		c.world.Trouble(err)
	} else if c.phase == Loading {
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
