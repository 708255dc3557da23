package group

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/varvelog/varve/metadata/coordinator"
)

// world is a partition with its machine, in virtual time. Appends are committed
// when the test says so.
type world struct {
	t       testing.TB
	config  Config
	now     time.Time
	m       *Machine
	replica *Machine // applies the same records and does nothing else
	log     []coordinator.Record
	queue   []*appended
	auto    bool                                 // appends are committed at the end of each turn
	erased  func(group string)                   // called for each tombstone that is committed, if set
	gone    func(topic string, id [16]byte) bool // the answer of TopicGone, if set
}

type appended struct {
	records []coordinator.Record
	done    func(coordinator.Out, error) // nil once called
}

func newWorld(t testing.TB, change func(*Config)) *world {
	t.Helper()
	w := &world{t: t, config: testConfig(), now: time.UnixMilli(1_000_000), auto: true}
	if change != nil {
		change(&w.config)
	}
	w.m, w.replica = newMachine(t, w.config), newMachine(t, w.config)
	w.m.Lead(w)
	return w
}

func (w *world) Now() time.Time { return w.now }

func (w *world) TopicGone(name string, id [16]byte) bool { return w.gone != nil && w.gone(name, id) }

func (w *world) Append(records []coordinator.Record, done func(coordinator.Out, error)) {
	if len(records) == 0 {
		w.t.Fatal("empty append")
	}
	w.queue = append(w.queue, &appended{records, done})
}

// turn ends a turn: it commits the records that the turn appended, unless the
// test holds them back.
func (w *world) turn() {
	for w.auto && len(w.queue) > 0 {
		w.commit()
	}
	w.check()
}

// commit commits the first append, as the runtime does.
func (w *world) commit() {
	a := w.queue[0]
	w.queue = w.queue[1:]
	for _, r := range a.records {
		at := coordinator.Position{Offset: int64(len(w.log)), TimestampMs: w.now.UnixMilli()}
		w.log = append(w.log, r)
		if key, err := decodeKey(r.Key); w.erased != nil && r.Value == nil && err == nil {
			w.erased(key.group)
		}
		for _, m := range []*Machine{w.m, w.replica} {
			if err := m.Apply(at, r); err != nil {
				w.t.Fatal(err)
			}
		}
	}
	if a.done != nil {
		a.done(w, nil)
	}
}

// doubt reports that the outcome of an append is not known; the append stays
// queued.
func (w *world) doubt(i int) {
	if done := w.queue[i].done; done != nil {
		w.queue[i].done = nil
		done(w, coordinator.ErrUnavailable)
	}
}

// check compares the kept state with the state that follows from the records
// alone.
func (w *world) check() {
	w.t.Helper()
	if !bytes.Equal(w.m.Snapshot(), w.replica.Snapshot()) {
		w.t.Fatalf("state is\n%x, and by replay\n%x", w.m.Snapshot(), w.replica.Snapshot())
	}
	w.checkMemory()
}

// checkMemory fails unless the counted bytes are those that members and ids
// take.
func (w *world) checkMemory() {
	w.t.Helper()
	var all int64
	for id, g := range w.m.live {
		var n int64
		for _, who := range g.members {
			n += who.bytes()
		}
		for id := range g.pending {
			n += pendingBytes + int64(len(id))
		}
		if n != g.bytes {
			w.t.Fatalf("group %q holds %d bytes, and %d by its own account", id, n, g.bytes)
		}
		all += n
	}
	if used := w.config.Memory.Used(); used != all {
		w.t.Fatalf("groups hold %d bytes, and %d by their account", all, used)
	}
}

// pass lets time pass, with a tick whenever one is wanted.
func (w *world) pass(d time.Duration) {
	end := w.now.Add(d)
	for next := w.m.Next(); !next.IsZero() && !next.After(end); next = w.m.Next() {
		if next.After(w.now) {
			w.now = next
		}
		w.m.Tick(w)
		w.turn()
	}
	w.now = end
}

// move ends the leadership, loses the appends beyond the first n, and begins another
// one from a snapshot after some records and the replay of the rest.
func (w *world) move(n, snapshotAt int) {
	w.t.Helper()
	for range n {
		w.commit()
	}
	lost := w.queue
	w.queue = nil
	w.m.Resign(coordinator.ErrNotCoordinator)
	for _, a := range lost {
		if a.done != nil {
			a.done(w, coordinator.ErrNotCoordinator) // harmless: Resign has answered already
		}
	}
	before, from, fresh := newMachine(w.t, w.config), newMachine(w.t, w.config), w.m
	applyAll(w.t, before, w.log[:snapshotAt]...)
	if err := from.Restore(before.Snapshot()); err != nil {
		w.t.Fatal(err)
	}
	applyAll(w.t, from, w.log[snapshotAt:]...)
	w.m = from
	w.check()
	if len(fresh.live) > 0 || !fresh.Next().IsZero() {
		w.t.Fatal("soft state is left after the leadership")
	}
	w.m.Lead(w)
	w.turn()
}

// call is a request with its answers, of which there must be one.
type call[T any] struct{ answers []T }

