package node

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"sync"
	"time"

	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/metadata/announce"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/segment"
)

// follow reads journal 0 and the data journals it names, as they come.
func (n *node) follow(ctx context.Context, closers *stack) error {
	n.id = archiveID(n.dir.Node())
	n.admin = metadata.ReadsOnly{}
	f := &followers{node: n, byID: map[uint32]*journal.Follower{}, paces: map[uint32]*journal.Pace{}, renewals: make(chan uint32, 1), closed: make(chan struct{})}
	n.topics = followedTopics{n.meta, f.pace(0)}
	cancel, err := n.bus.Subscribe(f.announced)
	if err != nil {
		return err
	}
	closers.push(f.close)
	closers.push(func() error { cancel(); return nil })
	if err := f.begin(ctx, 0); err != nil {
		return err
	}
	n.board.Busy("reading the data journals")
	wake := make(chan struct{}, 1)
	unwatch := n.meta.Watch(wake)
	if err := f.startNamed(ctx); err != nil {
		unwatch()
		return err
	}
	closers.push(f.watch(wake, unwatch))
	return nil
}

// pollInterval is how long a follower waits at least before it looks by itself.
func (n *node) pollInterval() time.Duration {
	if !n.cfg.NATS.Embedded && n.bus.Stats().Connected {
		return pollTold
	}
	return pollAlone
}

func archiveID(node segment.ID) int32 {
	h := fnv.New32a()
	h.Write(node[:])
	return firstArchiveID + int32(h.Sum32()&(firstArchiveID-1))
}

// followers are the followed journals of a node that only reads.
type followers struct {
	node  *node
	mu    sync.Mutex
	byID  map[uint32]*journal.Follower
	paces map[uint32]*journal.Pace // by journal: whoever follows it

	renewals chan uint32 // capacity 1
	closed   chan struct{}
}

// start follows a journal and waits until what it holds now is applied. old is who
// followed it so far, nil for nobody, and to be closed.
func (f *followers) start(ctx context.Context, cfg journal.Config, apply func(*journal.Object) error) (old *journal.Follower, err error) {
	n, id := f.node, cfg.Chain.Journal
	follower := journal.Follow(n.store, cfg, func(o *journal.Object) error {
		if err := apply(o); err != nil {
			return err
		}
		n.dir.Saw(id, o.Ref())
		n.rivals.Applied(id, o.Footer.Header.Epoch)
		return nil
	}, f.pace(id), n.log)
	if err := awaitReady(ctx, follower, fmt.Sprintf("journal %d", id)); err != nil {
		follower.Close()
		return nil, err
	}
	go f.keep(id, follower)
	f.mu.Lock()
	defer f.mu.Unlock()
	old, f.byID[id] = f.byID[id], follower
	return old, nil
}

// pace is that of a journal.
func (f *followers) pace(id uint32) *journal.Pace {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.paces[id] == nil {
		f.paces[id] = journal.NewPace(f.node.pollInterval)
	}
	return f.paces[id]
}

// followedTopics are those of a node that only reads. One that is not there may have
// been created since the last look.
type followedTopics struct {
	*metadata.State
	pace *journal.Pace
}

func (t followedTopics) Topic(name string) (*metadata.Topic, bool) {
	topic, ok := t.State.Topic(name)
	return topic, t.found(ok)
}

func (t followedTopics) TopicByID(id segment.ID) (*metadata.Topic, bool) {
	topic, ok := t.State.TopicByID(id)
	return topic, t.found(ok)
}

func (t followedTopics) found(ok bool) bool {
	if !ok {
		t.pace.Wanted(time.Now())
	}
	return ok
}

// keep waits for the end of a follower. One that has fallen below the floor, because
// it stood still for long, is replaced by one that starts from a checkpoint.
func (f *followers) keep(id uint32, follower *journal.Follower) {
	<-follower.Done()
	switch err := follower.Err(); {
	case err == nil:
	case errors.Is(err, journal.ErrBelowFloor):
		select {
		case f.renewals <- id:
		case <-f.closed:
		}
	default:
		f.node.fail(fmt.Errorf("journal %d: %w", id, explain(err)))
	}
}

