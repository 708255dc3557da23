// Package partlog is the state of a data journal. For each partition that lives in it,
// it has the offsets, the history of leader epochs, the idempotent producers, and the
// extents: which object holds which offsets.
//
// It owns that state and the entries that change it: open, seal, expire producers, delete
// records. It owns the state's formats in the bucket: the checkpoint and the index pages.
// These hold extents that are too old for memory, and producers, so that checkpoints need
// not repeat them. It promises:
//
//   - One function, Apply, builds the state, both live and on replay.
//   - An object that does not fit leaves the state as it was.
//   - A state that was read from a checkpoint goes on like the one that was written.
//   - The state grows with pairs of object and partition, and once these are paged, with
//     chunks of up to 256 of them; never with batches or records. With each idempotent
//     producer it grows until the producer expires.
//   - A batch and an expiry cost no more when there are more producers, but for the
//     logarithm of a heap. A checkpoint writes those that changed.
//
// There is one writer, the caller of Apply. Every function that is not for it alone may
// be called from any goroutine, holds the lock for the time of a search, and returns
// copies. The package never reads a clock, a store or the records: a look-up names the
// page that the caller has to read.
package partlog

import (
	"bytes"
	"cmp"
	"errors"
	"math"
	"sync"

	"github.com/varvelog/varve/tiering/segment"
)

// ErrContradiction is an object that cannot follow the objects applied before it: an
// offset that does not continue, a partition that is not open, a leader epoch that goes
// back. The journal, or the program that wrote it, is broken; no node may go on from here.
var ErrContradiction = errors.New("object contradicts the state of its journal")

// Key names a partition.
type Key struct {
	Topic segment.ID
	Index int32 // the partition's number in its topic
}

// Compare orders keys as footers do: by topic id, then by index.
func (k Key) Compare(o Key) int {
	if c := bytes.Compare(k.Topic[:], o.Topic[:]); c != 0 {
		return c
	}
	return cmp.Compare(k.Index, o.Index)
}

// View is a partition as it stands at the head of the journal.
type View struct {
	Start, End int64 // first offset, and the offset after the last committed one: the high watermark
	Epoch      int32 // Kafka's leader epoch: the journal's epoch plus EpochBase
	EpochBase  int32
	Sealed     bool // takes no more records in this journal
	Dropped    bool // its topic is gone, and its records are garbage
	// MergedBytes are those of batches in merged segments. Deleted ones count as long as they
	// are not freed.
	MergedBytes int64
}

// State is the state of one data journal.
type State struct {
	journal uint32
	waiters waiters

	mu    sync.RWMutex
	head  uint64 // seq of the last object applied
	epoch uint32 // the journal epoch of that object
	parts map[Key]*part

	// For the writer, but for ProducerPages.
	producerPages []*producerPage // oldest first
	expiries      expiries

	tiering tiering
	applied applied
}

// home is a partition and the journal that it lives in.
type home struct {
	Key
	journal uint32
	merged  int64  // refs are of no account below
	head    uint64 // of the state
}

func (s *State) home(k Key, p *part) home { return home{k, s.journal, p.merged, s.head} }

// maxOffset is the greatest offset of a record: the one after it must be a number.
const maxOffset = math.MaxInt64 - 1

// part is one partition. While the partition is open, every ref continues where
// the one before it ended, the first at or before start, and end follows the last.
type part struct {
	start, end  int64
	epochBase   int32
	sealed      bool
	sealedEpoch int32 // the leader epoch it was sealed in
	bytes       int64 // of all batches that there ever were in journal objects
	refs        refList
	epochs      []epochStart
	producers   Producers
	tiered
}

// New returns the state of a journal before its first object.
func New(journal uint32) *State {
	return &State{
		journal: journal,
		parts:   make(map[Key]*part),
		waiters: waiters{byKey: make(map[Key]*watchers)},
		tiering: newTiering(),
		applied: applied{from: 1},
	}
}

// Journal returns the journal whose state this is.
func (s *State) Journal() uint32 { return s.journal }

// Epoch returns the journal epoch of the last object applied, 0 if there is none. When it
// changes, so do the leader epochs of all open partitions, which watchers do not notice.
func (s *State) Epoch() uint32 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.epoch
}

// Head returns the seq of the last object applied, 0 if there is none.
func (s *State) Head() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.head
}

// Behind returns how many seqs the head is after the object of an extent: all of them if
// it lies in a merged segment.
func (s *State) Behind(e *Extent) uint64 {
	return max(s.Head(), e.Object.Seq) - e.Object.Seq
}

// Lookup returns the partition's view; false if it was never opened here.
func (s *State) Lookup(k Key) (View, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	p, ok := s.parts[k]
	if !ok {
		return View{}, false
	}
	return s.viewLocked(p), true
}

func (s *State) viewLocked(p *part) View {
	v := View{
		Start: p.start, End: p.end,
		EpochBase:   p.epochBase,
		Sealed:      p.sealed,
		Dropped:     p.dropped,
		MergedBytes: p.below.shared + p.below.own,
	}
	v.Epoch = s.leaderEpochLocked(p)
	return v
}