func (c *call[T]) answer(a T) { c.answers = append(c.answers, a) }

func (c *call[T]) get(t testing.TB) T {
	t.Helper()
	if len(c.answers) != 1 {
		t.Fatalf("%d answers, want 1", len(c.answers))
	}
	return c.answers[0]
}

func (c *call[T]) waits(t testing.TB) {
	t.Helper()
	if len(c.answers) != 0 {
		t.Fatalf("answered with %+v, want a wait", c.answers)
	}
}

// request is a Join with the fields that most have in common.
func request(change func(*JoinRequest)) JoinRequest {
	r := JoinRequest{
		Group: "g", ClientID: "c", ClientHost: "/h", ProtocolType: "consumer", Protocols: []Protocol{{"range", subscribed("events")}},
		Session: 10 * time.Second, Rebalance: time.Minute, NeedsID: true, KnowsSkip: true,
	}
	if change != nil {
		change(&r)
	}
	return r
}

// subscribed is a consumer's metadata.
func subscribed(topics ...string) []byte {
	b := []byte{0, 1, 0, 0, 0, byte(len(topics))}
	for _, t := range topics {
		b = append(append(b, 0, byte(len(t))), t...)
	}
	return append(b, 0xff, 0xff, 0xff, 0xff) // no user data
}

func (w *world) join(r JoinRequest) *call[JoinAnswer] {
	c := &call[JoinAnswer]{}
	w.m.Join(w, r, c.answer)
	w.turn()
	return c
}

// newID has a dynamic member get its id.
func (w *world) newID(r JoinRequest) string {
	w.t.Helper()
	a := w.join(r).get(w.t)
	if !errors.Is(a.Err, ErrMemberIDRequired) || a.Member == "" {
		w.t.Fatalf("answer to a new member is %+v", a)
	}
	return a.Member
}

func (w *world) sync(who JoinAnswer, assignments map[string][]byte) *call[SyncAnswer] {
	c := &call[SyncAnswer]{}
	w.m.Sync(w, SyncRequest{Group: "g", Member: who.Member, Generation: who.Generation, Assignments: assignments}, c.answer)
	w.turn()
	return c
}

func (w *world) heartbeat(who JoinAnswer) error {
	err := w.m.Heartbeat(w, Identity{Group: "g", Member: who.Member, Generation: who.Generation})
	w.turn()
	return err
}

// form makes a stable group of n members, the leader first.
func (w *world) form(n int) []JoinAnswer {
	w.t.Helper()
	calls := make([]*call[JoinAnswer], n)
	for i := range calls {
		id := w.newID(request(nil))
		calls[i] = w.join(request(func(r *JoinRequest) { r.Member = id }))
	}
	w.pass(w.config.InitialDelay * time.Duration(n+1))
	return w.assignAll(calls)
}

// assignAll syncs members that have joined.
func (w *world) assignAll(calls []*call[JoinAnswer]) []JoinAnswer {
	w.t.Helper()
	answers := make([]JoinAnswer, len(calls))
	assignments := map[string][]byte{}
	var leader JoinAnswer
	for i, c := range calls {
		answers[i] = c.get(w.t)
		if answers[i].Err != nil {
			w.t.Fatalf("join %d: %v", i, answers[i].Err)
		}
		assignments[answers[i].Member] = []byte{byte(i + 1)}
		if answers[i].Member == answers[i].Leader {
			leader = answers[i]
		}
	}
	var syncs []*call[SyncAnswer]
	for _, a := range answers {
		if a.Member != leader.Member {
			syncs = append(syncs, w.sync(a, nil))
		}
	}
	syncs = append(syncs, w.sync(leader, assignments))
	for _, c := range syncs {
		if a := c.get(w.t); a.Err != nil {
			w.t.Fatalf("sync: %v", a.Err)
		}
	}
	return answers
}

// ids are the members of the group, in order.
func (w *world) ids() (ids []string) {
	d, _ := w.m.Describe("g")
	for _, who := range d.Members {
		ids = append(ids, who.Member)
	}
	return ids
}

func (w *world) state() State { return w.m.listed("g").State }

type commitResult struct {
	each []error
	all  error
}

func (w *world) commitOffset(who Identity, offset int64) *call[commitResult] {
	c := &call[commitResult]{}
	w.m.Commit(w, CommitRequest{Identity: who, Offsets: []Commit{{Topic: "events", Partition: 1, Offset: offset, LeaderEpoch: -1, Keep: -1}}},
		func(each []error, all error) { c.answer(commitResult{each, all}) })
	w.turn()
	return c
}

// committed is the offset of the partition that commitOffset commits, -1 for none.
func (w *world) committed(group string) int64 {
	w.t.Helper()
	c := &call[int64]{}
	w.m.Committed(group, []TopicPartition{{"events", 1}}, func(got []Committed, err error) {
		if err != nil || len(got) != 1 {
			w.t.Fatalf("committed: %v, %v", got, err)
		}
		if got[0].Offset == nil {
			c.answer(-1)
			return
		}
		c.answer(got[0].Offset.Offset)
	})
	return c.get(w.t)
}
