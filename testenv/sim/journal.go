package sim

import (
	"context"

	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/segment"
)

// executor carries out the actions of a journal.Driver, in a process and
// against a store.
type executor struct {
	p       *Process
	s       *Store
	id      uint32
	deliver func(journal.Event)

	ahead map[uint64]*journal.Object // read early, as a runner would
	floor segment.Floor              // the newest that was read
}

func newExecutor(p *Process, s *Store, id uint32) executor {
	return executor{p: p, s: s, id: id, ahead: map[uint64]*journal.Object{}}
}

// Execute starts a request to the store, or a pause.
func (e *executor) Execute(a journal.Action) {
	switch a := a.(type) {
	case journal.Put:
		e.s.Create(e.p, segment.JournalKey(e.id, a.Seq), a.Body(), journal.Limit(a), func(err error) {
			e.deliver(journal.PutDone{Seq: a.Seq, Token: a.Token, Err: err})
		})
	case journal.Get:
		e.get(a)
	case journal.LookBeyond:
		e.lookBeyond(a)
	case journal.GetFloor:
		e.readFloor(a, e.floor)
	case journal.Wait:
		e.p.After(a.For, "timer", func() { e.deliver(journal.TimerFired{Token: a.Token}) })
	}
}

// lookBeyond is as slow and as fallible as a read of the gap itself.
func (e *executor) lookBeyond(a journal.LookBeyond) {
	ev := journal.Beyond{Token: a.Token}
	look := func(s *Store, _ []byte) {
		for _, key := range s.Keys(segment.JournalPrefix(e.id)) {
			if seq, ok := segment.ParseJournalKey(e.id, key); ok && seq > a.Seq && len(ev.Objects) < a.Max {
				ev.Objects = append(ev.Objects, s.decoded(e.id, seq))
			}
		}
	}
	e.s.Read(e.p, segment.JournalKey(e.id, a.Seq), journal.Limit(a), look, func(err error) {
		if err != nil {
			ev = journal.Beyond{Token: a.Token, Err: err}
		}
		e.deliver(ev)
	})
}

func (e *executor) get(a journal.Get) {
	if o := e.ahead[a.Seq]; o != nil {
		delete(e.ahead, a.Seq)
		e.p.After(0, "read early", func() { e.deliver(journal.GotObject{Token: a.Token, Object: o}) })
		return
	}
	ev := journal.GotObject{Token: a.Token}
	look := func(s *Store, data []byte) {
		if data == nil {
			ev.Absent = true
			return
		}
		ev.Object = s.decoded(e.id, a.Seq)
		for seq := a.Seq + 1; seq <= a.Seq+uint64(a.Ahead) && s.Object(segment.JournalKey(e.id, seq)) != nil; seq++ {
			e.ahead[seq] = s.decoded(e.id, seq)
		}
	}
	e.s.Read(e.p, segment.JournalKey(e.id, a.Seq), journal.Limit(a), look, func(err error) {
		if err != nil {
			ev = journal.GotObject{Token: a.Token, Err: err}
		}
		e.deliver(ev)
	})
}

// decoded is the object at seq as readers get it.
func (s *Store) decoded(id uint32, seq uint64) *journal.Object {
	o := s.objects[segment.JournalKey(id, seq)]
	if o.cache == nil {
		read, err := journal.ReadObject(context.Background(), perfect{instant{s}}, id, seq)
		if err != nil {
			s.w.Fail("read seq %d of journal %d: %w", seq, id, err)
			return &journal.Object{Footer: &segment.Footer{}}
		}
		o.cache = read
	}
	return o.cache.(*journal.Object)
}

// perfect reads without faults.
type perfect struct{ instant }

func (f perfect) Get(_ context.Context, key string) ([]byte, error) {
	b := f.s.Object(key)
	if b == nil {
		return nil, objstore.ErrNotFound
	}
	return b, nil
}

func (f perfect) GetRange(ctx context.Context, key string, offset int64, dst []byte) error {
	return rangeOf(f.Get(ctx, key))(offset, dst)
}

func (f perfect) GetTail(ctx context.Context, key string, n int64) ([]byte, int64, error) {
	return tailOf(f.Get(ctx, key))(n)
}

// readFloor reads floor objects after the last one until one is absent. Reads may overlap.
func (e *executor) readFloor(a journal.GetFloor, last segment.Floor) {
	var floor segment.Floor
	absent := false
	var broken error
	look := func(_ *Store, data []byte) {
		if absent = data == nil; !absent {
			floor, broken = segment.DecodeFloor(data)
		}
	}
	e.s.Read(e.p, segment.FloorKey(e.id, last.N+1), journal.Limit(a), look, func(err error) {
		switch {
		case err != nil || broken != nil:
			e.deliver(journal.GotFloor{Token: a.Token, Err: errTimeout})
		case absent:
			e.deliver(journal.GotFloor{Token: a.Token, Floor: last.Floor})
		default:
			if floor.N > e.floor.N {
				e.floor = floor
			}
			e.readFloor(a, floor)
		}
	})
}
