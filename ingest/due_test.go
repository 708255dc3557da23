package ingest

import (
	"fmt"
	"testing"
	"time"

	"github.com/varvelog/varve/tiering/batch/batchtest"
	"github.com/varvelog/varve/tiering/partlog"
)

// expectDue expects the next flush in a time from now.
func (b *bench) expectDue(when string, want time.Duration) {
	b.t.Helper()
	if got := b.c.flusher.due().Sub(b.clock); got != want {
		b.t.Errorf("%s: due in %v, want %v", when, got, want)
	}
}

func (b *bench) wait(d time.Duration) { b.clock = b.clock.Add(d) }

func TestFlushWithoutClientsThatWaitIsDueByIntervalSizeOrIdleness(t *testing.T) {
	for _, acks := range []Acks{AcksLeader, AcksNone} {
		b := newBench(t)
		if !b.c.flusher.due().IsZero() {
			t.Fatal("an empty buffer is due")
		}
		b.wait(time.Second)
		b.append(acks, batchtest.Spec{})
		b.expectDue("after a pause", flushLinger)
		b.flush()
		b.wait(10 * time.Millisecond)
		b.append(acks, batchtest.Spec{})
		b.expectDue("10 ms after a flush", 90*time.Millisecond)
		b.commit()
		b.expectDue("with nothing under way", 90*time.Millisecond)
		b.open(partlog.Key{Topic: testTopic, Index: 5})
		b.expectDue("with a partition to open", flushLinger)
		b.c.flusher.flushBytes = 10
		b.expectDue("with a full buffer", 0)
	}
}

// While nothing is under way, a client waits no longer than a linger, whatever comes.
func TestAClientThatWaitsGetsAFlushAfterALinger(t *testing.T) {
	b := newBench(t)
	b.append(AcksLeader, batchtest.Spec{})
	b.wait(time.Millisecond)
	b.append(AcksAll, batchtest.Spec{})
	b.expectDue("with one client", flushLinger)
	b.wait(2 * time.Millisecond)
	b.append(AcksAll, batchtest.Spec{})
	b.expectDue("with another one", flushLinger-2*time.Millisecond)
	b.flush()
	b.commit()
	b.append(AcksLeader, batchtest.Spec{})
	b.expectDue("without a client that waits", 100*time.Millisecond)
}

// A retry of a batch in the buffer waits for it, whatever the original asked for.
func TestARetryThatWaitsForABufferedBatchGetsAFlush(t *testing.T) {
	b := newBench(t)
	spec := batchtest.Spec{ProducerID: 9}
	b.append(AcksLeader, spec)
	b.expectDue("the original", 100*time.Millisecond)
	b.append(AcksAll, spec)
	b.expectDue("the retry", flushLinger)
	b.flush()
	b.append(AcksAll, spec)
	b.append(AcksLeader, batchtest.Spec{})
	b.expectDue("a retry of a batch that is under way, and another batch", 100*time.Millisecond)
}

// A client whose record does not go with a full segment still waits.
func TestAClientThatIsLeftBehindGetsTheNextFlush(t *testing.T) {
	b := newBench(t)
	b.c.flusher.flushBytes = 1
	b.append(AcksAll, batchtest.Spec{})
	b.append(AcksAll, batchtest.Spec{})
	if err := b.c.flusher.flushOne(nil); err != nil {
		t.Fatal(err)
	}
	b.c.flusher.flushBytes = 1 << 20
	b.expectDue("the second", flushLinger)
}

// Clients that were answered send again. When all have done so, waiting longer brings
// nothing.
func TestAFlushIsDueWhenAllThatWereAnsweredAreBack(t *testing.T) {
	b := newBench(t)
	for range 3 {
		b.append(AcksAll, batchtest.Spec{})
	}
	b.flush()
	b.commit()
	for i, want := range []time.Duration{flushLinger, flushLinger, 0} {
		b.append(AcksAll, batchtest.Spec{})
		b.expectDue(fmt.Sprint("with ", i+1, " of 3"), want)
	}
	b.flush()
	b.commit()
	b.append(AcksAll, batchtest.Spec{})
	b.wait(flushLinger)
	b.flush() // two do not come back
	b.commit()
	b.append(AcksAll, batchtest.Spec{})
	b.expectDue("with the one that came", 0)
}

