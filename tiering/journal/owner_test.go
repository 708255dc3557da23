package journal

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/varvelog/varve/tiering/objstore"
)

// stage is an Env whose requests and works wait until the test carries them out.
type stage struct {
	w       *world
	now     time.Time
	pending []Action
	works   []func()
	wake    time.Time
}

func (s *stage) Execute(a Action)    { s.pending = append(s.pending, a) }
func (s *stage) Now() time.Time      { return s.now }
func (s *stage) WakeAt(at time.Time) { s.wake = at }
func (s *stage) Go(_ time.Duration, _ func(context.Context, objstore.Store), done func()) {
	s.works = append(s.works, done)
}

// play carries out all requests, but no pause.
func (s *stage) play(o *Owner) {
	for len(s.pending) > 0 {
		a := s.pending[0]
		s.pending = s.pending[1:]
		if _, pause := a.(Wait); !pause {
			o.Handle(s.w.carryOut(a))
		}
	}
}

// scripted is a Machine that counts its calls and answers as it is set.
type scripted struct {
	next         time.Time
	err          error
	applyErr     error
	progress     int
	led          int
	planned      int
	checkpointed int
	ended        []error

	onProgress func() // may be nil
}

func (m *scripted) Apply(*Object, bool) error          { return m.applyErr }
func (m *scripted) Led(uint32)                         { m.led++ }
func (m *scripted) Deposed(err error) error            { return err }
func (m *scripted) AtHead()                            {}
func (m *scripted) Stalled(uint64)                     {}
func (m *scripted) Ready() bool                        { return m.led > 0 }
func (m *scripted) Checkpointed(CheckpointResult) bool { m.checkpointed++; return true }
func (m *scripted) Ended(err error)                    { m.ended = append(m.ended, err) }
func (m *scripted) Progress() (time.Time, error) {
	if m.progress++; m.onProgress != nil {
		m.onProgress()
	}
	return m.next, m.err
}
func (m *scripted) PlanCheckpoint(chain Chain, h History) CheckpointJob {
	m.planned++
	return CheckpointJob{Chain: chain, History: h}
}

func newScene(t *testing.T) (*stage, *scripted, *Owner) {
	w := newWorld(t)
	s := &stage{w: w, now: time.UnixMilli(1)}
	checkpoints := CheckpointerOptions{NewID: w.newID, Policy: CheckpointPolicy{Every: 1}}
	return s, &scripted{}, NewOwner(OwnerOptions{Journal: w.config(true), Checkpoints: &checkpoints, Log: slog.New(slog.DiscardHandler)}, s)
}

func TestAnOwnerLetsItsMachineProgressAfterEachEvent(t *testing.T) {
	s, m, o := newScene(t)
	m.next = s.now.Add(time.Second)
	o.Start(m)
	for i, event := range []func(){
		func() {},
		func() { o.Handle(Poke{}) },
		func() { o.Do(func() { m.next = time.Time{} }) },
		o.Wake,
	} {
		event()
		if m.progress != i+1 || !s.wake.Equal(m.next) {
			t.Errorf("after event %d: progressed %d times, is called next at %v, want %v", i, m.progress, s.wake, m.next)
		}
	}
}

// A checkpoint is written by a leader, one at a time.
func TestAnOwnerWritesCheckpointsWhileItLeads(t *testing.T) {
	s, m, o := newScene(t)
	o.Start(m)
	for m.led == 0 {
		if m.planned > 0 {
			t.Fatal("planned a checkpoint before it led")
		}
		a := s.pending[0]
		s.pending = s.pending[1:]
		o.Handle(s.w.carryOut(a))
	}
	if !o.Ready() || m.planned != 1 || len(s.works) != 1 {
		t.Fatalf("ready %v, planned %d checkpoints, works %d", o.Ready(), m.planned, len(s.works))
	}
	commit(s, o)
	if m.planned != 1 {
		t.Fatalf("planned %d checkpoints while the first is written", m.planned)
	}
	o.Do(s.works[0])
	if m.planned != 2 {
		t.Errorf("planned %d checkpoints, the machine is in a hurry", m.planned)
	}
}

// commit proposes a data segment and lets it be confirmed.
func commit(s *stage, o *Owner) {
	obj, data := dataSegment(o.Header(), s.w.newID())
	o.Do(func() { o.Propose(obj, data) })
	s.play(o)
}

func TestAnOwnerEndsOnceAndAnswersQuestions(t *testing.T) {
	s, m, o := newScene(t)
	o.Start(m)
	s.play(o)
	var answer error
	o.Do(func() { o.Prove(func(err error) { answer = err }) })
	if answer != nil {
		t.Fatal(answer)
	}
	leads := o.Holds()
	m.err, m.next = errors.New("disk is gone"), s.now
	o.Wake()
	if !errors.Is(answer, ErrEnded) || !errors.Is(answer, m.err) {
		t.Errorf("the question was answered with %v", answer)
	}
	if !leads || o.Holds() {
		t.Errorf("says that it leads: %v, after the end %v", leads, o.Holds())
	}
	progressed, planned := m.progress, m.planned
	o.Wake()
	o.Handle(Poke{})
	o.Do(func() { t.Error("an event after the end") })
	o.End(errors.New("later"))
	if len(m.ended) != 1 || m.ended[0] != m.err || o.Err() != m.err || !o.Ended() {
		t.Errorf("ended %v with %v", m.ended, o.Err())
	}
	if m.progress != progressed || m.planned != planned || !s.wake.IsZero() {
		t.Errorf("after the end: %d progresses, %d checkpoints, wakes at %v", m.progress-progressed, m.planned-planned, s.wake)
	}
}

// The commit that would have answered a proof cannot be applied: the proof has failed.
func TestAnObjectThatCannotBeAppliedFailsTheProof(t *testing.T) {
	s, m, o := newScene(t)
	o.Start(m)
	s.play(o)
	var answers []error
	o.Do(func() { o.Prove(func(err error) { answers = append(answers, err) }) })
	s.pending = nil // the look gets no answer
	m.applyErr = errors.New("contradiction")
	if commit(s, o); !o.Ended() {
		t.Fatal("goes on without an object")
	}
	if len(answers) != 1 || !errors.Is(answers[0], ErrEnded) || !errors.Is(answers[0], m.applyErr) {
		t.Errorf("the proof was answered with %v", answers)
	}
}

// A process that stood still has an old proof under way when it is asked. That proof
// says nothing about the time since.
func TestAQuestionThatJoinsAnOldProofWaitsForAnother(t *testing.T) {
	s, m, o := newScene(t)
	o.Start(m)
	s.play(o)
	s.now = s.now.Add(time.Hour)
	answers := 0
	ask := func() {
		o.Do(func() {
			o.Confirm(func(err error) {
				if answers++; err != nil {
					t.Error(err)
				}
			})
		})
	}
	ask()
	old := s.pending[len(s.pending)-1]
	s.pending = nil
	look := s.w.carryOut(old)
	s.now = s.now.Add(StandFor + time.Second)
	ask()
	if o.Handle(look); answers != 0 {
		t.Fatalf("%d questions are answered by a proof of %v ago", answers, StandFor+time.Second)
	}
	if s.play(o); answers != 2 || !o.Holds() {
		t.Errorf("%d of 2 questions are answered by the next proof", answers)
	}
}
