package sim

import (
	"context"
	"time"

	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/segment"
)

// Time limits of single requests, as journal.Driver has them.
const (
	putLimit   = 15 * time.Second
	getLimit   = 10 * time.Second
	proofLimit = time.Second
	patience   = 10 * time.Minute // for a reader to reach the end without faults
)

// Journal runs a journal.Core in a process, against a store. It does what
// journal.Driver does, one event at a time.
type Journal struct {
	Core  *journal.Core
	Ended bool

	p     *Process
	s     *Store
	id    uint32
	hooks journal.Hooks
	after func() // called after every event

	ahead    map[uint64]*journal.Object // read early, as a runner would
	floors   uint64                     // floor objects read
	floor    uint64
	provers  []func(error)
	answered uint64
	standing journal.Standing
}

// StartJournal starts a Core. after is called when an event has been dealt with.
func StartJournal(p *Process, s *Store, cfg journal.Config, hooks journal.Hooks, after func()) *Journal {
	j := &Journal{
		Core: journal.NewCore(cfg), p: p, s: s, id: cfg.Chain.Journal, hooks: hooks, after: after,
		ahead: map[uint64]*journal.Object{},
	}
	p.After(0, "start journal", func() { j.handled(j.Core.Start()) })
	return j
}

// Propose sends a segment.
func (j *Journal) Propose(o *journal.Object, data []byte) { j.perform(j.Core.Propose(o, data)) }

// Room, Header and History are the Core's.
func (j *Journal) Room() bool { return j.Core.Room() }

// Header is the Core's.
func (j *Journal) Header() segment.Header { return j.Core.Header() }

// History is the Core's.
func (j *Journal) History() *journal.History { return j.Core.History() }

// Poke lets a follower look for more.
func (j *Journal) Poke() { j.step(journal.Poke{}) }

// Prove asks for a proof of the head; done is told.
func (j *Journal) Prove(done func(error)) {
	asked := j.p.World.Now()
	j.provers = append(j.provers, func(err error) {
		if err == nil {
			j.standing.Proved(asked)
		}
		done(err)
	})
	j.step(journal.Prove{})
}

// Confirm asks whether this leader still leads; done is told.
func (j *Journal) Confirm(done func(error)) {
	if j.standing.Confirm(j.p.World.Now(), done) {
		j.Prove(func(err error) { j.standing.Answer(j.p.World.Now(), err) })
	}
}

func (j *Journal) step(ev journal.Event) { j.handled(j.Core.Step(ev)) }

func (j *Journal) handled(actions []journal.Action) {
	j.perform(actions)
	j.after()
}

func (j *Journal) perform(actions []journal.Action) {
	for _, a := range actions {
		switch a := a.(type) {
		case journal.Apply:
			if a.Own {
				j.standing.Committed(a.Object.Footer.Header.Seq)
			}
			if err := j.hooks.Apply(a.Object, a.Own); err != nil {
				j.p.World.Fail("%s applies seq %d: %w", j.p.Name, a.Object.Footer.Header.Seq, err)
				return
			}
		case journal.Led:
			j.hooks.Led(a.Epoch)
		case journal.AtHead:
			j.hooks.AtHead()
		case journal.Stalled:
			j.hooks.Stalled(a.Seq)
		case journal.Proved:
			j.answer(a.Through, nil)
		case journal.ProofFailed:
			j.answer(a.Through, a.Err)
		case journal.Ended:
			j.Ended = true
			j.standing.End()
			j.hooks.Ended(a.Err)
		default:
			j.do(a)
		}
	}
}

func (j *Journal) answer(through uint64, err error) {
	for ; j.answered < through; j.answered++ {
		j.provers[0](err)
		j.provers = j.provers[1:]
	}
}

// do starts I/O or a pause.
func (j *Journal) do(a journal.Action) {
	switch a := a.(type) {
	case journal.Put:
		j.standing.Sent(a.Seq, j.p.World.Now())
		j.s.Create(j.p, segment.JournalKey(j.id, a.Seq), a.Data, putLimit, func(err error) {
			j.step(journal.PutDone{Seq: a.Seq, Token: a.Token, Err: err})
		})
	case journal.Get:
		j.get(a)
	case journal.LookBeyond:
		j.lookBeyond(a)
	case journal.GetFloor:
		j.readFloor(a.Token)
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
	j.s.Read(j.p, segment.JournalKey(j.id, a.Seq), getLimit, look, func(err error) {
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
	limit := getLimit
	if a.Short {
		limit = proofLimit
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
	j.s.Read(j.p, segment.JournalKey(j.id, a.Seq), limit, look, func(err error) {
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
func (j *Journal) readFloor(token uint64) {
	var floor segment.Floor
	absent := false
	var broken error
	look := func(_ *Store, data []byte) {
		if absent = data == nil; !absent {
			floor, broken = segment.DecodeFloor(data)
		}
	}
	j.s.Read(j.p, segment.FloorKey(j.id, j.floors+1), getLimit, look, func(err error) {
		switch {
		case err != nil || broken != nil:
			j.step(journal.GotFloor{Token: token, Err: errTimeout})
		case absent:
			j.step(journal.GotFloor{Token: token, Floor: j.floor})
		default:
			j.floors, j.floor = floor.N, floor.Floor
			j.readFloor(token)
		}
	})
}