// While an object is under way, clients that have stopped sending get a flush if they
// wait for more than a small part of it. The others share the next object.
func TestAFlushWhileObjectsAreUnderWayHasItsShare(t *testing.T) {
	b := newBench(t)
	for range 20 {
		b.append(AcksAll, batchtest.Spec{})
	}
	b.flush()
	last := b.clock
	for i := range 4 {
		b.wait(time.Millisecond)
		b.append(AcksAll, batchtest.Spec{})
		if last = b.clock; i < 1 {
			b.expectDue("with a batch next to 20", 99*time.Millisecond)
		}
	}
	b.expectDue("with 4 next to 20", flushLinger)
	b.wait(2 * time.Millisecond)
	b.expectDue("later", last.Add(flushLinger).Sub(b.clock))
	b.flush()
	b.append(AcksAll, batchtest.Spec{})
	b.expectDue("with one next to 24", 100*time.Millisecond)
	b.commit()
	b.append(AcksAll, batchtest.Spec{})
	b.expectDue("with two next to 4", flushLinger)
	b.commit()
	b.wait(flushLinger)
	b.expectDue("with nothing under way", 0)
}

// After a stall the clients have their answers: none waits.
func TestAStallEndsTheWaitOfClients(t *testing.T) {
	b := newBench(t)
	b.append(AcksAll, batchtest.Spec{})
	b.c.stall()
	b.expectDue("after a stall", 100*time.Millisecond)
}

// A client gets its flush from the budget of PUTs, and at the pace of the budget when
// that is used up. Large flushes and full buffers need no budget.
func TestFlushesOfFewBytesHaveABudget(t *testing.T) {
	b := newBench(t)
	b.c.flusher.puts, b.c.flusher.interval = newPutBudget(1), time.Minute
	b.c.flusher.puts.fill(b.clock)
	sent := 0
	for b.append(AcksAll, batchtest.Spec{}); b.c.flusher.due().Sub(b.clock) <= flushLinger; b.append(AcksAll, batchtest.Spec{}) {
		b.wait(flushLinger)
		b.flush()
		b.commit()
		sent++
	}
	if sent != 300 {
		t.Errorf("%d flushes are saved, want those of 5 minutes: 300", sent)
	}
	b.wait(time.Second)
	if due := b.c.flusher.due().Sub(b.clock); due > 0 {
		t.Errorf("a second later: due in %v", due)
	}
	b.flush()
	b.commit()
	b.append(AcksLeader, batchtest.Spec{})
	b.wait(flushLinger)
	b.c.settle(func(error) {})
	if due := b.c.flusher.due().Sub(b.clock); due <= 0 || due > time.Second {
		t.Errorf("for a client that asks for the end: due in %v, want a second at most", due)
	}
}

func TestLargeFlushesNeedNoBudget(t *testing.T) {
	m := newModel(t, time.Millisecond, 1)
	used := m.clock.Add(time.Hour)
	m.c.flusher.puts.from = used
	m.send(AcksLeader, 1000, func() {})
	m.run(10 * time.Millisecond)
	m.c.flusher.puts.from = used
	m.send(AcksAll, 1000, func() {})
	m.expectDue("few bytes", 243*time.Millisecond)
	m.send(AcksAll, cheapBytes, func() {})
	m.expectDue("64 KiB more", flushLinger)
	m.run(10 * time.Millisecond)
	if m.c.flusher.puts.from != used || m.bytes != 2000+cheapBytes {
		t.Errorf("%d bytes committed, the budget is %v further", m.bytes, m.c.flusher.puts.from.Sub(used))
	}
}

func TestPutsAreSavedUpToALimitAndNeverOwed(t *testing.T) {
	now := time.UnixMilli(1_000_000)
	b := newPutBudget(10)
	b.fill(now)
	now = now.Add(24 * time.Hour)
	for range 3000 {
		if at := b.next(now); at != now {
			t.Fatalf("a saved PUT has to wait for %v", at.Sub(now))
		}
		b.spend(now)
	}
	for range 100 { // sent although there is none
		if at := b.next(now); at != now.Add(100*time.Millisecond) {
			t.Fatalf("after 5 minutes' PUTs, the next is in %v", at.Sub(now))
		}
		b.spend(now)
	}
	none := newPutBudget(0)
	for range 3 {
		if none.spend(now); none.next(now) != now {
			t.Error("PUTs without a limit wait")
		}
	}
}

