package ingest

import (
	"testing"
	"time"

	"github.com/varvelog/varve/testenv/seeded"
	"github.com/varvelog/varve/tiering/batch/batchtest"
	"github.com/varvelog/varve/tiering/partlog"
)

// TestCarryModel carries entries at random times next to records and openings.
func TestCarryModel(t *testing.T) {
	seeded.Run(t, seeded.Test[struct{}]{Run: runCarry, Must: []string{"own object", "rode", "rode on entries", "closed"}}, 200, 60)
}

// carried is a call of Carry as the model knows it.
type carried struct {
	done chan error
	at   time.Time
	seq  uint64 // of the object that has its entry
}

func runCarry(t *seeded.T, _ struct{}) {
	b := newBench(t)
	b.c.carryAfter = 10 * time.Minute
	b.c.expirer.last = b.clock.Add(time.Hour * 1000) // its entries would ride, too
	var calls []*carried
	var lastOwn time.Time
	partitions := 0
	look := func() {
		before := len(b.sent)
		if err := b.c.progress(); err != nil {
			t.Fatal(err)
		}
		for _, o := range b.sent[before:] {
			entries := 0
			for _, c := range calls {
				if c.seq == 0 {
					c.seq = o.Footer.Header.Seq
					entries++
				}
			}
			switch own := len(o.Footer.Partitions) == 0 && len(o.Entries) <= entries; {
			case own && b.clock.Sub(lastOwn) < b.c.carryAfter:
				t.Errorf("two objects for carried entries alone within %v", b.clock.Sub(lastOwn))
			case own:
				lastOwn = b.clock
				t.Count("own object")
			case entries > 0 && len(o.Footer.Partitions) == 0:
				t.Count("rode on entries")
			case entries > 0:
				t.Count("rode")
			}
		}
		for len(b.sent) > 0 && t.Rand.IntN(2) == 0 {
			b.commit()
		}
		for _, c := range calls {
			if answered := len(c.done) > 0; answered != (c.seq > 0 && b.c.state.Head() >= c.seq) {
				t.Errorf("entries of object %d at head %d: answered %v", c.seq, b.c.state.Head(), answered)
			}
			if c.seq == 0 && b.clock.Sub(c.at) > b.c.carryAfter+time.Minute && b.Room() {
				t.Errorf("entries wait for %v", b.clock.Sub(c.at))
			}
		}
	}
	for range 80 {
		b.wait(time.Duration(t.Rand.Int64N(int64(time.Minute))))
		switch t.Rand.IntN(40) {
		case 0, 1, 2:
			calls = append(calls, &carried{done: b.carry(1), at: b.clock})
		case 3:
			b.append([]Acks{AcksAll, AcksLeader}[t.Rand.IntN(2)], batchtest.Spec{})
			b.wait(time.Second)
		case 4:
			partitions++
			b.open(partlog.Key{Topic: testTopic, Index: int32(partitions)})
			b.wait(time.Second)
		}
		look()
		t.Events++
	}
	b.c.close()
	look()
	for _, c := range calls {
		if c.seq == 0 && b.c.flusher.idle() && b.c.finished() {
			t.Count("closed")
		}
	}
}
