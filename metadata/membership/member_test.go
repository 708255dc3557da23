package membership

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/tiering/segment"
)

// candidate drives a Member. replies are those of the other nodes; none: they time out.
type candidate struct {
	m       *Member
	now     time.Time
	replies map[byte]Replied
	moves   bool // journals do
	head    uint64
	stands  time.Duration // after the begin; 0: it does not
	began   time.Time
}

func newCandidate(self byte, c *metadata.Cluster, run metadata.Run, replies map[byte]Replied, moves bool) *candidate {
	k := &candidate{m: NewMember(nodeNo(self), run, 400*time.Millisecond), now: time.Unix(1000, 0), replies: replies, moves: moves}
	k.began = k.now
	k.step(Applied{c})
	return k
}

func (k *candidate) step(ev Event) {
	for _, a := range k.m.Step(k.now, ev) {
		switch a := a.(type) {
		case Ask:
			if r, ok := k.replies[a.Node[15]]; ok {
				r.Token = a.Token
				k.step(r)
			}
		case Look:
			if k.moves {
				k.head++
			}
			k.step(Looked{a.Journal, k.head, false})
		case Probe:
			k.step(Probed{a.Token, true})
		case Stand:
			k.stands = k.now.Sub(k.began) + 1
		}
	}
}

func (k *candidate) pass(d time.Duration) {
	for range d / TickEvery {
		k.now = k.now.Add(TickEvery)
		k.step(Tick{})
	}
}

func says(o Opinion) Replied { return Replied{Outcome: Proved, Reply: Reply{Opinion: o}} }

func TestWhenANodeStands(t *testing.T) {
	state := func(c *metadata.Cluster, i int, s metadata.NodeState) *metadata.Cluster {
		c.Nodes[i-1].State = s
		return c
	}
	fenced := func(c *metadata.Cluster, i int) *metadata.Cluster {
		c.Nodes[i-1].Fence = metadata.FencedSilent
		return c
	}
	refused := Replied{Outcome: Refused}
	for name, c := range map[string]struct {
		self    byte
		cluster *metadata.Cluster
		replies map[byte]Replied
		moves   bool
		from    time.Duration
		to      time.Duration // 0: not within 5 minutes
	}{
		"alone":                         {1, clusterOf(1), nil, false, 0, 200 * time.Millisecond},
		"others refuse":                 {1, clusterOf(3), map[byte]Replied{2: refused, 3: refused}, true, 0, 200 * time.Millisecond},
		"one says alive":                {1, clusterOf(3), map[byte]Replied{2: says(Alive), 3: says(Dead)}, false, 0, 0},
		"the lowest of two":             {1, clusterOf(3), map[byte]Replied{2: says(Silent), 3: refused}, true, 0, 200 * time.Millisecond},
		"the second of two":             {2, clusterOf(3), map[byte]Replied{1: says(Silent), 3: refused}, true, 500 * time.Millisecond, 1200 * time.Millisecond},
		"another one stands":            {1, clusterOf(3), map[byte]Replied{2: says(Standing), 3: refused}, true, 60 * time.Second, 62 * time.Second},
		"no majority, still":            {1, clusterOf(3), nil, false, 10 * time.Second, 13 * time.Second},
		"no majority, moving":           {1, clusterOf(3), nil, true, 0, 0},
		"fenced, no majority":           {1, fenced(clusterOf(3), 1), nil, false, 2 * time.Minute, 2*time.Minute + 3*time.Second},
		"fenced, the others refuse":     {1, fenced(clusterOf(2), 1), map[byte]Replied{2: refused}, false, 2 * time.Minute, 2*time.Minute + 3*time.Second},
		"fenced, the others agree":      {1, fenced(clusterOf(3), 1), map[byte]Replied{2: says(Dead), 3: says(Silent)}, true, time.Second, 3 * time.Second},
		"drained, another serves":       {1, state(clusterOf(3), 1, metadata.StateDrained), map[byte]Replied{2: says(Dead), 3: says(Dead)}, false, 0, 0},
		"drained, the others lost":      {1, state(clusterOf(3), 1, metadata.StateDrained), map[byte]Replied{2: refused, 3: refused}, true, 0, time.Second},
		"removed":                       {1, state(clusterOf(1), 1, metadata.StateRemoved), nil, false, 0, 0},
		"stranger, empty bucket":        {9, clusterOf(0), nil, false, 400 * time.Millisecond, 700 * time.Millisecond},
		"stranger, all lost":            {9, clusterOf(2), map[byte]Replied{1: refused, 2: refused}, true, 400 * time.Millisecond, 800 * time.Millisecond},
		"stranger, no answer":           {9, clusterOf(2, 1), nil, false, 30 * time.Second, 34 * time.Second},
		"stranger, journals move":       {9, clusterOf(2, 1), nil, true, 0, 0},
		"stranger, one says it is dead": {9, clusterOf(2), map[byte]Replied{1: says(Dead), 2: refused}, false, 0, 0},
	} {
		k := newCandidate(c.self, c.cluster, runOf(c.self), c.replies, c.moves)
		k.pass(5 * time.Minute)
		if c.to == 0 && k.stands > 0 || c.to > 0 && (k.stands == 0 || k.stands < c.from || k.stands > c.to) {
			t.Errorf("%s: stands after %v, want %v to %v", name, k.stands, c.from, c.to)
		}
	}
}

