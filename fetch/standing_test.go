package fetch

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/varvelog/varve/testenv/seeded"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// standingWorld is a world with a Standing of some partitions, and a count of looks.
type standingWorld struct {
	*world
	standing *Standing
	looks    int
}

func newStandingWorld(tb testing.TB, partitions int) *standingWorld {
	s := &standingWorld{standing: NewStanding()}
	s.world = newWorld(tb, func(c *Config) {
		locate := c.Locate
		c.Locate = func(k partlog.Key) (uint32, bool) { s.looks++; return locate(k) }
	})
	tb.Cleanup(s.standing.Close)
	opened := map[partlog.Key][][]byte{}
	for i := range partitions {
		opened[keyOf(i)] = nil
		s.standing.Set(int32(i), uint64(i), want(keyOf(i), 0))
	}
	s.commit(opened)
	return s
}

func keyOf(i int) partlog.Key { return partlog.Key{Topic: testTopic, Index: int32(i)} }

// ask polls the Standing, and returns the results by slot and how many partitions were
// looked at.
func (s *standingWorld) ask(wait time.Duration) (map[int32]Result, int) {
	s.looks = 0
	results := map[int32]Result{}
	for _, r := range s.fetch(Request{Standing: s.standing, MinBytes: 1, MaxBytes: 50 << 20, MaxWait: wait}) {
		results[r.Slot] = r
	}
	s.standing.Settle()
	return results, s.looks
}

func TestAPollOfAStandingLooksAtChangesOnly(t *testing.T) {
	const partitions = 500
	s := newStandingWorld(t, partitions)
	if r, looks := s.ask(0); len(r) != partitions || looks != partitions {
		t.Fatalf("first poll: %d results of %d looks", len(r), looks)
	}
	if r, looks := s.ask(time.Millisecond); len(r) != 0 || looks != 0 {
		t.Errorf("nothing changed: %d results of %d looks", len(r), looks)
	}
	s.commit(map[partlog.Key][][]byte{keyOf(7): {batchOf(1, "x")}})
	for range 2 { // the client has not moved its offset
		if r, looks := s.ask(long); len(r) != 1 || looks != 1 || len(r[7].Records) == 0 {
			t.Errorf("one partition changed: %d results of %d looks", len(r), looks)
		}
	}
	s.standing.Set(7, 0, want(keyOf(7), 1))
	if r, looks := s.ask(0); len(r) != 1 || looks != 1 || len(r[7].Records) > 0 {
		t.Errorf("the client moved its offset: %d results of %d looks", len(r), looks)
	}
	s.fence()
	if r, looks := s.ask(0); len(r) != partitions || looks != partitions {
		t.Errorf("after a fence: %d results of %d looks", len(r), looks)
	}
	s.view.State = partlogCopy(t, s.view.State)
	if r, looks := s.ask(0); len(r) != partitions || looks != partitions {
		t.Errorf("after the journal was replaced: %d results of %d looks", len(r), looks)
	}
}

