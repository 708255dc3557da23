package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/varvelog/varve/ingest/wal"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/partlog"
)

// Leader is one leadership of a data journal, or the way to it. It has a core and a
// write-ahead log of its own.
type Leader struct {
	opt     Options
	loop    *journal.Loop[request]
	core    *core
	machine *machine
	wal     *wal.Log
	aside   asideWatch
	closing chan struct{}   // closed by Close: flush, then end
	ready   chan struct{}   // closed when requests are accepted
	ctx     context.Context // ends with the Leader
	cancel  context.CancelFunc
	watch   sync.WaitGroup // of Placements

	endOnce  sync.Once
	done     chan struct{} // closed when the leadership is over
	err      error         // why; read after done
	closed   chan struct{} // closed when all that it stood on is closed
	closeErr error         // of that; read after closed
}

// newLeader is a leadership with an open log. closed follows the end, whether it ever leads
// or not.
func newLeader(j *Journal, opt Options, log *wal.Log, t Term, older []*wal.Incarnation) *Leader {
	l := &Leader{
		opt: opt, loop: j.loop, wal: log, closing: make(chan struct{}), ready: make(chan struct{}),
		done: make(chan struct{}), closed: make(chan struct{}),
	}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.machine = newMachine(opt, log, j.loop.Owner())
	l.machine.signal = log.Synced()
	l.machine.onAccepting, l.machine.onEnded = l.accepts, l.end
	l.core = l.machine.core
	l.core.ends.maxBatch = log.MaxBatch()
	l.core.replay.onAside = l.setAside
	for _, id := range t.Own {
		l.core.replay.local[id] = true
	}
	for _, o := range older {
		l.core.replay.add(o, o)
	}
	if opt.Placements != nil {
		l.watch.Go(l.watchPlacements)
	}
	go l.tidyUp()
	return l
}

// end ends the leadership; only the first call counts.
func (l *Leader) end(err error) {
	l.endOnce.Do(func() {
		l.err = err
		close(l.done)
	})
}

// tidyUp waits for the end, and closes all that the leadership stood on. A loop that ends
// before it comes to the leadership ends that as well.
func (l *Leader) tidyUp() {
	defer close(l.closed)
	select {
	case <-l.done:
	case <-l.loop.Done():
		l.end(journal.ErrEnded)
	}
	l.cancel()
	l.watch.Wait()
	l.aside.work.Wait()
	l.closeErr = l.wal.Close()
}

// Ready is closed when the journal is led and requests are taken.
func (l *Leader) Ready() <-chan struct{} { return l.ready }

// Done is closed when the leadership is over; Err is the reason.
func (l *Leader) Done() <-chan struct{} { return l.done }

// Err is why the leadership ended, once Done is closed; nil after a Close that had
// time to flush.
func (l *Leader) Err() error { return l.err }

// SetAside is how many records lie in logs set aside that the journal does not
// have, until they are exported or deleted, once Ready is closed. They are counted
// in the background.
func (l *Leader) SetAside() int { return int(l.aside.missing.Load()) }

// Pending is how many bytes of batches are in the write-ahead log and not known to
// be in the bucket.
func (l *Leader) Pending() int64 { return l.core.flusher.pending.Load() }

// WALFileBytes is how much disk the write-ahead log takes, whatever is in it.
func (l *Leader) WALFileBytes() int64 { return l.wal.FileBytes() }

// Append hands in batches, in the order in which they shall stand in their
// partitions. It blocks while the write-ahead log can take no more. If ctx ends until
// then the batches are refused with ErrNoRoom, or with ErrUnavailable if the wait had
// another reason. done gets a Result for each batch, once, maybe before Append returns;
// it must not block.
func (l *Leader) Append(ctx context.Context, acks Acks, batches []Batch, done func([]Result)) {
	r := request{to: l.core, acks: acks, batches: batches, done: done}
	select {
	case l.loop.Requests() <- r:
	case <-ctx.Done():
		err := ErrUnavailable
		if l.machine.full() != nil {
			err = ErrNoRoom
		}
		refuse(r, err)
	case <-l.closing:
		refuse(r, ErrClosed)
	case <-l.done:
		refuse(r, ErrNotLeader)
	}
}

func refuse(r request, err error) {
	results := make([]Result, len(r.batches))
	for i := range results {
		results[i].Err = err
	}
	r.done(results)
}

// ask has the owner of core run a question, and waits for the answer. The error is why
// there is none: that of ctx, or ErrNotLeader.
func ask[A any](ctx context.Context, l *Leader, question func(), answers <-chan A) (answer A, err error) {
	if err := l.loop.Do(ctx, question); errors.Is(err, journal.ErrEnded) {
		return answer, ErrNotLeader
	} else if err != nil {
		return answer, err
	}
	select {
	case answer = <-answers:
		return answer, nil
	case <-ctx.Done():
		return answer, ctx.Err()
	case <-l.done:
		return answer, ErrNotLeader
	}
}

