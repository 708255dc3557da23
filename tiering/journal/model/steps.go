package model

import "fmt"

type deed uint8

const (
	stored deed = iota + 1
	exists
	timedOut
	readBack
	sent
	started
	got
	fenced
	gotFloor
	floorIs
	floorMoved
	deleted
	restarted
	resigned
)

// step is the description of a move in a trace.
type step struct {
	what   deed
	writer uint8 // 0 is the follower
	seq    uint8
	value  uint8
	object object
	acked  uint8 // bit set of seqs
	again  bool  // sent again
	took   bool  // taken at once, without a floor read
}

func (t step) who() string {
	if t.writer == 0 {
		return "the reader"
	}
	return fmt.Sprintf("p%d", t.writer)
}

func (t step) String() string {
	s := t.text()
	if t.again {
		s += ", sends again"
	}
	for q := range uint8(maxSeqs) {
		if t.acked&(1<<q) != 0 {
			s += fmt.Sprintf("; p%d acknowledges seq %d", max(t.writer, t.object.writer()), q)
		}
	}
	return s
}

func (t step) text() string {
	switch t.what {
	case stored:
		return fmt.Sprintf("store: creates seq %d, %v", t.object.seq(), t.object)
	case exists:
		return fmt.Sprintf("store: seq %d exists, not created: %v", t.object.seq(), t.object)
	case timedOut:
		return fmt.Sprintf("p%d: PUT of seq %d times out and may land later", t.object.writer(), t.object.seq())
	case readBack:
		return fmt.Sprintf("p%d: reads back seq %d: %v", t.writer, t.seq, t.object)
	case sent:
		return fmt.Sprintf("p%d: sends seq %d, %v", t.writer, t.object.seq(), t.object)
	case started:
		return fmt.Sprintf("p%d: starts, reads up to seq %d", t.writer, t.seq)
	case fenced:
		return fmt.Sprintf("p%d: finds nothing at seq %d, sends a fence", t.writer, t.seq)
	case got:
		return fmt.Sprintf("%s: finds at seq %d: %v", t.who(), t.seq, t.object)
	case gotFloor:
		return fmt.Sprintf("%s: reads floors/%d: seq %d", t.who(), t.value, t.seq)
	case floorIs:
		return fmt.Sprintf("%s: goes by floor %d", t.who(), t.seq)
	case floorMoved:
		return fmt.Sprintf("floors/%d is written: seq %d", t.value, t.seq)
	case deleted:
		return fmt.Sprintf("seq %d is deleted: %v", t.seq, t.object)
	}
	if t.what == resigned {
		return fmt.Sprintf("p%d: gives up, and reads on from seq %d as another", t.writer, t.seq)
	}
	return fmt.Sprintf("p%d: is killed", t.writer)
}
