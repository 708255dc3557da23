package partlog

import (
	"fmt"

	"github.com/varvelog/varve/tiering/segment"
)

// changes are the entries of an object that replace and free extents. They apply by
// kind, in the order of the fields.
type changes struct {
	intents  []Intent
	results  []*Result
	abandons []Abandon
	cleaned  []Cleaned
	releases []*Release
	swept    []*Swept
	drops    []Drop
}

// decode adds an entry. A Reopen is handed on.
func (t *changes) decode(journal uint32, e segment.Entry, reopen func(Reopen) error) error {
	switch e.Kind {
	case EntryIntent:
		return add(&t.intents)(DecodeIntent(journal, e.Payload))
	case EntryResult:
		return add(&t.results)(DecodeResult(journal, e.Payload))
	case EntryAbandon:
		return add(&t.abandons)(DecodeAbandon(e.Payload))
	case EntryCleaned:
		return add(&t.cleaned)(DecodeCleaned(e.Payload))
	case EntryRelease:
		return add(&t.releases)(DecodeRelease(journal, e.Payload))
	case EntrySwept:
		return add(&t.swept)(DecodeSwept(e.Payload))
	case EntryDrop:
		return add(&t.drops)(DecodeDrop(e.Payload))
	case EntryReopen:
		r, err := DecodeReopen(e.Payload)
		if err != nil {
			return err
		}
		return reopen(r)
	}
	return fmt.Errorf("kind %d is unknown: this node is too old for its journal, upgrade it: %w", e.Kind, segment.ErrUnsupported)
}

func add[T any](to *[]T) func(T, error) error {
	return func(e T, err error) error {
		*to = append(*to, e)
		return err
	}
}

// checkTiering tries the entries that come before the records.
func (c *change) checkTiering() error {
	if c.footer.Header.Kind == segment.KindFence && len(c.state.tiering.intents) > 0 {
		c.staged().fence()
	}
	if len(c.reopened) > 0 {
		c.staged()
	}
	t := &c.tiering
	for _, e := range t.intents {
		if err := c.staged().intend(e); err != nil {
			return err
		}
	}
	for _, e := range t.results {
		if err := c.staged().result(e); err != nil {
			return err
		}
	}
	for _, e := range t.abandons {
		if err := c.staged().abandon(e); err != nil {
			return err
		}
	}
	for _, e := range t.cleaned {
		if err := c.staged().clean(e); err != nil {
			return err
		}
	}
	for _, e := range t.releases {
		if err := c.staged().release(e); err != nil {
			return err
		}
	}
	for _, e := range t.swept {
		if err := c.staged().sweep(e); err != nil {
			return err
		}
	}
	return nil
}

// checkDrops tries the entries that come last.
func (c *change) checkDrops() error {
	for _, e := range c.tiering.drops {
		if err := c.staged().drop(e); err != nil {
			return err
		}
	}
	return nil
}

// Try returns why Apply would not take an object with these entries alone as the next one,
// or nil. A leader tries its entries before it commits them: one that contradicts the state
// would end the journal. It may be called from any goroutine.
func (s *State) Try(entries []segment.Entry) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	header := segment.Header{Kind: segment.KindData, Journal: s.journal, Seq: s.head + 1, Epoch: max(s.epoch, 1)}
	return newChange(s, &segment.Footer{Header: header}).check(entries)
}