// DeleteRecords deletes the records of partitions before offsets, and returns a
// Deleted for each when that is committed. When ctx ends first the outcome is
// ErrUnavailable: unknown. Asking again is safe.
func (l *Leader) DeleteRecords(ctx context.Context, wants []Deletion) []Deleted {
	done := make(chan []Deleted, 1)
	results, err := ask(ctx, l, func() { l.core.deleteRecords(wants, done) }, done)
	switch {
	case err == nil:
		return results
	case !errors.Is(err, ErrNotLeader):
		err = ErrUnavailable
	}
	return slices.Repeat([]Deleted{{LogStart: -1, Err: err}}, len(wants))
}

// Prove returns nil once all that was committed before the call is applied, and this
// leadership was not over then; see journal.Driver.
func (l *Leader) Prove(ctx context.Context) error { return l.question(ctx, l.loop.Owner().Prove) }

// Confirm returns nil if this leadership is known to last still; see journal.Driver.
func (l *Leader) Confirm(ctx context.Context) error {
	if l.loop.Owner().Holds() && !isClosed(l.done) {
		return nil
	}
	return l.question(ctx, l.loop.Owner().Confirm)
}

// question asks the journal about this leadership, and not about a later one.
func (l *Leader) question(ctx context.Context, ask func(func(error))) error {
	return l.loop.Ask(ctx, func(onAnswered func(error)) {
		if l.core.failed != nil {
			onAnswered(fmt.Errorf("%w: %w", journal.ErrEnded, l.core.failed))
			return
		}
		ask(onAnswered)
	})
}

// AppendEnd is the offset the partition's next record would get; false if this
// Leader takes none.
func (l *Leader) AppendEnd(k partlog.Key) (int64, bool) { return l.core.ends.next(k) }

// Close takes no more requests and flushes. It waits until all that was appended is
// committed, or until ctx ends, and gives the leadership up. Records that are not committed
// then are in the write-ahead log. The error is that of Err, of ctx, or of the log.
func (l *Leader) Close(ctx context.Context) error {
	close(l.closing)
	_ = l.loop.Do(ctx, l.core.close) // if not, it has ended, or there is no time left
	var late error
	select {
	case <-l.done:
	case <-ctx.Done():
		late = fmt.Errorf("flush journal %d: %w; acknowledged records are in the write-ahead log", l.opt.Journal.Chain.Journal, ctx.Err())
		_ = l.loop.Do(context.Background(), func() { l.machine.giveUp(context.DeadlineExceeded) }) // if not, it has ended
	}
	<-l.closed
	return errors.Join(l.err, late, l.closeErr)
}

// Leave has requests with acks=1 answered once their records are committed: the node is to end,
// and may not have the time to hand the journal over.
func (l *Leader) Leave() {
	_ = l.loop.Do(context.Background(), func() { l.core.leaving = true }) // if not, it has ended
}

// HandOver ends the leadership with an end entry that names the next leader, and returns nil
// when it is over. Requests are taken while the buffer is long. Then they wait, so that all
// records that were acknowledged are committed before. If ctx ends before the end entry is
// sent, the leadership goes on, and the error is that of ctx. Once it is sent, only its
// outcome ends the call. A leadership that ends in another way gives the reason.
func (l *Leader) HandOver(ctx context.Context, e journal.End) error {
	err := l.loop.HandOver(ctx, func() error { return l.machine.beginHandOver(e) }, l.machine.goOnLeading, l.done)
	if err != nil {
		return err
	}
	return l.err
}

// watchPlacements has the journal follow until the Leader ends.
func (l *Leader) watchPlacements() {
	wake := make(chan struct{}, 1)
	defer l.opt.Placements.Watch(wake)()
	if l.opt.ProvePlacements != nil && !l.provePlacements() {
		return
	}
	for {
		if l.loop.Do(l.ctx, l.core.placementsMoved) != nil {
			return
		}
		select {
		case <-wake:
		case <-l.ctx.Done():
			return
		}
	}
}

// proveAgain is the pause between two attempts to prove Placements.
const proveAgain = time.Second

// provePlacements proves Placements once the journal is led, and reports whether the
// Leader has not ended before.
func (l *Leader) provePlacements() bool {
	select {
	case <-l.Ready():
	case <-l.ctx.Done():
		return false
	}
	for l.opt.ProvePlacements(l.ctx) != nil {
		select {
		case <-time.After(proveAgain):
		case <-l.ctx.Done():
			return false
		}
	}
	return l.loop.Do(l.ctx, l.core.placementsProved) == nil
}

// accepts: requests are taken from now on.
func (l *Leader) accepts() {
	l.watchAside()
	close(l.ready)
}

// watchAside begins to count the records that were set aside. All older logs are dealt
// with.
func (l *Leader) watchAside() {
	_, history := l.loop.Owner().Core().Checkpoint()
	l.aside = asideWatch{opt: l.opt.WAL, state: l.opt.State, history: history, report: l.opt.OnAside, now: l.opt.Now, every: l.opt.AsideEvery}
	l.aside.start(l.ctx)
}

// setAside logs, for an operator, records that may not be replayed.
func (l *Leader) setAside(records int, folder string, reason error) {
	l.opt.Log.Error("write-ahead records cannot be replayed and were set aside",
		"journal", l.opt.Journal.Chain.Journal, "records", records, "folder", folder, "reason", reason)
}
