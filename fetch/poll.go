package fetch

import (
	"context"
	"errors"
	"time"

	"github.com/varvelog/varve/tiering/partlog"
)

// Fetch answers as Kafka does (KIP-74, KIP-41): as soon as there are MinBytes, or a
// partition has an error, or MaxWait is over. Partitions are served in their order with
// whole batches, as far as MaxBytes reach. The first partition with records gives at
// least one batch, however large it is. A result without an error and without records
// means that there are none yet. If no records can be read, though there are some, the
// answer waits until MaxWait is over, and at least errorWait: the client will ask again.
// When ctx ends, Fetch answers with the results it has. Of a Standing, the answer has
// only the partitions that were looked at.
func (r *Reader) Fetch(ctx context.Context, req Request) *Response {
	q := r.newFetch(req)
	wake, end := q.watch()
	defer end()
	defer q.endWait()
	timeout := time.NewTimer(req.MaxWait)
	defer timeout.Stop()
	failed := false
	for waiting := req.MaxWait > 0; ; {
		q.look(ctx)
		ready := q.answerable()
		if !ready {
			q.await()
		}
		if !waiting || ready {
			q.confirm(ctx)
			answer := q.read(ctx)
			switch {
			case !q.unreadable():
				return answer
			case !waiting && (failed || req.MaxWait >= r.errorWait):
				return answer
			case !failed && req.MaxWait < r.errorWait:
				timeout.Reset(r.errorWait)
				waiting = true
			}
			failed = true
			answer.Release()
		}
		select {
		case <-wake:
		case <-timeout.C:
			waiting = false
		case <-ctx.Done():
			return q.respond(func() {})
		}
	}
}

// unreadable reports whether no partition has records, and one cannot be read. Then the
// Fetch waits as for new records; else its client would ask in a loop.
func (f *fetch) unreadable() bool {
	found := false
	for i := range f.parts {
		p := &f.parts[i]
		switch {
		case len(p.result.Records) > 0, p.result.Err != nil && !p.failed:
			return false
		case p.failed:
			found = true
		}
	}
	return found
}

// fetch is a Fetch under way.
type fetch struct {
	*query
	req      Request
	maxBytes int64
	parts    []position
	awaited  bool
	ends     []func() // end the waits noted at journals
}

// position is where a partition of the request stands: its result so far and, if there
// are records for it, where they are, or the page that has their extents.
type position struct {
	Partition
	from     int64 // where to look from: at Offset, or above it where a gap is known to follow
	gone     gone
	journal  journal
	standing *standing // nil if the request has no Standing
	extents  []extent
	page     *partlog.Page // follows extents; nil if they go on in memory, or end
	bytes    int64         // about as many as the extents can give, at most MaxBytes (or 1)
	stream   *stream       // the reader that it belongs to, if that is known to replay the partition
	result   Result
	failed   bool // the result's error is a readError
}

// limit returns the bytes wanted of the partition: at least one, for a first batch.
func (p *position) limit() int64 { return max(int64(p.MaxBytes), 1) }

// add appends extents, which belong to the position afterwards.
func (p *position) add(extents []extent) {
	if p.extents == nil {
		p.extents = extents
	} else {
		p.extents = append(p.extents, extents...)
	}
	for i := range extents {
		p.bytes += available(&extents[i].Extent, p.Offset)
	}
	p.bytes = min(p.bytes, p.limit())
}

// unresolved reports whether a page or a section has to be read before the extents are
// known.
func (p *position) unresolved() bool {
	return p.page != nil || anyInBlocks(p.extents)
}

// full reports whether more extents are of no use.
func (p *position) full() bool { return len(p.extents) == maxExtents || p.bytes == p.limit() }

func (r *Reader) newFetch(req Request) *fetch {
	f := &fetch{
		query:    r.newQuery(),
		req:      req,
		maxBytes: min(max(int64(req.MaxBytes), 0), maxFetch, r.cfg.MaxResponseBytes),
		parts:    make([]position, len(req.Partitions)),
	}
	for i, p := range req.Partitions {
		f.parts[i].Partition = p
	}
	return f
}

// watch returns a channel that is sent to whenever one of the partitions moves, and the
// function that ends the watch.
func (f *fetch) watch() (wake <-chan struct{}, end func()) {
	if s := f.req.Standing; s != nil {
		s.unsettled()
		return s.wake, f.leave
	}
	moved := make(chan struct{}, 1)
	return moved, f.watchAll(moved)
}

func (f *fetch) watchAll(wake chan<- struct{}) (cancel func()) {
	keys := map[*partlog.State][]partlog.Key{}
	for i := range f.parts {
		if j, err := f.locate(f.parts[i].Key); err == nil {
			keys[j.State] = append(keys[j.State], f.parts[i].Key)
		}
	}
	cancels := make([]func(), 0, len(keys))
	for state, keys := range keys {
		cancels = append(cancels, state.Watch(keys, wake))
	}
	return func() {
		for _, cancel := range cancels {
			cancel()
		}
	}
}

