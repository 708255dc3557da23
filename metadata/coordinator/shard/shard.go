// Package shard runs coordinators: each is a coordinator.Machine whose state lives
// in one partition of an internal topic that this node leads.
//
// It owns the turns of a Machine, and the order in which committed records are
// applied. A Core decides, purely; a Shard is the thin driver around it, with one
// goroutine each. It promises four things. The Machine's kept state is at every
// moment the sum of the partition's records up to some offset, live as after a
// take-over. An append succeeds only when its records are committed in the bucket and
// applied. A Read sees all records that are known to be committed when it is asked for. A
// load reads a snapshot, and about as many bytes of records after it. If an
// outcome is unknown, or another leader has written, the partition is read again. The
// package never interprets records, and writes only through the path of producers.
package shard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/varvelog/varve/metadata/coordinator"
	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/partlog"
)

// Partition is the partition that a Shard keeps its state in. Its methods may be
// called concurrently.
type Partition interface {
	// Append appends a batch. done gets its first offset once it is committed, or an
	// error of AppendError if that is not known. Append may block while there is no
	// room, until ctx ends; done must not block. The data belongs to the partition.
	Append(ctx context.Context, data []byte, h batch.Header, done func(base int64, err error))
	// AppendEnd is the offset after the last record appended here; false if this
	// node takes none.
	AppendEnd() (int64, bool)
	// Committed is the offset after the last committed record that is known here;
	// false if the partition is not open.
	Committed() (int64, bool)
	// Compacted returns the offsets below which records, and tombstones, may be missing
	// because they were removed. Gaps that a Scan has found are below them afterwards.
	Compacted() (records, tombstones int64)
	// Scan calls fn with the committed batches, whole and in order, up to a head that
	// was proved after the call. The first batch is the one that holds offset from.
	// Scan returns the offset after the last. fn does not keep batches; its error ends
	// the scan and is returned.
	Scan(ctx context.Context, from int64, fn func(batches []byte) error) (end int64, err error)
	// Done is closed when the partition is not led here any more.
	Done() <-chan struct{}
}

// AppendError puts the error of an append, which may be nil, into the words of
// coordinators. notLed are the errors of a partition that is not led here. Any
// other error leaves open whether the batch is committed.
func AppendError(err error, notLed ...error) error {
	if err == nil {
		return nil
	}
	for _, gone := range notLed {
		if errors.Is(err, gone) {
			return fmt.Errorf("%w: %w", coordinator.ErrNotCoordinator, err)
		}
	}
	return fmt.Errorf("%w: %w", coordinator.ErrUnavailable, err)
}

// Options says what to run and where. All are needed but OnFailed.
type Options struct {
	Key       partlog.Key
	Machine   coordinator.Machine // nothing applied yet
	Partition Partition
	Snapshots *Snapshots // of the partition's journal
	Topics    coordinator.Topics
	Now       func() time.Time
	Log       *slog.Logger
	// OnFailed is called once if the Shard ends because it cannot go on.
	OnFailed func(error)
}

const (
	appendLimit = 10 * time.Second // for room, with those that wait before it
	// pageBytes is about how many bytes of batches a scan hands over at once.
	pageBytes = 256 << 10
)

// Shard runs one Machine.
type Shard struct {
	opt   Options
	log   *slog.Logger
	core  *Core
	stats counts

	troubled time.Time // when trouble was last logged

	mu     sync.Mutex
	events []func() // waiting for their turn
	closed bool     // nothing waits any more

	wake   chan struct{} // capacity 1
	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup // requests under way
	done   chan struct{}

	outMu   sync.Mutex
	outbox  []outgoing // guarded by outMu: not sent
	sending bool       // guarded by outMu: a goroutine is at it
}

type outgoing struct {
	token uint64
	data  []byte
	h     batch.Header
	until time.Time // it is given up if there is no room before
}

// Start begins to load the Machine and to lead it.
func Start(opt Options) (*Shard, error) {
	s := &Shard{
		opt: opt, log: opt.Log.With("topic", opt.Key.Topic, "partition", opt.Key.Index),
		wake: make(chan struct{}, 1), done: make(chan struct{}),
	}
	from, _ := opt.Snapshots.Get(opt.Key)
	core, err := NewCore(opt.Machine, from, world{s})
	if err != nil {
		return nil, fmt.Errorf("coordinator of partition %d of topic %s: %w", opt.Key.Index, opt.Key.Topic, err)
	}
	s.core = core
	s.ctx, s.cancel = context.WithCancel(context.Background())
	go s.run()
	return s, nil
}

// Do calls fn once, in a turn of the Machine, or, maybe before Do returns, with the
// error for which there is none. It does not wait.
func (s *Shard) Do(fn func(out coordinator.Out, err error)) {
	if !s.push(func() { s.core.Do(fn) }) {
		fn(nil, coordinator.ErrNotCoordinator)
	}
}

// Read is Do once all records are applied that are known here to be committed. For an
// answer that only the leader may give, the head of the journal is proved first.
func (s *Shard) Read(fn func(out coordinator.Out, err error)) {
	if !s.push(func() { s.core.Read(fn) }) {
		fn(nil, coordinator.ErrNotCoordinator)
	}
}

// TopicsDeleted reports topics whose deletion has begun to the Machine, as soon as
// it leads. It does not wait.
func (s *Shard) TopicsDeleted(ids [][16]byte) {
	s.push(func() { s.core.TopicsDeleted(ids) })
}

// Close ends it, and waits. Requests that wait get ErrNotCoordinator.
func (s *Shard) Close() {
	s.cancel()
	<-s.done
}

// push queues an event; false if it would never have its turn.
func (s *Shard) push(event func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.events = append(s.events, event)
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return true
}

func (s *Shard) take() []func() {
	s.mu.Lock()
	defer s.mu.Unlock()
	events := s.events
	s.events = nil
	return events
}

func (s *Shard) run() {
	defer close(s.done)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	begin := s.opt.Now()
	s.core.Start()
	for s.core.Phase() != Ended {
		select {
		case <-s.wake:
		case <-timer.C:
		case <-s.opt.Partition.Done():
			s.core.End(coordinator.ErrNotCoordinator)
		case <-s.ctx.Done():
			s.core.End(coordinator.ErrNotCoordinator)
		}
		next := s.core.Burst(s.take())
		s.stats.note(s.core, begin, s.opt.Now())
		if next.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(next.Sub(s.opt.Now()))
		}
	}
	s.end()
}

// end answers the requests that came too late, and waits for those under way.
func (s *Shard) end() {
	if err := s.core.Failed(); err != nil {
		s.stats.failed.Store(true)
		s.log.Error("coordinator ended: its groups are not served until this is mended and the node started again", "error", err)
		if s.opt.OnFailed != nil {
			s.opt.OnFailed(err)
		}
	}
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	for _, event := range s.take() {
		event()
	}
	s.cancel()
	s.work.Wait()
}
