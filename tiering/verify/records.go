package verify

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// maxProblems limits the findings about one partition in one object.
const maxProblems = 5

// examineRecords checks the batches of each partition that the footer lists.
func (o *object) examineRecords(b []byte, records bool) {
	o.batches = make([][]batch.Header, len(o.footer.Partitions))
	for i := range o.footer.Partitions {
		p := &o.footer.Partitions[i]
		part := b[p.Position : p.Position+p.Length]
		e := partlog.ExtentOf(&o.footer.Header, p)
		c := newBatches(&e, records)
		c.walk(part, p)
		o.batches[i] = c.idempotent
		if err := p.Check(part); err != nil {
			o.batches[i] = nil // not reliable
			o.damagedSection(p, &c, err)
			continue
		}
		for _, x := range c.problems {
			f := o.find(x.severity, x.code, x.at, x.hint, "%s", x.what)
			f.Affects, f.records = []Range{offsets(keyOf(p), x.first, x.last)}, true
		}
	}
}

// damagedSection is one finding for all damage to a partition's batches. The
// batches' own CRCs show which of them are hit, unless the boundary between two
// is damaged.
func (o *object) damagedSection(p *segment.Partition, c *batches, err error) {
	at, detail := int64(p.Position), "these batches"
	affects := []Range{offsets(keyOf(p), p.BaseOffset, p.LastOffset)}
	if len(c.problems) > 0 {
		at, detail = c.problems[0].at, c.problems[0].what
		if c.onlyCRC() {
			affects = affects[:0]
			for _, x := range c.problems {
				affects = append(affects, offsets(keyOf(p), x.first, x.last))
			}
		}
	}
	f := o.find(Error, CodeCorrupt, at, hintRestore, "records differ from those that were stored: %s; %v", detail, err)
	f.Affects, f.records = affects, true
}

// batches checks the batches of a partition in one object, and compares them with the
// account of them in the footer, or in the section of a merged segment.
type batches struct {
	partition  *segment.Partition // the account, once it is known
	extent     partlog.Extent
	records    bool // check their records, too
	merged     bool // in a merged segment, whose section has no producers, and times of the records
	walker     batch.Walker
	unparsed   error // why the batches from the walker's position on are not known
	count      uint32
	sum        uint64 // of record counts
	maxTime    int64  // of the batches, -1 without any
	producers  partlog.Producers
	idempotent []batch.Header
	problems   []problem
	omitted    int
}

type problem struct {
	severity    Severity
	code        Code
	at          int64 // in the object
	what, hint  string
	first, last int64 // offsets
	crc         bool
}

func (c *batches) onlyCRC() bool {
	for _, x := range c.problems {
		if !x.crc {
			return false
		}
	}
	return c.omitted == 0
}

func (c *batches) problem(x problem) {
	if len(c.problems) == maxProblems {
		c.omitted++
		return
	}
	c.problems = append(c.problems, x)
}

func newBatches(e *partlog.Extent, records bool) batches {
	return batches{extent: *e, records: records, walker: batch.NewWalker(e.Place()), maxTime: -1}
}

// walk checks the batches that b holds, and compares them with the account in a footer.
func (c *batches) walk(b []byte, p *segment.Partition) {
	for c.more() {
		rest := b[c.walker.Position()-int64(c.extent.Position):]
		if h, ok := c.parse(rest); ok {
			c.one(rest, h)
		}
	}
	c.end(p)
}

// read checks the batches from where a window is up to a position. The caller calls end.
// The error is that of the window.
func (c *batches) read(w *window, end int64) error {
	for c.more() {
		b, err := w.hold(min(batch.HeaderSize, c.walker.Left()))
		if err != nil {
			return err
		}
		h, ok := c.parse(b)
		if !ok {
			break
		}
		if b, err = w.take(int64(h.Size())); err != nil {
			return err
		}
		c.one(b, h)
	}
	return w.skipTo(end)
}

// more reports whether there is a next batch that may be parsed.
func (c *batches) more() bool { return c.walker.Left() > 0 && c.unparsed == nil }

// parse returns the header of the next batch, which starts b.
func (c *batches) parse(b []byte) (h batch.Header, ok bool) {
	h, c.unparsed = c.walker.Parse(b)
	return h, c.unparsed == nil
}

// end compares the batches with the account of them.
func (c *batches) end(p *segment.Partition) {
	c.partition = p
	if c.unparsed != nil {
		next := min(c.walker.Offset(), p.LastOffset)
		c.problem(problem{
			severity: Error, code: CodeBatch, at: c.walker.Position(), hint: hintStored,
			what: fmt.Sprintf("batch at offset %d cannot be parsed: %v", next, c.unparsed), first: next, last: p.LastOffset,
		})
	} else {
		c.compare()
	}
	if c.omitted > 0 {
		last := &c.problems[len(c.problems)-1]
		last.what += fmt.Sprintf("; and %d more problems in this partition", c.omitted)
		last.last = p.LastOffset
	}
}

