package sim

import (
	"context"
	"log/slog"

	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/segment"
)

// Journal is a journal.Driver in a process, with the simulated store as its Executor.
type Journal struct {
	*journal.Driver
	Ended bool

	p     *Process
	s     *Store
	id    uint32
	after func() // called after every event

	ahead  map[uint64]*journal.Object // read early, as a runner would
	floors uint64                     // floor objects read
	floor  uint64
}

// StartJournal starts a Driver. after is called after each event.
func StartJournal(p *Process, s *Store, cfg journal.Config, hooks journal.Hooks, after func()) *Journal {
	j := &Journal{p: p, s: s, id: cfg.Chain.Journal, after: after, ahead: map[uint64]*journal.Object{}}
	apply, ended := hooks.Apply, hooks.Ended
	hooks.Apply = func(o *journal.Object, own bool) error {
		err := apply(o, own)
		if err != nil {
			p.World.Fail("%s applies seq %d: %w", p.Name, o.Footer.Header.Seq, err)
		}
		return err
	}
	hooks.Ended = func(err error) { j.Ended = true; ended(err) }
	j.Driver = journal.NewDriver(cfg, hooks, j, p.World.Now, slog.New(slog.DiscardHandler))
	p.After(0, "start journal", func() { j.Start(); after() })
	return j
}

// Room, Header and History are the Core's.
func (j *Journal) Room() bool { return j.Core().Room() }

// Header is the Core's.
func (j *Journal) Header() segment.Header { return j.Core().Header() }

// History is the Core's.
func (j *Journal) History() *journal.History { return j.Core().History() }

func (j *Journal) step(ev journal.Event) {
	j.Handle(ev)
	j.after()
}

// Execute starts a request to the store, or a pause.
func (j *Journal) Execute(a journal.Action) {
	switch a := a.(type) {
	case journal.Put:
		j.s.Create(j.p, segment.JournalKey(j.id, a.Seq), a.Data, journal.Limit(a), func(err error) {
			j.step(journal.PutDone{Seq: a.Seq, Token: a.Token, Err: err})
		})
	case journal.Get:
		j.get(a)
	case journal.LookBeyond:
		j.lookBeyond(a)
	case journal.GetFloor:
		j.readFloor(a)
	case journal.Wait:
		j.p.After(a.For, "timer", func() { j.step(journal.TimerFired{Token: a.Token}) })
	}
}

// lookBeyond is as slow and as fallible as a read of the gap itself.
func (j *Journal) lookBeyond(a journal.LookBeyond) {
	ev := journal.Beyond{Token: a.Token}
	look := func(s *Store, _ []byte) {
		for _, key := range s.Keys(segment.JournalPrefix(j.id)) {
			if seq, ok := segment.ParseJournalKey(j.id, key); ok && seq > a.Seq && len(ev.Objects) < a.Max {
				ev.Objects = append(ev.Objects, s.decoded(j.id, seq))
			}
		}
	}
	j.s.Read(j.p, segment.JournalKey(j.id, a.Seq), journal.Limit(a), look, func(err error) {
		if err != nil {
			ev = journal.Beyond{Token: a.Token, Err: err}
		}
		j.step(ev)
	})
}

func (j *Journal) get(a journal.Get) {
	if o := j.ahead[a.Seq]; o != nil {
		delete(j.ahead, a.Seq)
		j.p.After(0, "read early", func() { j.step(journal.GotObject{Token: a.Token, Object: o}) })
		return
	}
	ev := journal.GotObject{Token: a.Token}
	look := func(s *Store, data []byte) {
		if data == nil {
			ev.Absent = true
			return
		}
		ev.Object = s.decoded(j.id, a.Seq)
		for seq := a.Seq + 1; seq <= a.Seq+uint64(a.Ahead) && s.Object(segment.JournalKey(j.id, seq)) != nil; seq++ {
			j.ahead[seq] = s.decoded(j.id, seq)
		}
	}
	j.s.Read(j.p, segment.JournalKey(j.id, a.Seq), journal.Limit(a), look, func(err error) {
		if err != nil {
			ev = journal.GotObject{Token: a.Token, Err: err}
		}
		j.step(ev)
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

func (f perfect) GetTail(ctx context.Context, key string, n int64) ([]byte, int64, error) {
	b, err := f.Get(ctx, key)
	return b[max(0, int64(len(b))-n):], int64(len(b)), err
}

// readFloor reads floor objects until one is absent.
func (j *Journal) readFloor(a journal.GetFloor) {
	var floor segment.Floor
	absent := false
	var broken error
	look := func(_ *Store, data []byte) {
		if absent = data == nil; !absent {
			floor, broken = segment.DecodeFloor(data)
		}
	}
	j.s.Read(j.p, segment.FloorKey(j.id, j.floors+1), journal.Limit(a), look, func(err error) {
		switch {
		case err != nil || broken != nil:
			j.step(journal.GotFloor{Token: a.Token, Err: errTimeout})
		case absent:
			j.step(journal.GotFloor{Token: a.Token, Floor: j.floor})
		default:
			j.floors, j.floor = floor.N, floor.Floor
			j.readFloor(a)
		}
	})
}
