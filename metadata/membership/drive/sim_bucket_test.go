package drive

import (
	"time"

	"github.com/varvelog/varve/metadata/membership"
	"github.com/varvelog/varve/tiering/segment"
)

// A stand-in for the journals of a bucket: objects are created by seq, each once. It has
// fences, fillers and epochs, and a leader has one PUT under way at a time. So it keeps the
// promise of the real one, that an epoch has one leader, and nothing else.

type kind uint8

const (
	fence kind = iota
	filler
	data
	end
)

type object struct {
	kind        kind
	id          segment.ID
	epoch       uint32
	node, start segment.ID
	entries     []segment.Entry
	successor   segment.ID
	at          time.Duration // stored
}

// stored is the outcome of a PUT.
type stored uint8

const (
	unknown stored = iota
	created
	exists
)

type bucket struct {
	w        *world
	journals map[uint32][]*object
	away     bool            // from all
	cut      map[string]bool // hosts that do not reach it
	slow     map[string]time.Duration
	locked   map[uint32]time.Duration // until when no PUT at the end of a journal is answered
}

func newBucket(w *world) *bucket {
	return &bucket{w: w, journals: map[uint32][]*object{}, cut: map[string]bool{}, slow: map[string]time.Duration{}, locked: map[uint32]time.Duration{}}
}

func (b *bucket) unreachable(r *runner) bool { return b.away || b.cut[r.host.name] }

// latency is how long one way to the bucket takes.
func (b *bucket) latency(r *runner) time.Duration {
	return b.w.Between(3*time.Millisecond, 40*time.Millisecond) + b.slow[r.host.name]
}

const storeLimit = 2 * time.Second

// put creates an object. It may arrive although the answer is lost.
func (b *bucket) put(r *runner, journal uint32, seq uint64, o *object, done func(stored)) {
	outcome, arrives := unknown, b.latency(r)
	if b.w.Chance(b.w.shape.Late) {
		b.w.Count("late PUT")
		arrives = b.w.Between(storeLimit, 20*time.Second)
	}
	lost := b.unreachable(r) || b.locked[journal] > b.w.Elapsed()
	b.w.After(arrives, "arrives", func() {
		if lost || b.unreachable(r) {
			return
		}
		switch all := b.journals[journal]; {
		case uint64(len(all)) >= seq:
			outcome = exists
		case uint64(len(all)) == seq-1:
			stored := *o
			stored.at = b.w.Elapsed()
			b.journals[journal] = append(all, &stored)
			outcome = created
			b.w.stored(journal, seq, &stored)
		}
	})
	after := arrives + b.latency(r)
	if after > storeLimit || lost {
		after = storeLimit
	}
	r.after(after, "put", func() { done(outcome) })
}

// get reads an object; nil: there is none. ok is false if the bucket does not answer.
func (b *bucket) get(r *runner, journal uint32, seq uint64, done func(o *object, ok bool)) {
	if b.unreachable(r) {
		r.after(storeLimit, "get failed", func() { done(nil, false) })
		return
	}
	var found *object
	at := b.latency(r)
	b.w.After(at, "reads", func() {
		if all := b.journals[journal]; uint64(len(all)) >= seq {
			found = all[seq-1]
		}
	})
	r.after(at+b.latency(r), "get", func() { done(found, true) })
}

// getMany reads objects from a seq on, with requests at once. It stands in for a checkpoint
// and the objects after it.
func (b *bucket) getMany(r *runner, journal uint32, seq uint64, done func(all []*object, ok bool)) {
	if b.unreachable(r) {
		r.after(storeLimit, "get failed", func() { done(nil, false) })
		return
	}
	var found []*object
	at := b.latency(r)
	b.w.After(at, "reads", func() {
		if all := b.journals[journal]; uint64(len(all)) >= seq {
			found = all[seq-1:]
		}
	})
	r.after(at+b.latency(r), "get", func() { done(found, true) })
}

// look is a listing: the head of a journal.
func (b *bucket) look(r *runner, journal uint32, done func(head uint64, ok bool)) {
	if b.unreachable(r) {
		r.after(membership.LookLimit, "look failed", func() { done(0, false) })
		return
	}
	r.after(b.latency(r), "looked", func() { done(uint64(len(b.journals[journal])), true) })
}

// probe writes to a key of its own.
func (b *bucket) probe(r *runner, done func(ok bool)) {
	if b.unreachable(r) {
		r.after(membership.ProbeLimit, "probe failed", func() { done(false) })
		return
	}
	r.after(2*b.latency(r), "probed", func() { done(!b.unreachable(r)) })
}
