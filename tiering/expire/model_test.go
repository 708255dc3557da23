package expire

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/varvelog/varve/testenv/seeded"
	"github.com/varvelog/varve/tiering/clocks"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// TestModel runs the steps with the real clocks against a node's clock that jumps and a
// view of journal 0 that lags. Nothing may go that is to stay by the committed metadata
// and the true time; in the end, everything goes that is due.
func TestModel(t *testing.T) {
	seeded.Run(t, seeded.Test[struct{}]{Run: runModel, Must: []string{
		"expired", "expired by bytes", "dropped", "clock wrong", "view lags", "deleted records", "paged", "merged", "from the future", "built by a clock that was behind",
		"everything expired", "not wanted any more",
	}}, 400, 60)
}

// metadata is the part of journal 0 that counts.
type metadata struct {
	policy       Policy
	purged       bool
	deleted      bool
	tieredBefore time.Time // nothing goes before
}

// model is a world with the truth next to it.
type model struct {
	*world
	objstore.Store // nil: only its clock is asked
	t              *seeded.T
	rng            *rand.Rand
	truth, view    metadata
	at             time.Time     // the true time, which the store has
	ahead          time.Duration // the node's clock
	answers        uint64
	calm           bool // nothing changes any more
	extents        []written
	expirer        *Expirer
	dropper        *Dropper
}

// written is an extent that was written, with its own time, that of the node's clock, and the
// true time.
type written struct{ ms, builtMs, at int64 }

// newest is the true time of the records.
func (x written) newest() int64 {
	if x.ms < 0 {
		return x.builtMs
	}
	return min(x.ms, x.at)
}

// counts is the time that decides.
func (x written) counts(nowMs int64) int64 {
	if x.ms < 0 || x.ms > nowMs+3_600_000 {
		return x.builtMs
	}
	return x.ms
}

func (m *model) StoreTime() (time.Time, uint64) { return m.at, m.answers }

func runModel(t *seeded.T, _ struct{}) {
	m := &model{world: newWorld(t), t: t, at: time.UnixMilli(1000 * day)}
	m.truth.policy = Policy{-1, -1}
	m.view = m.truth
	m.opt.Policy = func(segment.ID) (Policy, bool) { return m.view.policy, !m.view.deleted }
	m.opt.Gone = func(segment.ID) bool { return m.view.purged }
	m.opt.Begins = func() time.Time { return m.view.tieredBefore }
	m.opt.Now, m.opt.Carry = m.node, m.carry
	m.lead()
	t.Steps(60, func(r *rand.Rand) {
		m.rng = r
		m.step()
		m.run()
	})
	if !t.Failed() {
		m.settle()
	}
}

func (m *model) node() time.Time { return m.at.Add(m.ahead) }

// lead begins another leadership, in another process.
func (m *model) lead() {
	answer := func(context.Context) error { m.answers++; return nil }
	m.opt.Clocks = clocks.New(clocks.Options{
		Store: m, Read: answer, Now: m.node, Uptime: func() time.Duration { return time.Minute },
		Prove:    func(ctx context.Context) error { m.view = m.truth; return answer(ctx) },
		OnJudged: func(_ time.Duration, err error) { m.judged(err) },
	})
	m.expirer, m.dropper = New(m.opt), NewDropper(m.opt)
}

func (m *model) judged(err error) {
	if err != nil {
		m.t.Count("clock wrong")
	}
}

func (m *model) step() {
	m.at = m.at.Add(time.Duration(m.rng.IntN(5)) * time.Hour)
	switch m.rng.IntN(12) {
	case 0, 1, 2, 3:
		for range 1 + m.rng.IntN(8) {
			m.append()
		}
	case 4, 5:
		m.mergeAll()
	case 6:
		m.change()
	case 7:
		jumps := []time.Duration{0, 0, 0, 4 * time.Minute, -4 * time.Minute, 400 * 24 * time.Hour, -400 * 24 * time.Hour}
		m.ahead = jumps[m.rng.IntN(len(jumps))]
	case 8:
		m.deleteRecords()
	case 9:
		if n := len(m.pages); m.rng.IntN(2) == 0 {
			m.pageAll()
			if len(m.pages) > n {
				m.t.Count("paged")
			}
		}
	case 10:
		if m.lead(); m.rng.IntN(2) == 0 { // its view is older than the topic
			m.view = metadata{policy: Policy{-1, -1}, deleted: true, purged: true}
			m.t.Count("view lags")
		}
	case 11:
		m.view = m.truth
	}
}

// append writes an extent, if the partition takes it.
func (m *model) append() {
	if m.truth.deleted {
		return
	}
	x := written{ms: m.at.Add(-time.Duration(m.rng.IntN(50)) * time.Hour).UnixMilli(), builtMs: m.at.UnixMilli(), at: m.at.UnixMilli()}
	switch m.rng.IntN(8) {
	case 0:
		x.ms = m.at.Add(1000 * time.Hour).UnixMilli()
		m.t.Count("from the future")
	case 1:
		x.ms = -1
	default:
		if x.builtMs = m.node().UnixMilli(); m.ahead < -time.Hour {
			m.t.Count("built by a clock that was behind")
		}
	}
	m.write(x.ms)
	m.extents = append(m.extents, x)
}