func (s *State) leaderEpochLocked(p *part) int32 {
	if p.sealed {
		return p.sealedEpoch
	}
	return int32(s.epoch) + p.epochBase
}

// Compacted returns two offsets of a partition. From the first on no record is missing, and
// from the second on no tombstone is. Both are zero if it was never opened here.
func (s *State) Compacted(k Key) (records, tombstones int64) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	p, ok := s.parts[k]
	if !ok {
		return 0, 0
	}
	return p.merged, p.tombstonesBelow
}

// Find returns up to max extents in offset order, from the one that holds offset on,
// and the view they belong to. If that extent is not in memory, Find returns the page
// that has it instead: search there with PageExtents.From, and go on with Find after the
// page's last offset. If a page follows the extents that are returned, these are fewer.
// There is neither if offset is not in [Start, End). It is false
// if the partition was never opened here.
func (s *State) Find(k Key, offset int64, max int) ([]Extent, *Page, View, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	p, ok := s.parts[k]
	if !ok {
		return nil, nil, View{}, false
	}
	v := s.viewLocked(p)
	if offset < v.Start || offset >= v.End {
		return nil, nil, v, true
	}
	extents, page := p.find(s.home(k, p), offset, max)
	return extents, page, v, true
}

// find returns extents, or the page that has the first of them.
func (p *part) find(in home, offset int64, n int) ([]Extent, *Page) {
	if offset >= p.merged {
		return p.refs.from(in, offset, n)
	}
	extents, page := p.below.from(in, offset, n)
	if len(extents) == 0 || len(extents) == n || extents[len(extents)-1].Last+1 < p.merged {
		return extents, page
	}
	more, _ := p.refs.from(in, p.merged, n-len(extents))
	return append(extents, more...), nil
}

// FindTimeAfter returns the first extent after an offset that may hold a record with a
// timestamp of at least ts, in Unix milliseconds, or the page that has it. In the page
// PageExtents.WithTime finds it. The offset is -1, or the last one of an extent or a page;
// the page may hold no such extent after it.
func (s *State) FindTimeAfter(k Key, offset, ts int64) (Extent, *Page, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	p, ok := s.parts[k]
	if !ok {
		return Extent{}, nil, false
	}
	in, from := s.home(k, p), max(offset+1, p.start)
	if from < p.merged {
		if e, page, ok := p.below.firstWithTime(in, from, ts); ok {
			return e, page, true
		}
	}
	return p.refs.firstWithTime(in, max(from, p.merged), ts)
}

// FindNewest looks at the extents that end at offset or after it and begin before end. It
// returns the first with the greatest timestamp, or the page that may have it:
// PageExtents.Newest finds it there. If the page starts before offset, or a part of it was
// replaced, its greatest timestamp may not be there. Then an extent on either side may be
// newer than the rest of the page. FindNewest is false if no record carries a timestamp.
func (s *State) FindNewest(k Key, offset, end int64) (Extent, *Page, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	p, ok := s.parts[k]
	if !ok {
		return Extent{}, nil, false
	}
	in, from := s.home(k, p), max(offset, p.start)
	newest, page, greatest := Extent{}, (*Page)(nil), int64(-1)
	if low := max(from, p.merged); low < end {
		newest, page, greatest = p.refs.newest(in, low, end)
	}
	if from < min(p.merged, end) {
		if e, at, ts := p.below.newestIn(in, from, end); ts >= greatest {
			newest, page, greatest = e, at, ts
		}
	}
	return newest, page, greatest >= 0
}

// EpochAt returns the leader epoch in which the record at offset was written; false if
// the log holds no such offset.
func (s *State) EpochAt(k Key, offset int64) (int32, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	p, ok := s.parts[k]
	if !ok || offset < p.start || offset >= p.end {
		return 0, false
	}
	return epochAt(p.epochs, offset), true
}

// EpochEnd answers OffsetForLeaderEpoch (KIP-101, KIP-279). It returns the largest known
// epoch that is not above the one asked for, and the offset at which the next epoch
// starts: End for the epoch in force. For an epoch above that it returns (-1, -1), and for
// one older than all known epochs, that epoch and Start. It is false if the partition was
// never opened here.
func (s *State) EpochEnd(k Key, epoch int32) (got int32, end int64, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	p, ok := s.parts[k]
	if !ok {
		return 0, 0, false
	}
	got, end = epochEnd(p.epochs, s.leaderEpochLocked(p), p.end, epoch)
	return got, end, true
}

// Partitions calls fn for every partition, in the order of their keys, with the
// views of one moment. fn runs without a lock.
func (s *State) Partitions(fn func(Key, View)) {
	s.mu.RLock()
	keys := s.keysLocked()
	views := make([]View, len(keys))
	for i, k := range keys {
		views[i] = s.viewLocked(s.parts[k])
	}
	s.mu.RUnlock()
	for i, k := range keys {
		fn(k, views[i])
	}
}
