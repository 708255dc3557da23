package group

import (
	"maps"
	"slices"
	"time"

	"github.com/varvelog/varve/metadata/coordinator"
)

// Machine is the groups of one partition of __consumer_offsets. It has one
// owner, and implements coordinator.Machine. Requests are made only between
// Lead and Resign.
type Machine struct {
	config Config
	kept   map[string]*kept // by group id

	// Soft state: empty unless leading. A group is alive if it has members, if
	// a client was given an id to join with, or if records of it are under way.
	// Of all others there is only the kept state.
	live    map[string]*live
	timers  timers
	expiry  timer
	missing map[topic]bool // topics found deleted by the last search for expired offsets
}

// topic is a topic as an offset names it.
type topic struct {
	name string
	id   [16]byte
}

var _ coordinator.Machine = (*Machine)(nil)

// New returns the state before the first record of a partition.
func New(config Config) (*Machine, error) {
	if err := config.validate(); err != nil {
		return nil, err
	}
	return &Machine{config: config, kept: map[string]*kept{}, live: map[string]*live{}}, nil
}

// Lead implements coordinator.Machine.
func (m *Machine) Lead(out coordinator.Out) {
	for _, id := range slices.Sorted(maps.Keys(m.kept)) {
		if meta := m.kept[id].meta; meta != nil && len(meta.members) > 0 {
			g := m.lookup(id)
			for _, who := range g.members {
				m.startSession(out, who)
			}
		}
	}
	m.expiry.fire = m.expire
	m.timers.set(&m.expiry, out.Now().Add(m.config.ExpireEvery))
}

// Resign implements coordinator.Machine.
func (m *Machine) Resign(err error) {
	groups := slices.Sorted(maps.Keys(m.live))
	for _, id := range groups {
		g := m.live[id]
		g.gone = true
		g.hold(-g.bytes)
		for _, who := range g.members {
			who.answerJoin(JoinAnswer{Err: err, Member: who.id})
			who.answerSync(SyncAnswer{Err: err})
		}
		for _, w := range g.writes {
			w.finish(nil, err)
		}
	}
	m.live, m.timers, m.expiry, m.missing = map[string]*live{}, timers{}, timer{}, nil
}

// Tick implements coordinator.Machine.
func (m *Machine) Tick(out coordinator.Out) {
	for t := m.timers.due(out.Now()); t != nil; t = m.timers.due(out.Now()) {
		t.fire(out)
	}
}

// Next implements coordinator.Machine.
func (m *Machine) Next() time.Time { return m.timers.next() }

// lookup returns a live group, nil if there is no such group. The caller must
// call settle when it is done with it.
func (m *Machine) lookup(id string) *live {
	if g := m.live[id]; g != nil {
		return g
	}
	k := m.kept[id]
	if k == nil {
		return nil
	}
	g := m.create(id)
	if k.meta != nil {
		g.restore(m, k.meta)
	}
	return g
}

// create makes a group that is not kept.
func (m *Machine) create(id string) *live {
	g := newLive(m, id)
	m.live[id] = g
	return g
}

// settle drops a live group that has nothing but its kept state.
func (m *Machine) settle(g *live) {
	if g.gone || g.state != Empty || len(g.members) > 0 || len(g.pending) > 0 || len(g.writes) > 0 {
		return
	}
	if k := m.kept[g.id]; k != nil && k.meta != nil && (len(k.meta.members) > 0 || k.meta.generation != g.generation) {
		return // whether the record of its end is committed is not known
	}
	g.gone = true
	m.timers.stop(&g.joining)
	m.timers.stop(&g.syncing)
	delete(m.live, g.id)
}

// write is a set of records of a group that are under way.
type write struct {
	done    func(out coordinator.Out, err error) // nil once called
	readers []func(err error)                    // called after done; err is why they cannot read
	commits []partition                          // for which offsets are committed
}

// finish calls done once. out is nil if the leadership has ended.
func (w *write) finish(out coordinator.Out, err error) {
	done, readers := w.done, w.readers
	w.done, w.readers = nil, nil
	if done == nil {
		return
	}
	done(out, err)
	if out != nil {
		err = nil
	}
	for _, read := range readers {
		read(err)
	}
}

// append writes records of a group, and calls done once their outcome is known.
// Requests that read wait for it.
func (m *Machine) append(out coordinator.Out, g *live, records []coordinator.Record, done func(out coordinator.Out, err error)) *write {
	w := &write{done: done}
	g.writes = append(g.writes, w)
	out.Append(records, func(out coordinator.Out, err error) {
		if w.done == nil {
			return // the leadership that appended them has ended
		}
		g.writes = slices.DeleteFunc(g.writes, func(other *write) bool { return other == w })
		w.finish(out, err)
		m.settle(g)
	})
	return w
}

// size is roughly the bytes that records take in an append.
func size(records []coordinator.Record) (n int) {
	for _, r := range records {
		n += len(r.Key) + len(r.Value)
	}
	return n
}

// appendAll writes any number of records, in as many appends as needed, and
// calls done once the last is done, with the first error.
func (m *Machine) appendAll(out coordinator.Out, g *live, records []coordinator.Record, done func(err error)) {
	var first error
	for len(records) > 0 {
		n := min(len(records), maxRecords)
		for n > 1 && size(records[:n]) > m.config.MaxAppend {
			n /= 2
		}
		chunk := records[:n]
		records = records[n:]
		last := len(records) == 0
		m.append(out, g, chunk, func(_ coordinator.Out, err error) {
			if first == nil {
				first = err
			}
			if last {
				done(first)
			}
		})
	}
}

// maxRecords limits the records of one append of many.
const maxRecords = 1000