func (m *model) mergeAll() {
	if v, ok := m.state.Lookup(testKey); !ok || v.Sealed {
		return
	}
	from := int(max(m.merged(), m.start()/10*10) / 10)
	m.merge(func(i int) (int64, int64) { return m.extents[from+i].ms, m.extents[from+i].builtMs })
	m.t.Count("merged")
}

// change commits another configuration, or the deletion of the topic and its purge.
func (m *model) change() {
	switch {
	case m.truth.deleted && m.rng.IntN(2) == 0:
		m.truth.purged = true
	case m.rng.IntN(6) == 0 && !m.truth.deleted:
		m.truth.deleted = true
		m.object([]segment.Entry{partlog.Seal{Key: testKey}.Encode()})
	case m.rng.IntN(4) == 0:
		m.truth.policy = Policy{-1, -1}
	case m.rng.IntN(8) == 0:
		m.truth.tieredBefore = m.at.Add(10 * time.Hour)
	default:
		m.truth.policy = Policy{int64(m.rng.IntN(60)) * 3_600_000, -1}
		if m.rng.IntN(2) == 0 {
			m.truth.policy = Policy{-1, int64(m.rng.IntN(30)) * 70}
		}
	}
	if m.view != m.truth {
		m.t.Count("view lags")
	}
}

func (m *model) deleteRecords() {
	v, ok := m.state.Lookup(testKey)
	if !ok || v.Sealed || v.Start == v.End {
		return
	}
	before := v.Start + 1 + int64(m.rng.IntN(int(min(v.End-v.Start, 30))))
	m.object([]segment.Entry{partlog.DeleteRecords{Key: testKey, Before: before}.Encode()})
	m.t.Count("deleted records")
}

func (m *model) run() {
	for _, run := range []func(context.Context) (bool, error){m.expirer.Run, m.dropper.Run} {
		if _, err := run(m.t.Context()); err != nil {
			m.t.Fatal(err)
		}
	}
}

// carry checks entries before they are committed.
func (m *model) carry(_ context.Context, entries []segment.Entry, wanted func(segment.Entry) bool) error {
	if !m.calm && m.rng.IntN(3) == 0 { // they wait, and the configuration changes on this node
		upgrade := m.truth.tieredBefore // it was before this leadership had such entries
		m.change()
		m.truth.tieredBefore = upgrade
		m.view = m.truth
	}
	entries = slices.DeleteFunc(entries, func(e segment.Entry) bool { return !wanted(e) || m.tooLate(e) })
	if len(entries) == 0 {
		m.t.Count("not wanted any more")
		return nil
	}
	for _, e := range entries {
		if m.at.Before(m.truth.tieredBefore.Add(-5 * time.Minute)) {
			m.t.Fatalf("something goes before %v", m.truth.tieredBefore)
		}
		if e.Kind == partlog.EntryDrop {
			if m.t.Count("dropped"); !m.truth.purged {
				m.t.Fatal("a partition is dropped whose topic can be restored")
			}
			continue
		}
		d, err := partlog.DecodeDeleteRecords(e.Payload)
		if err != nil {
			m.t.Fatal(err)
		}
		m.checkExpired(d.Before)
	}
	m.object(entries)
	return nil
}

// tooLate is as in the leader: deletions in a sealed partition are left out.
func (m *model) tooLate(e segment.Entry) bool {
	v, _ := m.state.Lookup(testKey)
	return e.Kind == partlog.EntryDeleteRecords && v.Sealed
}

// checkExpired: each extent up to an offset may go by the committed configuration.
func (m *model) checkExpired(before int64) {
	p := m.truth.policy
	if m.truth.deleted {
		m.t.Fatal("records of a deleted topic expire")
	}
	for i := int(m.start() / 10); i < int(before/10); i++ {
		age := m.at.UnixMilli() - m.extents[i].newest() + (5 * time.Minute).Milliseconds()
		byTime := p.RetentionMs >= 0 && age > p.RetentionMs
		byBytes := p.RetentionBytes >= 0 && int64(len(m.extents)-i-1)*100 >= p.RetentionBytes
		switch {
		case byBytes:
			m.t.Count("expired by bytes")
		case byTime:
			m.t.Count("expired")
		default:
			m.t.Fatalf("extent %d of %d expires, %d ms old, by %+v", i, len(m.extents), age, p)
		}
	}
}

// settle: with clocks that agree and all merged, all that is due goes.
func (m *model) settle() {
	m.calm, m.ahead, m.view = true, 0, m.truth
	m.mergeAll()
	m.lead()
	for range 3 {
		m.at = m.at.Add(11 * time.Hour)
		m.run()
	}
	v, ok := m.state.Lookup(testKey)
	if m.truth.deleted {
		if gone := !ok || v.Dropped; gone != m.truth.purged {
			m.t.Errorf("the partition is dropped %v, its topic purged %v", gone, m.truth.purged)
		}
		return
	}
	first, p := int(v.Start/10), m.truth.policy
	if first == len(m.extents) {
		m.t.Count("everything expired")
		return
	}
	x := m.extents[first]
	if p.RetentionMs >= 0 && m.at.UnixMilli()-x.counts(m.at.UnixMilli()) > p.RetentionMs || p.RetentionBytes >= 0 && int64(len(m.extents)-first-1)*100 >= p.RetentionBytes {
		m.t.Errorf("extent %d of %d does not expire, by %+v", first, len(m.extents), p)
	}
}