// A node that only reads finds the controller by heartbeats, which all nodes answer with the
// leader that they believe. It neither asks questions, which are refused, nor looks at
// journals, nor stands.
func TestANodeThatOnlyReadsFindsTheController(t *testing.T) {
	beat := func(node byte) string { return fmt.Sprintf("%T %v", Beat{}, Beat{nodeNo(node)}) }
	for name, registered := range map[string]bool{"registered": true, "new": false} {
		c, run := clusterOf(4), runOf(1)
		c.Nodes[3].Fence = metadata.FencedSilent
		run.Roles = metadata.RoleFetch
		if c.Nodes[0].Run = run; !registered {
			c.Nodes = c.Nodes[1:]
		}
		m := NewMember(nodeNo(1), run, 0)
		now := time.Unix(1000, 0)
		var did map[string]int
		step := func(ev Event) {
			for _, a := range m.Step(now, ev) {
				did[fmt.Sprintf("%T %v", a, a)]++
			}
		}
		pass := func() {
			did = map[string]int{}
			for range 10 * time.Second / TickEvery {
				now = now.Add(TickEvery)
				step(Tick{})
			}
		}
		m.Step(now, Applied{c})
		wants := map[string]int{beat(2): 20, beat(3): 20}
		if !registered { // it may know of an old state only
			wants[beat(4)] = 20
		}
		if pass(); !maps.Equal(did, wants) {
			t.Errorf("%s: without a controller it did %v", name, did)
		}
		wants = map[string]int{beat(3): 1}
		if !registered {
			wants[fmt.Sprintf("%T %v", Register{}, Register{nodeNo(3)})] = 1
		}
		did = map[string]int{}
		step(Answered{nodeNo(2), Answer{}}) // of another one
		step(Believes{Leader{Node: nodeNo(3), Epoch: 2, Settled: segment.Ref{Seq: 5}}})
		if !maps.Equal(did, wants) {
			t.Errorf("%s: with a controller it did %v", name, did)
		}
		if pass(); did[beat(2)] < 15 || did[beat(3)] < 15 {
			t.Errorf("%s: the controller does not answer: it did %v", name, did)
		}
		if r := m.Reply(); r.Opinion == Standing || m.Claims() {
			t.Errorf("%s: it stands", name)
		}
	}
}

func TestDrainedNodeLetsOthersStand(t *testing.T) {
	c := clusterOf(3)
	c.Nodes[0].State = metadata.StateDrained
	k := newCandidate(1, c, runOf(1), map[byte]Replied{2: says(Dead), 3: {Outcome: Refused}}, false)
	if k.pass(time.Minute); k.stands > 0 {
		t.Error("a drained node stands while one that serves answers")
	}
	k.replies[2] = Replied{Outcome: Refused}
	if k.pass(5 * time.Second); k.stands == 0 {
		t.Error("a drained node does not stand when no other answers")
	}
}

