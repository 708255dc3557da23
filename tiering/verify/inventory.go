package verify

import (
	"context"
	"fmt"
	"iter"
	"math"
	"strings"

	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/segment"
)

const maxUnknown = 100 // keys reported one by one

// stored is the listing of a journal. It is a hint: it has the places to read,
// the amount of data, and the objects after a gap.
type stored struct {
	runs   []run // in the order of seqs
	count  int64
	bytes  int64
	floors []uint64 // numbers of floor objects, ascending
	blobs  []string // keys of checkpoints and index pages
}

// floorFrom returns the lowest number of a floor object from n on, 0 if there
// is none.
func (s *stored) floorFrom(n uint64) uint64 {
	for _, number := range s.floors {
		if number >= n {
			return number
		}
	}
	return 0
}

// run is a row of objects with consecutive seqs.
type run struct {
	first uint64
	sizes []uint32 // bytes; of larger ones the greatest uint32
}

func (s *stored) add(seq uint64, size int64) {
	if n := len(s.runs); n == 0 || s.runs[n-1].first+uint64(len(s.runs[n-1].sizes)) != seq {
		s.runs = append(s.runs, run{first: seq})
	}
	r := &s.runs[len(s.runs)-1]
	r.sizes = append(r.sizes, uint32(min(max(size, 0), math.MaxUint32)))
	s.count++
	s.bytes += size
}

// from yields seq and size of the objects from a seq on.
func (s *stored) from(seq uint64) iter.Seq2[uint64, int64] {
	return func(yield func(uint64, int64) bool) {
		for _, r := range s.runs {
			skip := 0
			if seq > r.first {
				skip = int(min(seq-r.first, uint64(len(r.sizes))))
			}
			for i, size := range r.sizes[skip:] {
				if !yield(r.first+uint64(skip+i), int64(size)) {
					return
				}
			}
		}
	}
}

// last returns the highest listed seq, 0 if there is none.
func (s *stored) last() uint64 {
	if len(s.runs) == 0 {
		return 0
	}
	r := s.runs[len(s.runs)-1]
	return r.first + uint64(len(r.sizes)) - 1
}

// inventory is the listing of a bucket.
type inventory struct {
	journals map[uint32]*stored
	merged   map[segment.ID]uint32 // merged segments with their sizes
	topics   []segment.ID          // with an object that has the name
	unknown  []string              // the first maxUnknown
	more     int                   // unknown ones beyond them
}

func newInventory() *inventory {
	return &inventory{journals: map[uint32]*stored{}, merged: map[segment.ID]uint32{}}
}

func (inv *inventory) journal(id uint32) *stored {
	s := inv.journals[id]
	if s == nil {
		s = &stored{}
		inv.journals[id] = s
	}
	return s
}

// add adds a key.
func (inv *inventory) add(i objstore.Info) {
	if i.Key == segment.ClusterKey || strings.HasPrefix(i.Key, segment.ProbePrefix+"/") {
		return
	}
	if name, ok := segment.ParseMergedKey(i.Key); ok {
		inv.merged[name.Object] = uint32(min(max(i.Size, 0), math.MaxUint32))
		return
	}
	if topic, ok := segment.ParseTopicNameKey(i.Key); ok {
		inv.topics = append(inv.topics, topic)
		return
	}
	if _, held := segment.ParseHoldKey(i.Key); held || segment.IsCopyKey(i.Key) || segment.IsPeerKey(i.Key) {
		return
	}
	if journal, ok := segment.JournalOf(i.Key); ok && inv.addJournal(journal, i) {
		return
	}
	if len(inv.unknown) == maxUnknown {
		inv.more++
		return
	}
	inv.unknown = append(inv.unknown, i.Key)
}

// addJournal adds an object whose key is below the prefix of a journal.
func (inv *inventory) addJournal(journal uint32, i objstore.Info) bool {
	if n, ok := segment.ParseFloorKey(journal, i.Key); ok && n > 0 {
		s := inv.journal(journal)
		s.floors = append(s.floors, n)
		return true
	}
	if isBlob(journal, i.Key) {
		s := inv.journal(journal)
		s.blobs = append(s.blobs, i.Key)
		return true
	}
	seq, ok := segment.ParseJournalKey(journal, i.Key)
	if !ok || seq == 0 {
		return false
	}
	inv.journal(journal).add(seq, i.Size)
	return true
}

// list adds all objects whose keys start with prefix and come after a key.
func (v *Verifier) list(ctx context.Context, inv *inventory, prefix, after string) error {
	err := v.store.List(ctx, prefix, after, func(i objstore.Info) error {
		inv.add(i)
		v.listedObjects.Add(1)
		return nil
	})
	if err != nil {
		return fmt.Errorf("list %q of bucket %s: %w", prefix, v.store, err)
	}
	return nil
}
