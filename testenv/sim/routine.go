package sim

import (
	"context"
	"errors"
	"iter"
	"slices"
	"time"

	"github.com/varvelog/varve/tiering/objstore"
)

// requestLimit is the time limit of each request.
const requestLimit = 15 * time.Second

// errDead is the answer to code whose process is dead.
var errDead = errors.New("process is dead")

// Go lets code that waits for its answers run in the process. Each of its requests
// to the store takes its time, and goes wrong as others do; anything may happen
// between two of them, the end of the process too. done follows when f returns.
func (p *Process) Go(s *Store, f func(objstore.Store), done func()) {
	p.Run(s, func(r *Routine) { f(r) }, done)
}

// Routine is code that runs in a process and waits for answers. Its Store is that of the
// process; it is a clock, too, that of the process.
type Routine struct{ *stepwise }

// Run is Go for code that waits for other things than answers of the store, too.
func (p *Process) Run(s *Store, f func(*Routine), done func()) {
	next, stop := iter.Pull(func(yield func(request) bool) {
		f(&Routine{&stepwise{p: p, s: s, yield: yield}})
	})
	p.World.cleanups = append(p.World.cleanups, stop)
	var step func()
	step = func() {
		if start, ok := next(); ok {
			start(step)
			return
		}
		done()
	}
	step()
}

// Wait gives way until start has called answered. It returns an error if that never comes,
// because the process is dead.
func (r *Routine) Wait(start func(answered func())) error {
	if !r.wait(start) {
		return errDead
	}
	return nil
}

// Dead reports whether it gets no answers any more, because its process or the world has
// ended.
func (r *Routine) Dead() bool { return r.dead }

// Now is the time by the clock of the process.
func (r *Routine) Now() time.Time { return r.p.Now() }

// Sleep waits until d has passed.
func (r *Routine) Sleep(_ context.Context, d time.Duration) error {
	return r.Wait(func(answered func()) { r.p.After(d, "slept", answered) })
}

// request begins something and calls answered when it is over.
type request func(answered func())

// stepwise is a store whose requests are events.
type stepwise struct {
	p     *Process
	s     *Store
	yield func(request) bool
	dead  bool
}

// wait gives way until start has its answer; false if there will be none.
func (w *stepwise) wait(start request) bool {
	if !w.dead {
		w.dead = !w.yield(start)
	}
	return !w.dead
}

// StoreTime implements objstore.Clock, for all reads of the process.
func (w *stepwise) StoreTime() (time.Time, uint64) { return w.p.storeTime, w.p.answers }

func (w *stepwise) String() string { return "sim://" }

func (w *stepwise) Create(_ context.Context, key string, body objstore.Body) (err error) {
	if !w.wait(func(answered func()) {
		w.s.Create(w.p, key, body, requestLimit, func(e error) { err = e; answered() })
	}) {
		return errDead
	}
	return err
}

func (w *stepwise) Get(_ context.Context, key string) (b []byte, err error) {
	look := func(_ *Store, data []byte) { b = slices.Clone(data) }
	if !w.wait(func(answered func()) {
		w.s.Read(w.p, key, requestLimit, look, func(e error) { err = e; answered() })
	}) {
		return nil, errDead
	}
	if err == nil && b == nil {
		err = objstore.ErrNotFound
	}
	return b, err
}

func (w *stepwise) GetRange(ctx context.Context, key string, offset int64, dst []byte) error {
	return rangeOf(w.Get(ctx, key))(offset, dst)
}

func (w *stepwise) GetTail(ctx context.Context, key string, n int64) ([]byte, int64, error) {
	return tailOf(w.Get(ctx, key))(n)
}

// List shows what there is at one moment, if it shows all that there is.
func (w *stepwise) List(ctx context.Context, prefix, startAfter string, fn func(objstore.Info) error) error {
	var found []objstore.Info
	var err error
	if !w.wait(func(answered func()) {
		w.s.w.After(w.s.w.Between(time.Millisecond, 2*time.Second), "lists", func() {
			err = instant{w.s}.List(ctx, prefix, startAfter, func(i objstore.Info) error { found = append(found, i); return nil })
			w.p.After(w.s.w.Between(time.Millisecond, 20*time.Millisecond), "listed", answered)
		})
	}) {
		return errDead
	}
	for _, i := range found {
		if err := fn(i); err != nil {
			return err
		}
	}
	return err
}

// Delete may arrive long after its sender has given up or died, as Create may.
func (w *stepwise) Delete(_ context.Context, key string) error {
	f := w.s.fate()
	if w.s.refuses {
		w.s.w.Count("deletes refused")
		f = fate{arrives: -1, replies: f.replies, err: errRefused}
	}
	if !w.wait(func(answered func()) {
		if f.what != "" {
			w.s.fired(f.what)
		}
		if f.arrives >= 0 {
			w.s.w.After(f.arrives, "arrives", func() { w.s.Remove(key) })
		}
		w.p.After(f.replies, "deleted", answered)
	}) {
		return errDead
	}
	if errors.Is(f.err, objstore.ErrExists) {
		return nil // resent
	}
	return f.err
}

// rangeOf is GetRange on the result of Get.
func rangeOf(b []byte, err error) func(offset int64, dst []byte) error {
	return func(offset int64, dst []byte) error {
		switch {
		case err != nil:
			return err
		case offset < 0 || len(dst) < 1 || offset+int64(len(dst)) > int64(len(b)):
			return objstore.ErrRange
		}
		copy(dst, b[offset:])
		return nil
	}
}

// tailOf is GetTail on the result of Get.
func tailOf(b []byte, err error) func(n int64) ([]byte, int64, error) {
	return func(n int64) ([]byte, int64, error) {
		if err != nil {
			return nil, 0, err
		}
		return b[max(0, int64(len(b))-n):], int64(len(b)), nil
	}
}
