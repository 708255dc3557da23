package partlog

import (
	"fmt"
	"math"
	"slices"

	"github.com/varvelog/varve/tiering/segment"
)

// Apply takes the next valid object of the journal: data, fence or filler, in the order
// of their seqs, without voids. Within an object, intents and opened partitions come first,
// then expired producers and deleted records, then the entries that replace and free
// extents, then the records, then seals and drops.
//
// Apply changes nothing if it returns an error: ErrContradiction, segment.ErrCorrupt for
// an entry that does not decode, or segment.ErrUnsupported for an entry that is too new
// for this program. Only one goroutine may call Apply.
func (s *State) Apply(footer *segment.Footer, entries []segment.Entry) error {
	c := newChange(s, footer)
	if err := c.check(entries); err != nil {
		return fmt.Errorf("apply object %d of journal %d: %w", footer.Header.Seq, s.journal, err)
	}
	s.mu.Lock()
	moved := c.commitLocked()
	s.mu.Unlock()
	s.waiters.wake(moved)
	return nil
}

// change is the effect of an object on a state. All of it is checked before any of it is
// done. It reads the state without a lock, because only Apply writes.
type change struct {
	state    *State
	footer   *segment.Footer
	opened   map[Key]*part
	starts   map[Key]int64 // records before these offsets are deleted
	reopened map[Key]bool
	sealed   map[Key]bool
	expireMs int64 // 0: nothing expires
	tiering  changes
	stage    *stage // nil: nothing of tiering changes
}

func newChange(s *State, footer *segment.Footer) *change {
	return &change{
		state: s, footer: footer,
		opened: map[Key]*part{}, starts: map[Key]int64{}, reopened: map[Key]bool{}, sealed: map[Key]bool{},
	}
}

func (c *change) check(entries []segment.Entry) error {
	if err := c.checkHeader(); err != nil {
		return err
	}
	for i, e := range entries {
		if err := c.checkEntry(e); err != nil {
			return fmt.Errorf("entry %d: %w", i, err)
		}
	}
	if err := c.checkTiering(); err != nil {
		return err
	}
	parts := c.footer.Partitions
	for i := range parts {
		k := keyOf(&parts[i])
		if i > 0 && keyOf(&parts[i-1]).Compare(k) >= 0 {
			return contradiction("footer lists %v out of order", k)
		}
		if err := c.checkRecords(k, &parts[i]); err != nil {
			return fmt.Errorf("records of %v: %w", k, err)
		}
	}
	return c.checkDrops()
}

func (c *change) checkHeader() error {
	h, s := &c.footer.Header, c.state
	switch {
	case h.Journal != s.journal:
		return contradiction("it is of journal %d", h.Journal)
	case h.Seq <= s.head:
		return contradiction("object %d is applied already", s.head)
	case h.Epoch == 0 || h.Epoch < s.epoch:
		return contradiction("its epoch is %d, after %d", h.Epoch, s.epoch)
	case h.Epoch > maxEpoch:
		return contradiction("its epoch is %d, the limit is %d", h.Epoch, maxEpoch)
	}
	switch h.Kind {
	case segment.KindData:
		return nil
	case segment.KindFence, segment.KindFiller:
		if len(c.footer.Partitions) > 0 {
			return contradiction("a fence or filler lists records")
		}
		return nil
	}
	return contradiction("an object of kind %d has no place in a journal", h.Kind)
}

func (c *change) checkEntry(e segment.Entry) error {
	switch e.Kind {
	case EntryOpen:
		open, err := DecodeOpen(e.Payload)
		if err != nil {
			return err
		}
		return c.checkOpen(open)
	case EntrySeal:
		seal, err := DecodeSeal(e.Payload)
		if err != nil {
			return err
		}
		return c.checkSeal(seal)
	case EntryExpireProducers:
		expire, err := DecodeExpireProducers(e.Payload)
		if err != nil {
			return err
		}
		c.expireMs = max(c.expireMs, expire.BeforeMs)
		return nil
	case EntryDeleteRecords:
		del, err := DecodeDeleteRecords(e.Payload)
		if err != nil {
			return err
		}
		return c.checkDelete(del)
	}
	return c.tiering.decode(c.state.journal, e, c.reopen)
}

func (c *change) checkOpen(e Open) error {
	if c.part(e.Key) != nil {
		return contradiction("opens %v, which was opened before", e.Key)
	}
	c.opened[e.Key] = &part{
		start: e.StartOffset, end: e.StartOffset,
		epochBase: e.EpochBase,
		refs:      refList{start: e.StartOffset},
	}
	return nil
}

func (c *change) checkSeal(e Seal) error {
	p := c.part(e.Key)
	if p == nil || c.sealedSoFar(e.Key, p) {
		return contradiction("seals %v, which is not open", e.Key)
	}
	c.sealed[e.Key] = true
	return nil
}

func (c *change) checkDelete(e DeleteRecords) error {
	p := c.part(e.Key)
	if p == nil || c.sealedSoFar(e.Key, p) {
		return contradiction("deletes records of %v, which is not open", e.Key)
	}
	if e.Before > p.end {
		return contradiction("deletes records of %v before offset %d, the log ends at %d", e.Key, e.Before, p.end)
	}
	c.starts[e.Key] = max(c.starts[e.Key], e.Before)
	return nil
}