// one checks the next batch, which starts b, and steps over it. Each fault is a finding of its
// own, so that none hides another.
func (c *batches) one(b []byte, h batch.Header) {
	x := problem{severity: Error, code: CodeBatch, at: c.walker.Position(), hint: hintStored, first: h.BaseOffset, last: h.LastOffset()}
	intact, faults := batch.CheckCRC(b, h), c.walker.Faults(&h)
	if !intact {
		x.crc = true
		x.what = fmt.Sprintf("batch of offsets %d to %d: CRC mismatch", x.first, x.last)
		c.problem(x)
		x.crc = false
	}
	if faults&batch.FaultEpoch != 0 {
		x.code, x.what = CodeEpoch, fmt.Sprintf("batch of offsets %d to %d has leader epoch %d, the footer says %d", x.first, x.last, h.LeaderEpoch, c.extent.Epoch)
		c.problem(x)
	}
	if faults&(batch.FaultGap|batch.FaultRepeat) != 0 {
		c.discontinuity(x, h)
	}
	x.code = CodeBatch
	if intact && !c.plausibleCount(h) {
		x.what = fmt.Sprintf("batch at offset %d has %d records and last offset delta %d", h.BaseOffset, h.Records, h.LastOffsetDelta)
		c.problem(x)
	} else if intact && c.records && h.Records > 0 { // a merged segment may have empty ones
		c.lookInto(b, h, x)
	}
	c.count++
	c.sum += uint64(max(h.Records, 0))
	c.maxTime = max(c.maxTime, h.MaxTimestamp)
	if h.ProducerID >= 0 && !c.merged {
		c.producers.Add(h, h.BaseOffset, 0)
		c.idempotent = append(c.idempotent, h)
	}
	c.walker.Skip(&h)
}

// plausibleCount reports whether the batch has a record for each of its
// offsets, or, if gaps are allowed, no more than that.
func (c *batches) plausibleCount(h batch.Header) bool {
	if c.extent.Gaps() {
		return h.Records >= 0 && h.Records-1 <= h.LastOffsetDelta
	}
	return h.Records > 0 && h.Records-1 == h.LastOffsetDelta
}

// discontinuity notes that the batch does not begin at the end of the one
// before it.
func (c *batches) discontinuity(x problem, h batch.Header) {
	next := c.walker.Offset()
	x.code, x.first, x.last = CodeOffsets, next, h.BaseOffset-1
	x.what = fmt.Sprintf("offsets %d to %d are left out before this batch", x.first, x.last)
	if h.BaseOffset < next {
		x.first, x.last = h.BaseOffset, min(next-1, h.LastOffset())
		x.what = fmt.Sprintf("offsets %d to %d are used twice, this batch has them again", x.first, x.last)
	}
	c.problem(x)
}

// lookInto decompresses a batch. Its decoder checks that offsets rise within
// the batch and that the header's record count is right.
func (c *batches) lookInto(b []byte, h batch.Header, x problem) {
	maxTime := int64(-1)
	err := batch.Scan(context.Background(), nil, b, func(r batch.Meta) bool {
		maxTime = max(maxTime, r.Timestamp)
		return true
	})
	switch {
	case errors.Is(err, batch.ErrDecompress):
		x.severity, x.code, x.hint = Warning, CodeContent, "its CRC is right; consumers with more memory may be able to read it"
		x.what = fmt.Sprintf("batch of offsets %d to %d cannot be checked: %v", x.first, x.last, err)
	case err != nil:
		x.severity, x.code, x.hint = Warning, CodeContent, hintContent
		x.what = fmt.Sprintf("batch of offsets %d to %d is stored as a client sent it, and its records cannot be decoded: %v", x.first, x.last, err)
	case maxTime != h.MaxTimestamp:
		x.severity, x.hint = Warning, "the producer sent it so; look-ups of offsets by time may miss these records"
		x.what = fmt.Sprintf("batch of offsets %d to %d says its latest timestamp is %d, its records have %d", x.first, x.last, h.MaxTimestamp, maxTime)
	default:
		return
	}
	c.problem(x)
}

// compare compares the sums of the batches with the footer.
func (c *batches) compare() {
	p := c.partition
	x := problem{severity: Error, code: CodeBatch, at: int64(p.Position), hint: hintStored, first: p.BaseOffset, last: p.LastOffset}
	end := c.walker.Offset() - 1
	if c.merged {
		p.MaxTimestamp = c.maxTime // that of the section is of the records, not of the headers
	}
	if c.count != p.Batches || min(c.sum, maxUint32) != uint64(p.Records) || c.walker.End() != nil || end > p.LastOffset || c.maxTime != p.MaxTimestamp {
		x.what = fmt.Sprintf("%d batches of %d records to offset %d with latest timestamp %d; the footer says %d of %d to %d with %d",
			c.count, c.sum, end, c.maxTime, p.Batches, p.Records, p.LastOffset, p.MaxTimestamp)
		c.problem(x)
		return
	}
	if c.merged {
		return
	}
	var want []segment.Producer
	c.producers.Each(func(p segment.Producer, _ int64) { want = append(want, p) })
	if !reflect.DeepEqual(want, p.Producers) {
		x.code = CodeProducers
		x.what = fmt.Sprintf("the footer's account of %d idempotent producers contradicts the batches, which have %d", len(p.Producers), len(want))
		x.hint = "records are intact; a producer's retry may be refused, or stored twice"
		c.problem(x)
	}
}

const maxUint32 = 1<<32 - 1

func keyOf(p *segment.Partition) partlog.Key {
	return partlog.Key{Topic: p.Topic, Index: p.Index}
}