func partlogCopy(t testing.TB, s *partlog.State) *partlog.State {
	t.Helper()
	other, err := partlog.Decode(testJournal, s.Encode(nil, segment.ID{}, nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	return other
}

func TestAPollOfAStandingWakesForNewRecords(t *testing.T) {
	s := newStandingWorld(t, 3)
	s.ask(0)
	for i := range 50 {
		done := make(chan map[int32]Result)
		go func() { r, _ := s.ask(long); done <- r }()
		s.commit(map[partlog.Key][][]byte{keyOf(i % 3): {batchOf(1, "x")}})
		if r := <-done; len(r[int32(i%3)].Records) == 0 {
			t.Fatalf("round %d: %+v", i, r)
		}
		s.standing.Set(int32(i%3), uint64(i), want(keyOf(i%3), int64(i/3)+1))
	}
}

// An answer that the client did not get is given again.
func TestAnAnswerThatWasNotSettledIsGivenAgain(t *testing.T) {
	s := newStandingWorld(t, 3)
	req := Request{Standing: s.standing, MinBytes: 1, MaxBytes: 1 << 20}
	for range 2 {
		if r := s.fetch(req); len(r) != 3 {
			t.Errorf("%d results, want 3", len(r))
		}
	}
	s.ask(0)
	s.standing.Unsettle()
	if r := s.fetch(req); len(r) != 3 {
		t.Errorf("%d results after Unsettle, want 3", len(r))
	}
}

func TestAStandingLearnsThatItsLeaderIsDeposed(t *testing.T) {
	s := newStandingWorld(t, 3)
	s.ask(0)
	s.view.Confirm = func(context.Context) error { return ErrNotLeader }
	for range 2 {
		r, _ := s.ask(time.Millisecond)
		for i := range int32(3) {
			if !errors.Is(r[i].Err, ErrNotLeader) {
				t.Errorf("partition %d: %+v", i, r[i])
			}
		}
	}
	s.view.Confirm = nil
	if r, _ := s.ask(0); len(r) != 3 || r[0].Err != nil {
		t.Errorf("leads again: %+v", r)
	}
	if r, _ := s.ask(0); len(r) != 0 {
		t.Errorf("%d results, want none", len(r))
	}
}

// An answer with records of all partitions needs no leader: it is given while the store is
// away, too.
func TestAStandingWithRecordsOnlyDoesNotAskForItsLeader(t *testing.T) {
	s := newStandingWorld(t, 2)
	asked := 0
	s.view.Confirm = func(context.Context) error { asked++; return errors.New("time-out") }
	s.commit(map[partlog.Key][][]byte{keyOf(0): {batchOf(1, "x")}, keyOf(1): {batchOf(1, "x")}})
	for range 2 {
		if r, _ := s.ask(0); len(r[0].Records) == 0 || len(r[1].Records) == 0 || asked != 0 {
			t.Errorf("%+v, asked %d times", r, asked)
		}
	}
	s.standing.Set(0, 0, want(keyOf(0), 1))
	if s.ask(0); asked != 1 {
		t.Errorf("with a partition without records: asked %d times", asked)
	}
	if s.ask(0); asked != 2 {
		t.Errorf("with a partition without records that is left out: asked %d times", asked)
	}
	s.standing.Remove(0)
	if s.ask(0); asked != 2 {
		t.Errorf("with records of all again: asked %d times", asked)
	}
}

func TestAClosedStandingIsNotWatched(t *testing.T) {
	s := newStandingWorld(t, 3)
	s.ask(0)
	s.standing.Remove(1)
	s.standing.Remove(1)
	s.commit(map[partlog.Key][][]byte{keyOf(1): {batchOf(1, "x")}})
	if r, _ := s.ask(0); len(r) != 0 {
		t.Errorf("%d results for a partition that was taken out", len(r))
	}
	parts := s.standing.slots
	s.standing.Close()
	s.commit(map[partlog.Key][][]byte{keyOf(0): {batchOf(1, "x")}})
	if parts[0] != nil || s.standing.moved != nil {
		t.Error("a closed Standing is notified")
	}
}

// TestStandingModel has a client follow a journal by a Standing. After every poll it knows
// as much as a Fetch of all partitions shows.
func TestStandingModel(t *testing.T) {
	seeded.Run(t, seeded.Test[struct{}]{Run: func(t *seeded.T, _ struct{}) { runStanding(t) }}, 60, 20)
}

// standingModel is the client, and the state of the world that nothing notices.
type standingModel struct {
	*standingWorld
	asks   []Partition
	known  []Result
	refuse map[partlog.Key]bool // partitions that are not located
}

func runStanding(t *seeded.T) {
	const partitions = 4
	m := &standingModel{standingWorld: newStandingWorld(t, partitions), asks: make([]Partition, partitions), known: make([]Result, partitions)}
	locate := m.reader.cfg.Locate
	m.reader.cfg.Locate = func(k partlog.Key) (uint32, bool) {
		if m.refuse[k] {
			return 0, false
		}
		return locate(k)
	}
	for i := range m.asks {
		m.asks[i] = want(keyOf(i), 0)
	}
	t.Steps(40, func(r *rand.Rand) {
		m.step(t, r, r.IntN(partitions))
		got, _ := m.ask(0)
		for i, full := range m.fetch(Request{Partitions: m.asks, MaxBytes: 50 << 20}) {
			if r, ok := got[int32(i)]; ok {
				m.known[i] = r
			}
			r := m.known[i]
			if !sameError(r.Err, full.Err) || r.HighWatermark != full.HighWatermark || r.LogStart != full.LogStart || len(r.Records) != len(full.Records) {
				t.Fatalf("partition %d: the client knows %+v, a full fetch shows %+v", i, r, full)
			}
		}
	})
}

// step changes something.
func (m *standingModel) step(t *seeded.T, r *rand.Rand, i int) {
	k := keyOf(i)
	switch r.IntN(9) {
	case 0, 1:
		m.commit(map[partlog.Key][][]byte{k: {batchOf(1, "x")}})
	case 2:
		m.fence()
	case 3:
		m.deleteBefore(k, m.ends[k])
	case 4:
		m.view.State = partlogCopy(t, m.view.State)
	case 5:
		m.refuse = map[partlog.Key]bool{k: r.IntN(2) == 0}
		m.standing.Unsettle() // no watcher notices, so the owner has to
	case 6:
		m.asks[i].Offset = r.Int64N(m.ends[k] + 2)
		m.asks[i].LeaderEpoch = r.Int32N(int32(m.epoch)+3) - 1
		m.standing.Set(int32(i), uint64(i), m.asks[i])
	case 7:
		m.view.Confirm = nil
		if r.IntN(2) == 0 {
			m.view.Confirm = func(context.Context) error { return ErrNotLeader }
		}
	case 8:
		m.commit(map[partlog.Key][][]byte{k: {batchOf(1, "x")}})
		m.asks[i].Offset = m.ends[k]
		m.standing.Set(int32(i), uint64(i), m.asks[i])
		m.fetch(Request{Standing: m.standing, MaxBytes: 50 << 20}) // its answer is lost
	}
}

func sameError(a, b error) bool { return fmt.Sprint(a) == fmt.Sprint(b) }

func TestAStandingLearnsThatAJournalIsOnlyFollowed(t *testing.T) {
	s := newStandingWorld(t, 3)
	s.ask(0)
	s.view.Lost = true
	s.view.State.Disturb()
	r, _ := s.ask(time.Millisecond)
	for i := range int32(3) {
		if !errors.Is(r[i].Err, ErrNotLeader) {
			t.Errorf("partition %d: %+v", i, r[i])
		}
	}
	s.away = ErrNotLeader // the journal is dropped
	for range 2 {
		if r, _ := s.ask(0); len(r) != 3 || !errors.Is(r[2].Err, ErrNotLeader) {
			t.Errorf("of a journal that was dropped: %+v", r)
		}
	}
	s.away, s.view.Lost = nil, false
	if r, _ := s.ask(0); len(r) != 3 || r[0].Err != nil {
		t.Errorf("of one that is here again: %+v", r)
	}
}
