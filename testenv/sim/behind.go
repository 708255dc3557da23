package sim

import (
	"errors"

	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/segment"
)

// follow notes where a reader stands that is about to apply seq.
func (t *Observed) follow(seq uint64) {
	for t.chain.Next <= seq {
		t.before[t.chain.Next] = t.chain
		h, err := segment.DecodeHeader(t.s.Object(t.key(t.chain.Next)))
		var v journal.Verdict
		if err == nil {
			v, err = t.chain.Check(&h)
		}
		if err != nil {
			t.s.w.Fail("seq %d is applied, but seq %d cannot be passed: %w", seq, t.chain.Next, err)
			return
		}
		t.chain.Advance(&h, v)
	}
}

// storedLate lets a reader look at an object that was written late into the place of a
// deleted data segment. The reader has stood there since before, and must see that
// deletion has overtaken it. Chance alone would hardly ever let a reader stand there.
func (t *Observed) storedLate(key string) {
	seq, ok := segment.ParseJournalKey(t.base.Journal, key)
	if !ok || seq >= t.Floor || t.kinds[seq] != segment.KindData || t.holds(seq) {
		return
	}
	w := t.s.w
	w.Count("late write below the floor")
	core := journal.NewCore(journal.Config{Chain: t.before[seq]})
	var floor uint64 // as it was when the reader began
	for todo := core.Start(); len(todo) > 0 && w.Err() == nil; todo = todo[1:] {
		switch a := todo[0].(type) {
		case journal.GetFloor:
			todo = append(todo, core.Step(journal.GotFloor{Token: a.Token, Floor: floor})...)
			floor = t.Floor
		case journal.Get:
			todo = append(todo, core.Step(journal.GotObject{Token: a.Token, Object: t.s.decoded(t.base.Journal, a.Seq)})...)
		case journal.Ended:
			if !errors.Is(a.Err, journal.ErrBelowFloor) {
				w.Fail("a reader left behind at seq %d, below floor %d, ended: %w", seq, t.Floor, a.Err)
			}
		default:
			w.Fail("a reader left behind at seq %d, below floor %d, goes on: %T", seq, t.Floor, a)
		}
	}
}
