package ingest

import (
	"container/heap"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/varvelog/varve/ingest/wal"
	"github.com/varvelog/varve/tiering/batch/batchtest"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/segment"
)

// model is a core whose clients, disk and store are simulated, in virtual time. It shows
// how a policy of flushes serves a population of clients on a store of some latency.
type model struct {
	*bench
	random  *rand.Rand
	events  modelEvents
	put     func(bytes int) time.Duration // how long a PUT takes
	done    map[*journal.Object]bool      // PUTs that are over, behind others that are not
	batches map[int]Batch                 // by size

	sentAt     []sentRequest         // with acks=all, not answered
	oldest     time.Time             // when the oldest record of the buffer came, before an object is sent
	flushed    time.Time             // when the object before it was sent
	proposed   func(*journal.Object) // looks at each object; may be nil
	progressed func()                // looks at the core after each event; may be nil

	from      time.Time // figures count from here on
	puts      int
	bytes     int // acknowledged
	latencies []time.Duration
}

// sentRequest is a request of a client that waits.
type sentRequest struct {
	until uint64 // LSN
	at    time.Time
}

type modelEvent struct {
	at time.Time
	do func()
}

type modelEvents []modelEvent

func (e modelEvents) Len() int           { return len(e) }
func (e modelEvents) Less(i, j int) bool { return e[i].at.Before(e[j].at) }
func (e modelEvents) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *modelEvents) Push(x any)        { *e = append(*e, x.(modelEvent)) }
func (e *modelEvents) Pop() any {
	old := *e
	x := old[len(old)-1]
	*e = old[:len(old)-1]
	return x
}

func newModel(t testing.TB, put time.Duration, putsPerSecond float64) *model {
	m := &model{
		bench: &bench{t: t, clock: time.UnixMilli(1_000_000), room: simWindow}, random: rand.New(rand.NewPCG(1, 0)),
		put: func(int) time.Duration { return put }, done: map[*journal.Object]bool{}, batches: map[int]Batch{},
	}
	m.begin(m, m, func(o *Options) {
		o.FlushInterval, o.MaxUnflushed, o.PUTsPerSecond = 250*time.Millisecond, 64<<20, putsPerSecond
	})
	m.run(time.Second)
	return m
}

func (m *model) Append(recs []wal.Record) (uint64, error) {
	m.logged += uint64(len(recs))
	return m.logged, nil
}

func (m *model) Propose(o *journal.Object, bytes segment.Encoded) {
	size := len(bytes.Memory.Bytes())
	m.bench.Propose(o, bytes)
	if m.proposed != nil {
		m.proposed(o)
	}
	m.flushed = m.clock
	m.puts++
	m.after(m.put(size), func() {
		m.done[o] = true
		for len(m.sent) > 0 && m.done[m.sent[0]] {
			delete(m.done, m.sent[0])
			m.commit()
		}
	})
}

func (m *model) after(d time.Duration, do func()) {
	heap.Push(&m.events, modelEvent{m.clock.Add(d), do})
}

// run lets time pass.
func (m *model) run(d time.Duration) {
	end := m.clock.Add(d)
	for m.step(); ; m.step() {
		next := earlier(m.c.wakeAt(), end)
		if len(m.events) > 0 && !m.events[0].at.After(next) {
			e := heap.Pop(&m.events).(modelEvent)
			m.clock = e.at
			e.do()
			continue
		}
		if next.After(m.clock) {
			m.clock = next
		}
		if !next.Before(end) {
			return
		}
	}
}

// step does all that is due.
func (m *model) step() {
	m.oldest = m.c.flusher.buffer.oldest()
	m.progress()
	if m.progressed != nil {
		m.progressed()
	}
}

// waits returns when the first and the last of the requests came whose clients wait for
// the buffer.
func (m *model) waits() (first, last time.Time) {
	m.sentAt = slices.DeleteFunc(m.sentAt, func(r sentRequest) bool { return r.until < m.c.flusher.buffer.first })
	if len(m.sentAt) == 0 {
		return first, last
	}
	return m.sentAt[0].at, m.sentAt[len(m.sentAt)-1].at
}

// measure lets the clients warm up, then counts.
func (m *model) measure(warm, d time.Duration) {
	m.run(warm)
	m.from, m.puts, m.bytes, m.latencies = m.clock, 0, 0, nil
	m.run(d)
}

func (m *model) quantile(q float64) time.Duration {
	if len(m.latencies) == 0 {
		return 0
	}
	slices.Sort(m.latencies)
	return m.latencies[int(q*float64(len(m.latencies)-1))]
}

func (m *model) batch(size int) Batch {
	b, ok := m.batches[size]
	if !ok {
		b = makeBatch(m.t, testKey, batchtest.Spec{Records: batchtest.Values(1000, string(make([]byte, size-80)))})
		m.batches[size] = b
	}
	b.Data = slices.Clone(b.Data)
	return b
}

func (m *model) send(acks Acks, size int, answered func()) {
	sent := m.clock
	m.c.append(request{acks: acks, batches: []Batch{m.batch(size)}, done: func(r []Result) {
		if r[0].Err != nil {
			m.t.Fatal(r[0].Err)
		}
		m.bytes += size
		m.latencies = append(m.latencies, m.clock.Sub(sent))
		answered()
	}})
	if acks == AcksAll {
		m.sentAt = append(m.sentAt, sentRequest{m.logged, sent})
	}
}

// hop is how long a message between a client and the node takes, with its work on both sides.
func (m *model) hop() time.Duration {
	return 100*time.Microsecond + time.Duration(m.random.IntN(200))*time.Microsecond
}

// population is a number of producers with acks=all, each with a window of batches that
// may be under way, and a time to fill a batch.
type population struct {
	producers, window, size int
	fill                    time.Duration
	// split: all but the first batch of a window come so much later, once.
	split time.Duration
}

// part is how much of the throughput that the windows allow was reached: a window each
// time that it is filled, travels, is stored, and its answers travel back.
func (p population) part(m *model, put time.Duration) float64 {
	round := put + time.Duration(p.window)*p.fill + 600*time.Microsecond
	limit := float64(p.producers*p.window*p.size) / round.Seconds()
	return float64(m.bytes) / m.clock.Sub(m.from).Seconds() / limit
}

// start starts the producers.
func (p population) start(m *model) {
	for range p.producers {
		at := time.Duration(m.random.IntN(1000)) * time.Microsecond
		w := &window{m: m, population: p}
		m.after(at, func() { w.open(1) })
		m.after(at+p.split, func() { w.open(p.window - 1) })
	}
}

// window is the window of one producer.
type window struct {
	population
	m       *model
	free    int
	filling bool
}

func (w *window) open(batches int) {
	w.free += batches
	w.fillOne()
}

func (w *window) fillOne() {
	if w.free == 0 || w.filling {
		return
	}
	w.free--
	w.filling = true
	w.m.after(w.fill, func() {
		w.filling = false
		w.m.after(w.m.hop(), func() {
			w.m.send(AcksAll, w.size, func() { w.m.after(w.m.hop(), func() { w.open(1) }) })
		})
		w.fillOne()
	})
}

// openLoop starts producers that write at a pace, however long the answers take.
func (m *model) openLoop(acks Acks, perSecond, size int) {
	m.send(acks, size, func() {})
	m.after(time.Duration(m.random.ExpFloat64()*float64(time.Second)/float64(perSecond)), func() { m.openLoop(acks, perSecond, size) })
}
