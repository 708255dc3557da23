package journal

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/segment"
)

// tailBytes is asked for first when an object's index is read: the whole of a
// fence or a small segment, and the footer of nearly every larger one.
const tailBytes = 64 << 10

// ReadObject reads index and entries of the object at seq, with one request
// where they are small. The error is objstore.ErrNotFound if the store said that
// there is none.
func ReadObject(ctx context.Context, store objstore.Store, journal uint32, seq uint64) (*Object, error) {
	key := segment.JournalKey(journal, seq)
	tail, size, err := store.GetTail(ctx, key, tailBytes)
	if err != nil {
		return nil, err
	}
	footer, need, err := segment.DecodeFooterTail(tail, size)
	if err == nil && need > 0 {
		if tail, size, err = store.GetTail(ctx, key, need); err != nil {
			return nil, err
		}
		if footer, need, err = segment.DecodeFooterTail(tail, size); err == nil && need > 0 {
			err = segment.ErrCorrupt
		}
	}
	if err != nil {
		return nil, fmt.Errorf("object %s: %w", key, err)
	}
	entries, err := readEntries(ctx, store, key, footer, tail, size)
	var o *Object
	if err == nil {
		o, err = NewObject(footer, entries)
	}
	if err != nil {
		return nil, fmt.Errorf("entries of object %s: %w", key, err)
	}
	return o, nil
}

// ReadBeyond reads the index of the first max objects above seq that a listing
// shows. One that is gone by then is left out.
func ReadBeyond(ctx context.Context, store objstore.Store, journal uint32, seq uint64, max int) ([]*Object, error) {
	var seqs []uint64
	errEnough := errors.New("enough listed")
	err := store.List(ctx, segment.JournalPrefix(journal), segment.JournalKey(journal, seq), func(i objstore.Info) error {
		name := strings.TrimPrefix(i.Key, segment.JournalPrefix(journal))
		if name == "" || name[0] > '9' || len(seqs) == max {
			return errEnough // seqs come before all other keys of a journal
		}
		if at, ok := segment.ParseJournalKey(journal, i.Key); ok { // else it is no object of varve's
			seqs = append(seqs, at)
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, fmt.Errorf("list journal %d beyond seq %d: %w", journal, seq, err)
	}
	var found []*Object
	for _, at := range seqs {
		o, err := ReadObject(ctx, store, journal, at)
		if errors.Is(err, objstore.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		found = append(found, o)
	}
	return found, nil
}

func readEntries(ctx context.Context, store objstore.Store, key string, f *segment.Footer, tail []byte, size int64) ([]segment.Entry, error) {
	s := f.Entries
	if s.Length == 0 {
		return nil, nil
	}
	start := size - int64(len(tail))
	if int64(s.Position) >= start {
		at := int64(s.Position) - start
		return decodeEntries(s, tail[at:at+int64(s.Length)])
	}
	b, err := objstore.ReadRange(ctx, store, key, int64(s.Position), int64(s.Length))
	if err != nil {
		return nil, err
	}
	return decodeEntries(s, b)
}

func decodeEntries(s segment.Section, b []byte) ([]segment.Entry, error) {
	if err := s.Check(b); err != nil {
		return nil, err
	}
	return segment.DecodeEntries(b)
}

// floors reads a journal's floor: create-once objects floors/1, floors/2, …,
// never deleted, of which the last is in force (PROTOCOL.md, rule 7). It
// remembers the last one read, below which nothing can change.
type floors struct {
	store   objstore.Store
	journal uint32
	guessed bool
	n       uint64 // the last floor object read
	floor   segment.Floor
	damaged error // the object after it is damaged, and was passed over
}

// read returns the floor in force, 0 if there is none, by requests that begin now.
//
// A last floor object that is damaged is passed over. The floor is the one before then:
// nothing is deleted from that one on before there is a next floor object, and the look for
// that comes last.
func (f *floors) read(ctx context.Context) (uint64, error) {
	if !f.guessed {
		f.guessed = true
		f.guess(ctx)
	}
	for f.damaged = nil; ; {
		err := f.next(ctx, f.n+1)
		if errors.Is(err, segment.ErrCorrupt) {
			f.damaged = err
			if err = f.next(ctx, f.n+2); errors.Is(err, segment.ErrCorrupt) {
				return 0, f.damaged
			}
		}
		switch {
		case errors.Is(err, objstore.ErrNotFound):
			return f.floor.Floor, nil
		case err != nil:
			return 0, err
		}
		f.damaged = nil
	}
}

// next reads the n-th floor object, which becomes the last one.
func (f *floors) next(ctx context.Context, n uint64) error {
	b, err := f.get(ctx, n)
	if err != nil {
		return fmt.Errorf("read floor %d of journal %d: %w", n, f.journal, err)
	}
	return f.take(n, b)
}

// get reads a floor object. A request that hangs is given up, as all those that a
// start waits for: asked again, the store may answer.
func (f *floors) get(ctx context.Context, n uint64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, getLimit)
	defer cancel()
	return f.store.Get(ctx, segment.FloorKey(f.journal, n))
}

func (f *floors) take(n uint64, b []byte) error {
	floor, err := segment.DecodeFloor(b)
	if err != nil {
		return fmt.Errorf("floor %d of journal %d: %w", n, f.journal, err)
	}
	if floor.Journal != f.journal || floor.N != n || floor.Floor < f.floor.Floor {
		return fmt.Errorf("%w: floor %d of journal %d says it is floor %d of journal %d at seq %d, after seq %d",
			ErrBroken, n, f.journal, floor.N, floor.Journal, floor.Floor, f.floor.Floor)
	}
	f.n, f.floor = n, floor
	return nil
}

// guess finds by listing where to begin. A listing that fails, or lacks the newest
// floors, costs requests and nothing else: read goes on from there by key.
func (f *floors) guess(ctx context.Context) {
	var last uint64
	listing, cancel := context.WithTimeout(ctx, getLimit)
	defer cancel()
	err := f.store.List(listing, segment.FloorPrefix(f.journal), "", func(i objstore.Info) error {
		if n, ok := segment.ParseFloorKey(f.journal, i.Key); ok {
			last = n
		}
		return nil
	})
	if err != nil || last == 0 {
		return
	}
	if err = f.next(ctx, last); errors.Is(err, segment.ErrCorrupt) && last > 1 {
		_ = f.next(ctx, last-1)
	} // read finds again whatever is wrong here
}
