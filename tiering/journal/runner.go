package journal

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/segment"
)

// runner is the Env of production: each request is a goroutine, and its answer an
// event in a channel. Its methods, its channel and its timer belong to the owner's
// goroutine. close ends all requests under way and waits for them.
type runner struct {
	store   objstore.Store
	journal uint32
	events  chan Event
	ahead   map[uint64]chan GotObject // objects being fetched early, by seq
	timer   *time.Timer               // fires at wake
	wake    time.Time                 // zero: never
	ctx     context.Context
	cancel  context.CancelFunc
	wg      sync.WaitGroup

	mu     sync.Mutex
	floors floors // guarded by mu: as the newest read left them
}

// call is an event that is run.
type call func()

func (call) isEvent() {}

func newRunner(store objstore.Store, journal uint32) *runner {
	ctx, cancel := context.WithCancel(context.Background())
	timer := time.NewTimer(0)
	timer.Stop()
	return &runner{
		store: store, journal: journal, floors: floors{store: store, journal: journal},
		events: make(chan Event, 64), ahead: map[uint64]chan GotObject{}, timer: timer, ctx: ctx, cancel: cancel,
	}
}

// Now is the time.
func (r *runner) Now() time.Time { return time.Now() }

// WakeAt sets the timer.
func (r *runner) WakeAt(at time.Time) {
	switch {
	case at.Equal(r.wake):
		return
	case at.IsZero():
		r.timer.Stop()
	default:
		r.timer.Reset(time.Until(at))
	}
	r.wake = at
}

// Go runs work on a goroutine.
func (r *runner) Go(limit time.Duration, work func(context.Context, objstore.Store), done func()) {
	r.wg.Go(func() {
		ctx, cancel := context.WithTimeout(r.ctx, limit)
		defer cancel()
		work(ctx, r.store)
		r.send(call(done))
	})
}

// Execute starts a request or a pause.
func (r *runner) Execute(a Action) {
	switch a := a.(type) {
	case Put:
		r.run(a, func(ctx context.Context) Event {
			return PutDone{Seq: a.Seq, Token: a.Token, Err: r.store.Create(ctx, segment.JournalKey(r.journal, a.Seq), a.Body())}
		})
	case Get:
		r.get(a)
	case GetFloor:
		r.run(a, func(ctx context.Context) Event {
			floor, err := r.readFloor(ctx)
			return GotFloor{Token: a.Token, Floor: floor, Err: err}
		})
	case LookBeyond:
		r.run(a, func(ctx context.Context) Event {
			found, err := ReadBeyond(ctx, r.store, r.journal, a.Seq, a.Max)
			return Beyond{Token: a.Token, Objects: found, Err: err}
		})
	case Wait:
		r.wait(a)
	}
}

func (r *runner) get(a Get) {
	early := r.ahead[a.Seq]
	delete(r.ahead, a.Seq)
	r.run(a, func(ctx context.Context) Event {
		if early != nil {
			select {
			case ev := <-early:
				if ev.Object != nil {
					ev.Token = a.Token
					return ev
				}
			case <-ctx.Done():
			}
		}
		ev := r.readObject(ctx, a.Seq)
		ev.Token = a.Token
		return ev
	})
	r.fetchAhead(a)
}

// fetchAhead begins to read the objects that a catching-up Core will ask for next. A
// Core that reached the end asks for nothing ahead, and answers are dropped.
func (r *runner) fetchAhead(a Get) {
	if a.Ahead == 0 {
		return
	}
	for seq := a.Seq + 1; seq <= a.Seq+uint64(a.Ahead); seq++ {
		if r.ahead[seq] != nil {
			continue
		}
		answer := make(chan GotObject, 1)
		r.ahead[seq] = answer
		r.wg.Go(func() {
			ctx, cancel := context.WithTimeout(r.ctx, Limit(Get{}))
			defer cancel()
			answer <- r.readObject(ctx, seq)
		})
	}
}

// readFloor goes on from where the newest read has come. Reads may overlap: one of a
// leadership that is over may be under way while the next one reads.
func (r *runner) readFloor(ctx context.Context) (uint64, error) {
	r.mu.Lock()
	f := r.floors
	r.mu.Unlock()
	floor, err := f.read(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	if f.n >= r.floors.n {
		r.floors = f
	}
	return floor, err
}

func (r *runner) readObject(ctx context.Context, seq uint64) GotObject {
	o, err := ReadObject(ctx, r.store, r.journal, seq)
	switch {
	case errors.Is(err, objstore.ErrNotFound):
		return GotObject{Absent: true}
	case err != nil:
		return GotObject{Err: err}
	}
	return GotObject{Object: o}
}

func (r *runner) wait(a Wait) {
	r.wg.Go(func() {
		t := time.NewTimer(a.For)
		defer t.Stop()
		select {
		case <-t.C:
			r.send(TimerFired{Token: a.Token})
		case <-r.ctx.Done():
		}
	})
}

// run starts the request of a, and sends its answer.
func (r *runner) run(a Action, f func(context.Context) Event) {
	limit := Limit(a)
	r.wg.Go(func() {
		ctx, cancel := context.WithTimeout(r.ctx, limit)
		defer cancel()
		r.send(f(ctx))
	})
}

// send hands ev to the owner, or drops it if the owner has closed.
func (r *runner) send(ev Event) {
	select {
	case r.events <- ev:
	case <-r.ctx.Done():
	}
}

func (r *runner) close() {
	r.timer.Stop()
	r.cancel()
	r.wg.Wait()
}