func (c *change) reopen(e Reopen) error {
	p := c.part(e.Key)
	if p == nil || !p.sealed || c.reopened[e.Key] || p.dropped {
		return contradiction("reopens %v, which is not sealed, or dropped", e.Key)
	}
	c.reopened[e.Key] = true
	return nil
}

// sealedSoFar reports whether a partition takes no records after the entries so far.
func (c *change) sealedSoFar(k Key, p *part) bool {
	return p.sealed && !c.reopened[k] || c.sealed[k]
}

func (c *change) part(k Key) *part {
	if p := c.state.parts[k]; p != nil {
		return p
	}
	return c.opened[k]
}

// checkRecords assumes that a journal object continues where the partition ends, at the
// very next offset: a leader leaves none out, also where compaction may later.
func (c *change) checkRecords(k Key, r *segment.Partition) error {
	p := c.part(k)
	if p == nil || p.sealed && !c.reopened[k] {
		return contradiction("the partition is not open")
	}
	switch epoch := int32(c.footer.Header.Epoch) + p.epochBase; {
	case r.BaseOffset != p.end:
		return contradiction("base offset is %d, the log ends at %d", r.BaseOffset, p.end)
	case r.LastOffset < r.BaseOffset || r.LastOffset > maxOffset:
		return contradiction("offsets run from %d to %d", r.BaseOffset, r.LastOffset)
	case r.MaxTimestamp < -1:
		return contradiction("max timestamp is %d", r.MaxTimestamp)
	case r.LeaderEpoch != epoch:
		return contradiction("leader epoch is %d, must be %d", r.LeaderEpoch, epoch)
	case r.Length == 0 || r.Position > math.MaxUint32 || r.Length > math.MaxUint32:
		return contradiction("%d bytes at position %d", r.Length, r.Position)
	case len(r.OpenTxns)+len(r.AbortedTxns) > 0:
		return fmt.Errorf("transactions: this node is too old for its journal, upgrade it: %w", segment.ErrUnsupported)
	}
	for _, producer := range r.Producers {
		if n := len(producer.Batches); producer.ID < 0 || n == 0 || n > segment.MaxProducerBatches {
			return contradiction("producer %d has %d batches", producer.ID, n)
		}
	}
	return nil
}

// commitLocked makes the checked changes and returns the keys that moved.
func (c *change) commitLocked() (moved []Key) {
	s, h := c.state, &c.footer.Header
	s.head, s.epoch = h.Seq, h.Epoch
	s.applied.note(h)
	for k, p := range c.opened {
		s.parts[k] = p
		moved = append(moved, k)
	}
	if c.expireMs > 0 {
		s.expiries.note(c.expireMs)
		for _, p := range s.parts {
			p.producers.Expire(c.expireMs)
		}
		s.producerPages = slices.DeleteFunc(s.producerPages, (*producerPage).dead)
	}
	for k := range c.reopened {
		s.parts[k].sealed, s.parts[k].sealedEpoch = false, 0
		moved = append(moved, k)
	}
	unmerged := false
	for k, start := range c.starts {
		p := s.parts[k]
		unmerged = unmerged || start > max(p.start, p.merged)
		p.deleteBefore(start)
		moved = append(moved, k)
	}
	for i := range c.footer.Partitions {
		r := &c.footer.Partitions[i]
		k := keyOf(r)
		s.parts[k].add(h, r)
		moved = append(moved, k)
	}
	for k := range c.sealed {
		p := s.parts[k]
		p.sealedEpoch = s.leaderEpochLocked(p)
		p.sealed = true
		moved = append(moved, k)
	}
	for _, e := range c.tiering.drops {
		p := s.parts[e.Key]
		p.deleteBefore(p.end)
		moved = append(moved, e.Key)
	}
	if c.stage != nil {
		c.stage.commitLocked()
	}
	if unmerged {
		s.tiering.noteUnmerged(h.Seq)
	}
	return moved
}

func (p *part) add(h *segment.Header, r *segment.Partition) {
	p.refs.add(refOf(h.Seq, r))
	p.end = r.LastOffset + 1
	p.bytes += int64(r.Length)
	if n := len(p.epochs); n == 0 || p.epochs[n-1].epoch < r.LeaderEpoch {
		p.epochs = append(p.epochs, epochStart{epoch: r.LeaderEpoch, start: r.BaseOffset})
	}
	for _, producer := range r.Producers {
		p.producers.Merge(producer, h.BuiltMs)
	}
}

// deleteBefore moves the start up. The refs before it are dropped chunk by chunk, so that
// a few of them may stay.
func (p *part) deleteBefore(start int64) {
	if start <= p.start {
		return
	}
	p.start = start
	p.epochs = epochsFrom(p.epochs, start, p.end)
	p.refs.dropBefore(start)
}

func keyOf(p *segment.Partition) Key { return Key{Topic: p.Topic, Index: p.Index} }

func contradiction(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrContradiction}, args...)...)
}