// await notes at the journals, once, that the request waits, even if not for long.
func (f *fetch) await() {
	if f.awaited {
		return
	}
	f.awaited = true
	for _, view := range f.views {
		if view.Await != nil {
			f.ends = append(f.ends, view.Await())
		}
	}
}

func (f *fetch) endWait() {
	for _, end := range f.ends {
		end()
	}
}

// look finds out where all partitions stand.
func (f *fetch) look(ctx context.Context) {
	f.renew() // a journal may have been replaced while the request waited
	f.gather()
	for i := range f.parts {
		p := &f.parts[i]
		p.from, p.gone = p.Offset, nil
		f.lookAt(ctx, p)
	}
}

// lookAt finds out where a partition stands. If the offset is out of range, or the epoch
// too new, it proves the head and looks again.
func (f *fetch) lookAt(ctx context.Context, p *position) {
	p.extents, p.page, p.bytes, p.failed = nil, nil, 0, false
	j, err := f.locate(p.Key)
	p.result = unknown(err)
	if err != nil {
		return
	}
	if p.standing != nil {
		p.standing.attach(j)
	}
	p.journal = j
	err = f.find(p)
	if errors.Is(err, ErrOutOfRange) || errors.Is(err, ErrUnknownEpoch) {
		if err = f.prove(ctx, j); err == nil {
			err = f.find(p)
		}
	}
	if err == nil && j.Lost && len(p.extents) == 0 && p.page == nil {
		err = ErrNotLeader // it would wait here without end
	}
	if p.result.Err = err; err == nil && f.req.Elsewhere != nil {
		f.send(p)
	}
}

// send sends the client of a partition to another node if it is to read there.
func (f *fetch) send(p *position) {
	if node := f.req.Elsewhere(p.Key, p.Offset, p.tail()); node != 0 {
		p.extents, p.page, p.bytes = nil, nil, 0
		p.result.Elsewhere = node
	}
}

// tail reports whether the first records are in the leader's memory, or there are none yet.
func (p *position) tail() bool {
	switch {
	case len(p.extents) == 0:
		return p.page == nil
	case p.journal.Tail == nil:
		return false
	}
	b, ok := p.journal.Tail.Object(p.extents[0].Object)
	if ok {
		b.Release()
	}
	return ok
}

// unknown is the result of a partition of which nothing else is known.
func unknown(err error) Result {
	return Result{HighWatermark: -1, LogStart: -1, Epoch: -1, Err: err}
}

// confirm sends clients away that would get nothing because this node was deposed: they
// would wait here without end. While the node cannot know that, they wait on.
func (f *fetch) confirm(ctx context.Context) {
	if f.req.Standing != nil {
		f.confirmHomes(ctx)
	}
	for i := range f.parts {
		p := &f.parts[i]
		if p.result.Err == nil && len(p.extents) == 0 && p.page == nil {
			p.result.Err = f.lost(ctx, p.journal)
		}
	}
}

// find looks the partition up once.
func (f *fetch) find(p *position) error {
	extents, page, view, ok := p.journal.State.Find(p.Key, p.from, maxExtents)
	if !ok {
		return errNotOpen
	}
	p.result = Result{HighWatermark: view.End, LogStart: view.Start, Epoch: view.Epoch}
	if err := checkEpoch(view, p.LeaderEpoch); err != nil {
		return err
	}
	if p.Offset < view.Start || p.Offset > view.End && !p.appended() {
		return ErrOutOfRange
	}
	p.add(wrapped(extents))
	if p.page = page; page != nil {
		p.bytes = p.limit() // a guess until the page is read
	}
	return nil
}

// appended reports whether the leader has given the offset out, or will give it out
// next.
func (p *position) appended() bool {
	if p.journal.AppendEnd == nil {
		return false
	}
	end, ok := p.journal.AppendEnd(p.Key)
	return ok && p.Offset <= end
}

// available estimates how many bytes of the extent lie at offset or after it.
func available(e *partlog.Extent, offset int64) int64 {
	if offset <= e.Base {
		return int64(e.Length)
	}
	left := float64(e.Last-offset+1) / float64(e.Last-e.Base+1)
	return max(1, int64(left*float64(e.Length)))
}

// answerable reports whether there is nothing to wait for.
func (f *fetch) answerable() bool {
	if len(f.parts) == 0 && f.req.Standing == nil {
		return true
	}
	var bytes int64
	for i := range f.parts {
		p := &f.parts[i]
		if p.result.Err != nil || p.result.Elsewhere != 0 || p.page != nil || len(p.extents) == maxExtents {
			return true
		}
		bytes += p.bytes
	}
	return bytes >= min(max(int64(f.req.MinBytes), 0), f.maxBytes)
}

func (f *fetch) respond(release func()) *Response {
	r := &Response{Results: make([]Result, len(f.parts)), release: release}
	for i := range f.parts {
		r.Results[i] = f.parts[i].result
		if p := f.parts[i].standing; p != nil {
			r.Results[i].Slot = p.slot
		}
	}
	return r
}