func TestFenceOfAnotherIsGivenTime(t *testing.T) {
	k := newCandidate(2, clusterOf(3), runOf(2), map[byte]Replied{1: says(Silent), 3: {Outcome: Refused}}, false)
	k.pass(300 * time.Millisecond)
	k.step(FenceSeen{nodeNo(1), 7})
	if k.pass(time.Second); k.stands > 0 {
		t.Error("it stands at once after the fence of another")
	}
	if r := k.m.Reply(); r.Controller.Epoch != 7 {
		t.Errorf("it speaks of %+v", r)
	}
}

func TestContestMakesPatient(t *testing.T) {
	var f fences
	now := time.Unix(1000, 0)
	for i := range 20 {
		f.note(now.Add(time.Duration(i)*time.Second), nodeNo(byte(1+i%2)))
	}
	later := now.Add(20 * time.Second)
	if got := f.contested(later); got != contestedMost || len(f) != fencesKept {
		t.Errorf("a contest of %d fences waits for %v", len(f), got)
	}
	if got := f[:4].contested(later); got != 20*time.Second {
		t.Errorf("after three changes: %v", got)
	}
	if got := f[:3].contested(later); got != unmovedFor {
		t.Errorf("after two changes: %v", got)
	}
	if got := f.contested(later.Add(contestFor)); got != unmovedFor {
		t.Errorf("after a while: %v", got)
	}
}

func TestProcessWithACopyOfAFolderEnds(t *testing.T) {
	c, run := clusterOf(1), runOf(1)
	run.Start = segment.ID{0x77}
	for outcome, ends := range map[Outcome]bool{Proved: true, Replaced: false, Refused: false, TimedOut: false} {
		m := NewMember(nodeNo(1), run, 0)
		now := time.Unix(1000, 0)
		out := m.Step(now, Applied{c})
		if len(out) != 1 || out[0].(Dial).Run.Start != c.Nodes[0].Run.Start {
			t.Fatalf("begins with %v", out)
		}
		exits := false
		for _, a := range m.Step(now.Add(time.Millisecond), Dialed{out[0].(Dial).Token, outcome}) {
			if _, exit := a.(Exit); exit {
				exits = true
			}
		}
		if exits != ends {
			t.Errorf("the run before: %v, ends %v", outcome, exits)
		}
	}
}

// TestOpinionsOfOldControllersDoNotCount: the node that is asked has not heard of a fence.
func TestOpinionsOfOldControllersDoNotCount(t *testing.T) {
	for epoch, stands := range map[uint32]bool{6: true, 7: false, 8: false} {
		alive := says(Alive)
		alive.Controller = Leader{Node: nodeNo(3), Epoch: epoch}
		k := newCandidate(1, clusterOf(3), runOf(1), map[byte]Replied{2: alive, 3: {Outcome: Refused}}, true)
		k.step(FenceSeen{nodeNo(3), 7})
		if k.pass(10 * time.Second); (k.stands > 0) != stands {
			t.Errorf("alive in epoch %d, 7 is known: stands after %v", epoch, k.stands)
		}
	}
}

// TestLastQuestionBeforeANodeStands: another one has become the controller since the replies.
func TestLastQuestionBeforeANodeStands(t *testing.T) {
	for last, stands := range map[Opinion]bool{Alive: false, Standing: false, Silent: true} {
		k := newCandidate(2, clusterOf(3), runOf(2), map[byte]Replied{1: says(Silent)}, true)
		var late Ask
		for _, a := range k.m.Step(k.now.Add(askEvery), Tick{}) {
			if ask, ok := a.(Ask); ok && ask.Node == nodeNo(1) {
				k.now = k.now.Add(askEvery)
				r := says(Silent)
				r.Token = ask.Token
				k.step(r)
			}
			late.Token = k.m.election.replies[nodeNo(3)].token
		}
		k.pass(300 * time.Millisecond)
		k.step(Replied{Token: late.Token, Outcome: Refused}) // its turn comes 500 ms from now
		k.pass(300 * time.Millisecond)
		k.replies[1] = says(last)
		if k.pass(300 * time.Millisecond); (k.stands > 0) != stands {
			t.Errorf("the last reply is %d: stands after %v", last, k.stands)
		}
	}
}
