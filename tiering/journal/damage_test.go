package journal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/segment"
)

// answerWith answers all actions faithfully except those for which bad returns
// an event, up to a number of steps. It reports whether the Core has ended by
// then.
func (n *node) answerWith(steps int, bad func(Action) Event) (ended bool) {
	for ; steps > 0 && n.err == nil; steps-- {
		i := 0
		for ; i < len(n.pending); i++ {
			if w, ok := n.pending[i].(Wait); !ok || w.For != stallTick {
				break
			}
		}
		if i == len(n.pending) {
			break
		}
		if ev := bad(n.pending[i]); ev != nil {
			n.pending = append(n.pending[:i:i], n.pending[i+1:]...)
			n.step(ev)
			continue
		}
		n.answer(i)
	}
	return n.err != nil
}

func TestWhatCanNeverBecomeRightIsNotTriedForever(t *testing.T) {
	rotten := fmt.Errorf("object journals/7/x: %w", &segment.CorruptError{Reason: "no magic"})
	copied := fmt.Errorf("%w: floor 2 says it is floor 1", ErrBroken)
	newer := fmt.Errorf("object journals/7/x: %w", segment.ErrUnsupported)
	onFloor := func(err error) func(Action) Event {
		return func(a Action) Event {
			if get, ok := a.(GetFloor); ok {
				return GotFloor{Token: get.Token, Err: err}
			}
			return nil
		}
	}
	onBeyond := func(err error) func(Action) Event {
		return func(a Action) Event {
			if look, ok := a.(LookBeyond); ok {
				return Beyond{Token: look.Token, Err: err}
			}
			return nil
		}
	}
	onReadBack := func(err error) func(Action) Event {
		return func(a Action) Event {
			switch a := a.(type) {
			case Put:
				return PutDone{Seq: a.Seq, Token: a.Token, Err: errLost}
			case Get:
				return GotObject{Token: a.Token, Err: err}
			}
			return nil
		}
	}
	for name, tc := range map[string]struct {
		lead, led, prove bool
		bad              func(Action) Event
		want             error // nil: it goes on
	}{
		"junk beyond the head":          {lead: true, bad: onBeyond(rotten), want: ErrDamaged},
		"newer object beyond the head":  {lead: true, bad: onBeyond(newer), want: segment.ErrUnsupported},
		"listing that fails":            {lead: true, bad: onBeyond(errLost)},
		"copied floor, leader":          {lead: true, bad: onFloor(copied), want: ErrBroken},
		"copied floor, follower":        {bad: onFloor(copied), want: ErrBroken},
		"rotten floor":                  {bad: onFloor(rotten), want: ErrDamaged},
		"newer floor":                   {bad: onFloor(newer), want: segment.ErrUnsupported},
		"floor that cannot be read":     {bad: onFloor(errLost)},
		"junk in place of a segment":    {led: true, bad: onReadBack(rotten), want: ErrDamaged},
		"newer in place of a segment":   {led: true, bad: onReadBack(newer), want: segment.ErrUnsupported},
		"segment that cannot be read":   {led: true, bad: onReadBack(errLost)},
		"junk where a proof looks":      {led: true, prove: true, bad: onReadBack(rotten), want: ErrDamaged},
		"proof's object cannot be read": {led: true, prove: true, bad: onReadBack(errLost)},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			var n *node
			switch {
			case tc.led:
				n = w.lead()
			default:
				w.lead()
				n = w.add(w.config(tc.lead))
			}
			ended := false
			switch {
			case tc.prove:
				for range 2 * maxDamagedReads {
					n.step(Prove{})
					ended = n.answerWith(10, tc.bad)
				}
			case tc.led:
				n.propose()
				ended = n.answerWith(100, tc.bad)
			default:
				ended = n.answerWith(100, tc.bad)
			}
			if ended != (tc.want != nil) || !errors.Is(n.err, tc.want) {
				t.Errorf("ended %v with %v, want %v", ended, n.err, tc.want)
			}
		})
	}
}