// Each population of producers reaches a good part of the throughput that its windows
// allow, whatever the latency of the store, and they share PUTs. The figures are in
// virtual time.
func TestProducersReachWhatTheirWindowsAllow(t *testing.T) {
	const ms = time.Millisecond
	for name, tc := range map[string]struct {
		population
		putsAtOnce float64 // PUTs under way, on average, at most
	}{
		"one synchronous producer":         {population{producers: 1, window: 1, size: 1000}, 1},
		"a Java producer":                  {population{producers: 1, window: 5, size: 16 << 10, fill: ms / 10}, 1.1},
		"one whose window is split":        {population{producers: 1, window: 5, size: 16 << 10, fill: ms / 10, split: 20 * ms}, 2.1},
		"one of large batches":             {population{producers: 1, window: 5, size: 100 << 10, fill: ms / 5, split: 20 * ms}, 2.1},
		"100 synchronous producers":        {population{producers: 100, window: 1, size: 1000}, 1.1},
		"100 that think before they write": {population{producers: 100, window: 1, size: 1000, fill: 3 * ms}, 2.1},
		"20 Java producers, windows split": {population{producers: 20, window: 5, size: 16 << 10, fill: 2 * ms, split: 20 * ms}, 3},
	} {
		for _, put := range []time.Duration{ms / 2, 5 * ms, 30 * ms, 150 * ms} {
			m := newModel(t, put, 0)
			tc.start(m)
			m.measure(100*ms+5*put, 500*ms+20*put)
			part, atOnce := tc.part(m, put), float64(m.puts)*put.Seconds()/m.clock.Sub(m.from).Seconds()
			if part < 0.8 || atOnce > tc.putsAtOnce {
				t.Errorf("%s, PUT of %v: %.2f of the limit of the window, want 0.8; %.2f PUTs at once, want at most %v", name, put, part, atOnce, tc.putsAtOnce)
			}
		}
	}
}

// A pipe of full segments has as many under way as the journal allows.
func TestAPipeKeepsTheWindowOfTheJournalFull(t *testing.T) {
	const put, segment = 30 * time.Millisecond, 1 << 20
	m := newModel(t, put, 0)
	m.c.flusher.flushBytes = segment
	population{producers: 4, window: 40, size: 64 << 10, fill: 300 * time.Microsecond}.start(m)
	m.measure(500*time.Millisecond, 2*time.Second)
	limit := simWindow * segment / put.Seconds()
	if part := float64(m.bytes) / 2 / limit; part < 0.8 {
		t.Errorf("%.2f of %d full segments under way, want 0.8", part, simWindow)
	}
	if size := m.bytes / m.puts; size < segment*8/10 {
		t.Errorf("segments have %d bytes, want about %d", size, segment)
	}
}

// In the long run a trickle costs one PUT an interval, whatever waits for it. Until the
// saved PUTs are used up, its clients do not wait for that pace.
func TestATrickleCostsOnePUTAnIntervalWherePUTsAreBilled(t *testing.T) {
	const put, perSecond = 30 * time.Millisecond, 4
	for name, start := range map[string]func(*model){
		"a synchronous producer": population{producers: 1, window: 1, size: 100}.start,
		"records with acks=all":  func(m *model) { m.openLoop(AcksAll, 50, 100) },
		"records with acks=1":    func(m *model) { m.openLoop(AcksLeader, 50, 100) },
		"questions for the end":  func(m *model) { m.openLoop(AcksLeader, 50, 100); m.askAgain() },
		"records and synchronous": func(m *model) {
			m.openLoop(AcksLeader, 50, 100)
			population{producers: 3, window: 1, size: 100}.start(m)
		},
	} {
		m := newModel(t, put, perSecond)
		start(m)
		m.measure(0, 10*time.Second)
		if p50 := m.quantile(0.5); name == "a synchronous producer" && p50 > put+flushLinger+time.Millisecond {
			t.Errorf("%s, with saved PUTs: p50 %v", name, p50)
		}
		m.measure(putsSaved, 20*time.Second)
		if rate := float64(m.puts) / 20; rate > perSecond*1.05 {
			t.Errorf("%s: %.1f PUTs a second in the long run, want %v", name, rate, perSecond)
		}
		if p99 := m.quantile(0.99); p99 > time.Second/perSecond+2*put {
			t.Errorf("%s: p99 %v in the long run", name, p99)
		}
	}
}

// askAgain asks for the end without end.
func (m *model) askAgain() {
	m.c.settle(func(error) { m.after(time.Millisecond, m.askAgain) })
}

// Many flushes of 64 KiB need no budget: a gigabyte takes 16,000 PUTs at most.
func TestAGigabyteTakesABoundedNumberOfPUTsWherePUTsAreBilled(t *testing.T) {
	const put = 5 * time.Millisecond
	m := newModel(t, put, 4)
	m.c.flusher.puts.from = m.clock.Add(time.Hour) // used up
	p := population{producers: 1, window: 5, size: 16 << 10, fill: time.Millisecond / 10, split: 20 * time.Millisecond}
	p.start(m)
	m.measure(time.Second, 5*time.Second)
	if most := m.bytes/cheapBytes + 5*4 + 1; m.puts > most {
		t.Errorf("%d PUTs for %d bytes, want at most %d", m.puts, m.bytes, most)
	}
	if part := p.part(m, put); part < 0.8 {
		t.Errorf("%.2f of the limit of the window, want 0.8", part)
	}
}
