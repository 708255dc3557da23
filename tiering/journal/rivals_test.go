package journal

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"
)

// claim is a leadership whose looks wait for an answer.
type claim struct {
	looks   chan struct{}
	answers chan error
	confirm error
}

func newClaim() *claim {
	return &claim{looks: make(chan struct{}, 100), answers: make(chan error)}
}

func (c *claim) Prove(ctx context.Context) error {
	c.looks <- struct{}{}
	select {
	case err := <-c.answers:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *claim) Confirm(context.Context) error { return c.confirm }

func TestALeaderLooksWhenItHearsOfAHigherEpoch(t *testing.T) {
	c := newClaim()
	if j := (&rivalry{claim: c, applied: 5}); j.hears(4) || j.hears(5) || !j.hears(6) {
		t.Error("it looks for lower epochs, or not for a higher one")
	}
	if j := (&rivalry{applied: 5}); j.hears(6) {
		t.Error("it looks into a journal that is not led here")
	}
	r := NewRivals()
	defer r.Close()
	r.Heard(1, 9) // nothing is known of it
	r.Leads(1, c)
	r.Applied(1, 5)
	r.Heard(1, 6)
	<-c.looks
}

// TestHintsDuringALookShareTheNext: a look answers the hints before it only, as a rival
// may have come after its request.
func TestHintsDuringALookShareTheNext(t *testing.T) {
	r, c := NewRivals(), newClaim()
	r.Leads(1, c)
	r.Heard(1, 2)
	<-c.looks
	for epoch := range uint32(10) {
		r.Heard(1, 3+epoch)
	}
	c.answers <- errors.New("no route to host")
	<-c.looks
	c.answers <- nil
	r.Close()
	if len(c.looks) > 0 {
		t.Errorf("%d looks too many", len(c.looks))
	}
}

// A look that fails says nothing, and one that finds no rival reports when it began.
func TestALookReportsThatThereIsNoRival(t *testing.T) {
	r, c, proved := NewRivals(), newClaim(), make(chan time.Time, 3)
	defer r.Close()
	r.Leads(1, c)
	r.OnProved(func(_ uint32, began time.Time) { proved <- began })
	r.Heard(1, 2)
	<-c.looks
	asked := time.Now()
	r.Heard(1, 3)
	c.answers <- errors.New("no route to host")
	<-c.looks
	c.answers <- nil
	if began := <-proved; began.Before(asked) || began.After(time.Now()) {
		t.Errorf("the look began at %v, and was asked for at %v", began, asked)
	}
	if len(proved) > 0 {
		t.Error("a look that failed reports a proof")
	}
}

func TestCloseEndsALookUnderWay(t *testing.T) {
	r, c := NewRivals(), newClaim()
	r.Leads(1, c)
	r.Heard(1, 2)
	<-c.looks
	r.Heard(1, 3)
	r.Close()
	r.Heard(1, 4)
	if len(c.looks) > 0 {
		t.Errorf("%d looks after the end", len(c.looks))
	}
}

func TestOnlyAHigherEpochThatWasReadDeposes(t *testing.T) {
	r, first, second := NewRivals(), newClaim(), newClaim()
	r.Leads(0, first)
	r.Leads(1, second)
	second.confirm = errors.New("no route to host")
	if r.Deposed(t.Context()) {
		t.Error("deposed by a look that failed")
	}
	second.confirm = ErrEnded
	if !r.Deposed(t.Context()) {
		t.Error("not deposed though a leader has ended")
	}
}

func TestTheEpochIsThatOfTheLastObjectApplied(t *testing.T) {
	r := NewRivals()
	if _, known := r.Epoch(1); known {
		t.Error("an epoch without any object")
	}
	r.Applied(1, 3)
	if epoch, known := r.Epoch(1); epoch != 3 || !known {
		t.Errorf("epoch %d, %v", epoch, known)
	}
}

// TestALookOutlivesItsLeadership: hints come during the look, and the leadership ends before it
// does. The next leadership looks again when it hears of a higher epoch.
func TestALookOutlivesItsLeadership(t *testing.T) {
	r, c := NewRivals(), newClaim()
	defer r.Close()
	r.Leads(1, c)
	r.Heard(1, 2)
	<-c.looks
	r.Heard(1, 3)
	r.Leads(1, nil)
	c.answers <- ErrEnded
	for looking := true; looking; runtime.Gosched() {
		r.mu.Lock()
		looking = r.journals[1].looking
		r.mu.Unlock()
	}
	next := newClaim()
	r.Leads(1, next)
	r.Heard(1, 4)
	<-next.looks
	next.answers <- nil
}