func TestAnObjectOfAnotherClusterBeyondTheHeadIsNamed(t *testing.T) {
	chain := NewChain(testCluster, testJournal, testWindow)
	chain.Next = 5
	h := segment.Header{Kind: segment.KindFence, Cluster: segment.ID{9}, Journal: testJournal, Epoch: 1, Seq: 6}
	if err := chain.CheckBeyond(&h); !errors.Is(err, ErrBroken) || !strings.Contains(err.Error(), "of cluster") {
		t.Errorf("an object of another cluster: %v", err)
	}
}

// An object beyond an absent Next is there by right while its leader may have sent
// both at once; any other proves that Next was there.
func TestAnObjectBeyondTheHeadIsThereByRightOnlyInTheWindow(t *testing.T) {
	chain := NewChain(testCluster, testJournal, testWindow)
	chain.Next = 5
	for name, tc := range map[string]struct {
		seq, confirmed uint64
		broken         string
	}{
		"next itself":                   {5, 4, ""},
		"the one behind":                {6, 4, ""},
		"the last of the window":        {5 + testWindow - 1, 4, ""},
		"the first behind the window":   {5 + testWindow, 4, "sent only after it"},
		"far behind the window":         {5 + 100*testWindow, 4, "sent only after it"},
		"one that knows of next":        {6, 5, "confirmed"},
		"one that knows of more":        {7, 6, "confirmed"},
		"one that knows what is before": {6, 3, ""},
	} {
		h := segment.Header{Kind: segment.KindData, Cluster: testCluster, Journal: testJournal, Epoch: 1, Seq: tc.seq, Confirmed: tc.confirmed}
		err := chain.CheckBeyond(&h)
		if (tc.broken != "") != errors.Is(err, ErrBroken) || err != nil && !strings.Contains(err.Error(), tc.broken) {
			t.Errorf("%s: %v, want %q", name, err, tc.broken)
		}
	}
}

func TestALookBeyondPassesOverKeysThatAreNoObjects(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	w := newWorld(t)
	w.lead()
	store := mem.New(time.Now, nil)
	store.PutNow(segment.JournalPrefix(testJournal)+"0", []byte("a note"))
	store.PutNow(segment.JournalKey(testJournal, 2)+".bak", []byte("a copy"))
	store.PutNow(segment.JournalKey(testJournal, 3), w.objects[3])
	store.PutNow(segment.CheckpointKey(testJournal, segment.Ref{Seq: 3, Object: segment.ID{1}}), []byte("not one of them"))
	found, err := ReadBeyond(ctx, store, testJournal, 1, 4)
	if err != nil || len(found) != 1 || found[0].Footer.Header.Seq != 3 {
		t.Errorf("found %d objects, %v; want that of seq 3", len(found), err)
	}
}

// vanishing is a store in which an object is deleted just before it is read.
type vanishing struct {
	*mem.Store
	key string
}

func (v vanishing) GetTail(ctx context.Context, key string, n int64) ([]byte, int64, error) {
	if key == v.key {
		v.DeleteNow(key)
	}
	return v.Store.GetTail(ctx, key, n)
}

func TestALookBeyondLeavesOutWhatIsGoneSinceTheListing(t *testing.T) {
	w := newWorld(t)
	w.lead()
	store := mem.New(time.Now, nil)
	for seq := uint64(2); seq <= 3; seq++ {
		store.PutNow(segment.JournalKey(testJournal, seq), w.objects[seq])
	}
	found, err := ReadBeyond(t.Context(), vanishing{store, segment.JournalKey(testJournal, 2)}, testJournal, 1, 4)
	if err != nil || len(found) != 1 || found[0].Footer.Header.Seq != 3 {
		t.Errorf("found %d objects, %v; want that of seq 3", len(found), err)
	}
}