// begin follows a journal from its newest checkpoint, and from a newer one if the
// floor passes it while it catches up.
func (f *followers) begin(ctx context.Context, id uint32) error {
	start := f.startData
	if id == 0 {
		start = f.startMeta
	}
	for {
		err := start(ctx, id)
		if !errors.Is(err, journal.ErrBelowFloor) {
			return err
		}
		f.node.log.Warn("fell below the floor, starting from a newer checkpoint", "error", err)
	}
}

// startMeta follows journal 0. Its state is one for good: it only moves on.
func (f *followers) startMeta(ctx context.Context, _ uint32) error {
	cfg, err := f.node.metaConfig(ctx)
	if err != nil {
		return err
	}
	old, err := f.start(ctx, cfg, func(o *journal.Object) error { return f.node.meta.Apply(o.Footer, o.Entries) })
	if old != nil {
		old.Close()
	}
	return err
}

// startNamed follows the data journals that are not followed yet.
func (f *followers) startNamed(ctx context.Context) error {
	for _, id := range f.node.meta.Journals() {
		if f.node.journals.get(id) != nil {
			continue
		}
		if err := f.begin(ctx, id); err != nil {
			return err
		}
		f.node.metrics.journal(id, func() uint64 { return f.node.journals.get(id).state.Head() })
	}
	return nil
}

// startData follows a data journal from its newest checkpoint. Readers see the new
// state once it has caught up.
func (f *followers) startData(ctx context.Context, id uint32) error {
	from, err := f.node.dataConfig(ctx, id)
	if err != nil {
		return err
	}
	state := from.state
	applied := 0
	old, err := f.start(ctx, from.cfg, func(o *journal.Object) error {
		if applied++; applied%renewEvery == 0 {
			f.renew(id)
		}
		return state.Apply(o.Footer, o.Entries)
	})
	if err != nil {
		return err
	}
	f.node.journals.add(id, &dataJournal{state: state, prover: f.get(id), pace: f.pace(id)})
	if old != nil {
		old.Close()
	}
	return nil
}

// renewEvery is after how many objects a followed journal is begun anew from its
// newest checkpoint. A leader's state lets go of what its index pages hold; one
// that only follows writes no pages, and gets rid of its memory this way.
const renewEvery = 4096

// renew asks watch to begin a journal anew. One request at a time is enough.
func (f *followers) renew(id uint32) {
	select {
	case f.renewals <- id:
	default:
	}
}

// watch follows journals that are created later, and renews those that have
// grown. It returns how to stop.
func (f *followers) watch(wake <-chan struct{}, unwatch func()) func() error {
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			select {
			case <-wake:
				f.insist(ctx, f.startNamed)
			case id := <-f.renewals:
				f.insist(ctx, func(ctx context.Context) error { return f.begin(ctx, id) })
			case <-ctx.Done():
			}
		}
	}()
	return func() error {
		stop()
		unwatch()
		<-done
		return nil
	}
}

// insist does what a bucket that is away for long may keep from being done. Only an
// error that stays ends the node: what it has applied can be read until then.
func (f *followers) insist(ctx context.Context, do func(context.Context) error) {
	for {
		err := do(ctx)
		switch {
		case err == nil || ctx.Err() != nil:
			return
		case kindOf(err).tries > 0:
			f.node.fail(err)
			return
		}
		select {
		case <-time.After(startPause):
		case <-ctx.Done():
			return
		}
	}
}

func (f *followers) get(id uint32) *journal.Follower {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.byID[id]
}

// announced is a hint that there is more to read.
func (f *followers) announced(a announce.Announcement) {
	if follower := f.get(a.Journal); follower != nil {
		follower.Poke()
	}
}

func (f *followers) close() error {
	close(f.closed)
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, follower := range f.byID {
		follower.Close()
	}
	return nil
}
