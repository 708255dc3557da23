package ingest

import (
	"time"

	"github.com/varvelog/varve/ingest/wal"
	"github.com/varvelog/varve/testenv/sim"
	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/expire"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// truth is the observations of the journal by all nodes and clients, and the
// promises to clients. It fails the world when two observations contradict each
// other.
type truth struct {
	*sim.Observed
	w        *sim.World
	attempts map[string]*attempt // by content

	log     map[partlog.Key][]placed
	ends    map[partlog.Key]int64
	begins  map[partlog.Key]int64 // where they are not 0
	opened  map[partlog.Key]bool  // false: sealed
	where   map[*attempt]place
	covered map[segment.ID]uint64
	starts  map[segment.ID]start // by incarnation
	led     map[uint32]bool      // epochs that were led
	fences  []fence

	archive  *archive
	wanted   map[partlog.Key]int64 // offsets before which clients wanted records deleted
	policies func(id segment.ID, since uint64) []expire.Policy
	purged   func(segment.ID) bool
	dropped  map[partlog.Key]bool
	decoded  map[partlog.Key]*decoded
	planned  map[simExpiry]uint64 // seq of the metadata after which an expiry was planned
	promises []promise            // with acks=1
	aside    map[*attempt]bool
	shard    shardTruth
	count    int // records in the log that was set aside last
}

type placed struct {
	base int64
	a    *attempt
}

type place struct {
	base int64
	seq  uint64
}

// start is whose an incarnation was.
type start struct {
	f     *datadir
	wiped int
}

type fence struct {
	epoch       uint32
	incarnation segment.ID
	start       start
	at          time.Duration // when a node first took it for valid
}

// promise is an answer to a request with acks=1.
type promise struct {
	a     *attempt
	base  int64
	f     *datadir
	wiped int
	at    time.Duration
}

func newTruth(w *sim.World, s *sim.Store) *truth {
	t := &truth{
		Observed: sim.NewObserved(s, simChain), w: w, attempts: map[string]*attempt{},
		log: map[partlog.Key][]placed{}, ends: map[partlog.Key]int64{}, begins: map[partlog.Key]int64{}, opened: map[partlog.Key]bool{}, wanted: map[partlog.Key]int64{},
		dropped: map[partlog.Key]bool{}, decoded: map[partlog.Key]*decoded{}, planned: map[simExpiry]uint64{}, where: map[*attempt]place{},
		covered: map[segment.ID]uint64{}, starts: map[segment.ID]start{}, led: map[uint32]bool{}, aside: map[*attempt]bool{},
	}
	t.archive = newArchive(t, s)
	return t
}

// applied: a node took o for the next valid object, with this state after it.
func (t *truth) applied(who string, o *journal.Object, state *partlog.State) {
	stored := t.Applied(who, o, state.Hash)
	if stored == nil {
		return
	}
	h := &stored.Footer.Header
	if h.Kind == segment.KindFence {
		t.fences = append(t.fences, fence{h.Epoch, h.Incarnation, t.starts[h.Incarnation], t.w.Elapsed()})
	}
	// A retention that is not wanted any more leaves an object of its own empty.
	if h.Kind == segment.KindData && len(stored.Entries)+len(stored.Footer.Partitions) == 0 && o.End == nil && !t.archive.expires {
		t.w.Fail("%s: seq %d says nothing", who, h.Seq)
	}
	if h.WAL.To > 0 {
		t.covered[h.WAL.Incarnation] = max(t.covered[h.WAL.Incarnation], h.WAL.To)
	}
	t.deleted(who, h, stored.Entries)
	t.follow(stored.Entries)
	defer t.archive.applied(who, stored)
	for i := range stored.Footer.Partitions {
		t.extend(who, h.Seq, stored, &stored.Footer.Partitions[i])
	}
}

// extend takes the records of one partition in one object.
func (t *truth) extend(who string, seq uint64, o *segment.Object, p *segment.Partition) {
	k := partlog.Key{Topic: p.Topic, Index: p.Index}
	err := batch.Walk(o.Batches(p), func(pos int, h batch.Header) error {
		data := o.Batches(p)[pos : pos+h.Size()]
		a := t.attempts[content(data)]
		before, dup := t.where[a]
		switch {
		case a == nil || !batch.CheckCRC(data, h):
			t.w.Fail("%s: seq %d holds a batch at offset %d of %v that no producer sent", who, seq, h.BaseOffset, k)
			return nil
		case a.key != k:
			t.w.Fail("%s: seq %d holds a batch of %v in %v", who, seq, a.key, k)
		case dup:
			t.w.Fail("%s: batch %d of %s is at offset %d (seq %d) and again at offset %d (seq %d) of %v", who, a.sequence, a.producer.name, before.base, before.seq, h.BaseOffset, seq, k)
		case h.BaseOffset != t.ends[k]:
			t.w.Fail("%s: seq %d goes on at offset %d of %v, which ended at %d", who, seq, h.BaseOffset, k, t.ends[k])
		}
		t.checkOrder(a, k)
		t.where[a] = place{h.BaseOffset, seq}
		t.log[k] = append(t.log[k], placed{h.BaseOffset, a})
		t.ends[k] = h.LastOffset() + 1
		t.shard.extend(t.w, k, a, h.BaseOffset)
		return nil
	})
	if err != nil {
		t.w.Fail("%s: seq %d: %w", who, seq, err)
	}
}

// checkOrder: an idempotent producer's batches follow each other; none is missing
// once one with acks=all was acknowledged.
func (t *truth) checkOrder(a *attempt, k partlog.Key) {
	if a.sequence < 0 {
		return
	}
	log := t.log[k]
	for i := len(log) - 1; i >= 0; i-- {
		b := log[i].a
		if b.header.ProducerID != a.header.ProducerID {
			continue
		}
		if b.epoch > a.epoch || b.epoch == a.epoch && b.sequence+b.header.Records != a.sequence {
			t.w.Fail("in %v batch %d of %s (epoch %d) follows batch %d (epoch %d)", k, a.sequence, a.producer.name, a.epoch, b.sequence, b.epoch)
		}
		return
	}
}

// inForce reports whether a process opened the highest epoch that was seen.
func (t *truth) inForce(n *proc) bool {
	return len(t.fences) > 0 && t.fences[len(t.fences)-1].incarnation == n.incarnation
}

// confirmed: a process that was asked whether it still leads says yes.
func (t *truth) confirmed(n *proc, epoch uint32, asked time.Duration) {
	t.w.Count("asked and confirmed")
	for _, fence := range t.fences {
		if fence.epoch > epoch && fence.at+journal.StandFor < asked {
			t.w.Fail("%s says after %v that it leads with epoch %d; epoch %d began after %v", n.p.Name, asked, epoch, fence.epoch, fence.at)
		}
	}
}

// leads: epochs belong to one process.
func (t *truth) leads(epoch uint32, n *proc) {
	if t.led[epoch] {
		t.w.Fail("%s leads with epoch %d, as another leader did before", n.p.Name, epoch)
	}
	t.led[epoch] = true
	t.w.Count("led")
}

// answered checks the answer to a client.
func (t *truth) answered(n *proc, r *call, res Result) {
	t.w.Trace("answer", uint64(res.BaseOffset))
	if res.Err != nil || r.acks == AcksNone {
		return
	}
	n.acked[r.a.key] = max(n.acked[r.a.key], res.BaseOffset+int64(r.a.header.LastOffsetDelta)+1)
	if r.a.acked {
		t.w.Count("retry answered")
	}
	at, committed := t.where[r.a]
	if r.acks == AcksLeader && at.base != res.BaseOffset && !t.inForce(n) {
		committed = false // a retry elsewhere may be; this one is a promise of the disk's
	}
	switch {
	case committed && at.base != res.BaseOffset:
		t.w.Fail("%s says offset %d for a batch that is at offset %d", n.p.Name, res.BaseOffset, at.base)
	case committed:
	case r.acks == AcksAll:
		t.w.Fail("%s acknowledged batch %d of %s at offset %d of %v with acks=all before it was committed", n.p.Name, r.a.sequence, r.a.producer.name, res.BaseOffset, r.a.key)
	case !n.log.safe(r.a):
		t.w.Fail("%s acknowledged batch %d of %s with acks=1 before it was synced", n.p.Name, r.a.sequence, r.a.producer.name)
	}
	if !committed {
		t.w.Count("acks=1 promise")
		t.promises = append(t.promises, promise{r.a, res.BaseOffset, n.f, n.f.wiped, t.w.Elapsed()})
	}
}

// safe: the batch is synced in this log.
func (l *simLog) safe(a *attempt) bool {
	for i := len(l.records) - 1; i >= 0; i-- {
		if r := &l.records[i]; content(r.Batch) == content(a.data) {
			return r.LSN <= l.synced
		}
	}
	return false
}

// checkCovered: a log that is removed is in the bucket.
func (t *truth) checkCovered(l *simLog) {
	for _, r := range l.records {
		if _, ok := t.where[t.attempts[content(r.Batch)]]; !ok {
			t.w.Fail("write-ahead record %d of %s is removed and not in the log", r.LSN, l.f.name)
		}
	}
}

// setAside notes records that are left for an operator, and checks that this is
// right: only another leader's leadership since can have taken the offsets.
func (t *truth) setAside(l *simLog, n *proc, reason string) {
	found := l.found()
	foreign := false
	for _, fence := range t.fences {
		if len(found.Epochs) > 0 && fence.epoch > found.Epochs[0] && fence.start != (start{n.f, n.f.wiped}) {
			foreign = true
		}
	}
	if !foreign {
		t.w.Fail("%s sets records %d to %d of %s aside, though no other node led: %s", n.p.Name, l.first, l.last(), l.id, reason)
	}
	t.count = 0
	_ = l.read(max(l.first, t.covered[l.id]), l.last(), func(r wal.Record) error {
		t.count++
		t.aside[t.attempts[content(r.Batch)]] = true
		return nil
	})
	t.w.Count("records set aside")
}

// wasSetAside: as many as there were, and at least one.
func (t *truth) wasSetAside(n *proc, records int, reason error) {
	t.w.Logf("%s sets %d records aside: %v", n.p.Name, records, reason)
	if records == 0 {
		t.w.Fail("%s raises an alarm over no records: %w", n.p.Name, reason)
	}
	if records != t.count {
		t.w.Fail("%s counts %d records set aside, there are %d", n.p.Name, records, t.count)
	}
}

// checkPromises checks that records acknowledged with acks=1 are in the log, or
// left for an operator, or on a disk that was lost.
func (t *truth) checkPromises() {
	for _, p := range t.promises {
		at, ok := t.where[p.a]
		switch {
		case ok && at.base == p.base, t.aside[p.a], p.wiped != p.f.wiped:
		case ok:
			t.w.Fail("batch %d of %s was acknowledged at offset %d and is at offset %d", p.a.sequence, p.a.producer.name, p.base, at.base)
		default:
			t.w.Fail("batch %d of %s, acknowledged with acks=1 after %v by %s at offset %d of %v, is nowhere", p.a.sequence, p.a.producer.name, p.at, p.f.name, p.base, p.a.key)
		}
	}
}
