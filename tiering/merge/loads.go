package merge

import (
	"context"
	"sync"
)

// loads reads objects of the journal ahead of the job, unless Options.Sequential: then each
// is read when it is waited for.
type loads struct {
	x      *Executor
	ctx    context.Context
	cancel context.CancelFunc
	done   sync.WaitGroup
	begun  []*load
}

// load is one object that is read, with the ranges that the job needs of it.
type load struct {
	ranges
	read   func() (object, error)
	answer chan loaded // capacity 1
}

type loaded struct {
	object object
	err    error
}

func (x *Executor) newLoads(ctx context.Context) *loads {
	l := &loads{x: x}
	l.ctx, l.cancel = context.WithCancel(ctx)
	return l
}

func (l *loads) begin(r ranges) *load {
	x := &load{ranges: r, read: func() (object, error) { return l.x.object(l.ctx, r.seq) }}
	if l.x.opt.Sequential {
		return x
	}
	x.answer = make(chan loaded, 1)
	l.begun = append(l.begun, x)
	l.done.Go(func() {
		o, err := x.read()
		x.answer <- loaded{o, err}
	})
	return x
}

// wait returns the object, which the caller releases. It is called once.
func (x *load) wait() (object, error) {
	if x.answer == nil {
		return x.read()
	}
	a := <-x.answer
	return a.object, a.err
}

// end gives up the loads that were not waited for.
func (l *loads) end() {
	l.cancel()
	l.done.Wait()
	for _, x := range l.begun {
		select {
		case a := <-x.answer:
			a.object.release()
		default:
		}
	}
}