// A line, or a switch, that flips bits for a second is no reason to give a sound log up.
func TestDamageOfTheWayHasTimeToPass(t *testing.T) {
	const least = (maxDamagedReads - 1) * resendMost
	rotten := &segment.CorruptError{Reason: "a bit flipped"}
	for name, tc := range map[string]struct {
		led bool
		bad func(Action) Event
	}{
		"next object": {bad: func(a Action) Event {
			if get, ok := a.(Get); ok {
				return GotObject{Token: get.Token, Err: rotten}
			}
			return nil
		}},
		"floor": {bad: func(a Action) Event {
			if get, ok := a.(GetFloor); ok {
				return GotFloor{Token: get.Token, Err: rotten}
			}
			return nil
		}},
		"own object": {led: true, bad: func(a Action) Event {
			switch a := a.(type) {
			case Put:
				return PutDone{Seq: a.Seq, Token: a.Token, Err: errLost}
			case Get:
				return GotObject{Token: a.Token, Err: rotten}
			}
			return nil
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			n := w.lead()
			if tc.led {
				n.propose()
			} else {
				n = w.add(w.config(false))
			}
			var waited time.Duration
			ended := n.answerWith(100, func(a Action) Event {
				if wait, ok := a.(Wait); ok {
					waited += wait.For
				}
				return tc.bad(a)
			})
			if !ended || waited < least {
				t.Errorf("ended %v after %v, want that after %v at least", ended, waited, least)
			}
		})
	}
}

// proofSees lets a proof of the head be answered by ev, and no timer fire.
func (n *node) proofSees(answer func(Get) Event) {
	n.step(Prove{})
	for i, a := range n.pending {
		if get, ok := a.(Get); ok && get.Short {
			n.pending = append(n.pending[:i:i], n.pending[i+1:]...)
			n.step(answer(get))
			return
		}
	}
}

// Clients cause as many proofs in a moment as they like.
func TestManyProofsAtOnceDoNotMakeDamageOfTheWayFinal(t *testing.T) {
	rotten := &segment.CorruptError{Reason: "a bit flipped"}
	w := newWorld(t)
	n := w.lead()
	for range 10 * maxDamagedReads {
		n.proofSees(func(a Get) Event { return GotObject{Token: a.Token, Err: rotten} })
	}
	if n.err != nil {
		t.Errorf("ended by proofs of one moment: %v", n.err)
	}
}

// Damage that was followed by a good read was of the way.
func TestOnlyDamageInARowEndsALeader(t *testing.T) {
	rotten := &segment.CorruptError{Reason: "a bit flipped"}
	t.Run("proof", func(t *testing.T) {
		w := newWorld(t)
		n := w.lead()
		for range 2 * maxDamagedReads {
			ref := n.propose()
			w.put(ref.Seq, n.pending[n.find(ref.Seq)].(Put).Bytes.Memory.Bytes())
			n.proofSees(func(a Get) Event { return GotObject{Token: a.Token, Err: rotten} })
			if n.err != nil {
				break
			}
			n.proofSees(func(a Get) Event { return w.get(a) }) // it is there, and the proof looks further
			ref = n.propose()
			n.answer(n.find(ref.Seq)) // that proves the head, too
			n.pending = slices.DeleteFunc(n.pending, func(a Action) bool { _, ok := a.(Get); return ok })
			for i := 0; i < len(n.pending); i++ {
				if wait, ok := n.pending[i].(Wait); ok && wait.For != stallTick {
					n.answer(i)
					i = -1
				}
			}
		}
		if n.err != nil {
			t.Errorf("ended: %v", n.err)
		}
	})
	t.Run("read-back", func(t *testing.T) {
		w := newWorld(t)
		n := w.lead()
		n.propose()
		reads := 0
		ended := n.answerWith(60, func(a Action) Event {
			switch a := a.(type) {
			case Put:
				return PutDone{Seq: a.Seq, Token: a.Token, Err: errLost}
			case Get:
				if reads++; reads%2 == 0 {
					return GotObject{Token: a.Token, Absent: true}
				}
				return GotObject{Token: a.Token, Err: rotten}
			}
			return nil
		})
		if ended || reads < 4*maxDamagedReads {
			t.Errorf("ended after %d reads: %v", reads, n.err)
		}
	})
}
