package drive

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/metadata/membership"
	"github.com/varvelog/varve/metadata/peer"
	"github.com/varvelog/varve/tiering/segment"
)

// scripted is an Env that notes all that a Driver asks of it.
type scripted struct {
	d    *Driver
	now  time.Time
	did  []string
	sent []sent

	plans   []func(error)
	probes  []func(bool)
	checks  map[membership.Leader]func(bool)
	reports []membership.Report
	started []metadata.Run
	planErr error // of plans, at once
	atOnce  bool  // probes succeed at once
	refused error
}

type sent struct {
	node segment.ID
	Request
	done func(Response)
}

func (s *scripted) note(what string) { s.did = append(s.did, what) }

func (s *scripted) does(what string) bool { return slices.Contains(s.did, what) }

func (s *scripted) Now() time.Time { return s.now }

func (s *scripted) Refused(err error) { s.refused = err }

func (s *scripted) Exit(error) { s.note("exit") }

func (s *scripted) Dial(_ segment.ID, _ metadata.Run, _ time.Duration, _ func(membership.Outcome)) {
	s.note("dial")
}

func (s *scripted) Call(node segment.ID, _ metadata.Run, r Request, _ time.Duration, done func(Response)) {
	s.note(r.Kind.String())
	s.sent = append(s.sent, sent{node, r, done})
}

func (s *scripted) Look(journal uint32, _ time.Duration, _ func(membership.Looked)) {
	s.note("look " + string(rune('0'+journal)))
}

func (s *scripted) Probe(_ time.Duration, done func(bool)) {
	s.probes = append(s.probes, done)
	if s.atOnce {
		done(true)
	}
	s.note("probe")
}

func (s *scripted) Check(l membership.Leader, done func(bool)) {
	s.note("check")
	s.checks[l] = done
}

func (s *scripted) Reports() []membership.Report { return s.reports }

func (s *scripted) Prove(journal uint32) { s.note("prove " + string(rune('0'+journal))) }

func (s *scripted) Poke() { s.note("poke") }

func (s *scripted) Stand() { s.note("stand") }

func (s *scripted) Resign() { s.note("resign") }

func (s *scripted) Yield(segment.ID) { s.note("yield") }

func (s *scripted) Plan(_ []metadata.Change, done func(error)) {
	s.note("plan")
	s.plans = append(s.plans, done)
	if s.planErr != nil {
		done(s.planErr)
	}
}

func (s *scripted) StartNode(_ segment.ID, run metadata.Run, done func(Registered)) {
	s.started = append(s.started, run)
	done(Registered{ID: 1})
}

func nodeNo(i byte) segment.ID { return segment.ID{0xa0, 15: i} }

func runOf(i byte) metadata.Run {
	return metadata.Run{Start: segment.ID{0x5a, 15: i}, MinLevel: metadata.LevelCluster, MaxLevel: metadata.LevelCluster, Roles: metadata.RoleIngest,
		Listeners: []metadata.Listener{{Name: "peer", Host: "h", Port: 9092}}}
}

// clusterOf is a state of journal 0 with nodes that serve, and a data journal that has no node.
func clusterOf(nodes byte) *metadata.Cluster {
	c := &metadata.Cluster{Seq: 9, Level: metadata.LevelCluster, Assignments: []metadata.Assignment{{Journal: 1}}}
	for i := range nodes {
		c.Nodes = append(c.Nodes, metadata.Node{Node: nodeNo(i + 1), ID: int32(i) + 1, State: metadata.StateServing, Run: runOf(i + 1)})
	}
	return c
}

func leaderOf(journal uint32, node byte, epoch uint32) membership.Leader {
	return membership.Leader{Journal: journal, Node: nodeNo(node), Epoch: epoch, Settled: segment.Ref{Seq: uint64(epoch), Object: segment.ID{7, 15: byte(epoch)}}}
}

// driven is the Driver of node 1.
func driven() (*scripted, *Driver) {
	s := &scripted{now: time.Unix(1000, 0), checks: map[membership.Leader]func(bool){}}
	s.d = New(Options{Node: nodeNo(1), Run: runOf(1)}, s)
	return s, s.d
}

// controller is the Driver of the controller, node 1 of some.
func controller(nodes byte) (*scripted, *Driver) {
	s, d := driven()
	d.Begin(clusterOf(nodes))
	d.Led(leaderOf(0, 1, 1))
	d.Ready()
	return s, d
}

func (s *scripted) pass(d time.Duration) {
	for range d / membership.TickEvery {
		s.now = s.now.Add(membership.TickEvery)
		s.d.Tick()
	}
}

// last is the last request of a kind.
func (s *scripted) last(t *testing.T, kind peer.Kind) sent {
	t.Helper()
	for _, r := range slices.Backward(s.sent) {
		if r.Kind == kind {
			return r
		}
	}
	t.Fatalf("no %v was sent", kind)
	return sent{}
}

func TestNothingIsDoneBeforeTheHeadOfJournal0WasProved(t *testing.T) {
	s, d := driven()
	d.Applied(clusterOf(1))
	d.FenceSeen(nodeNo(2), 1)
	d.Ending(nodeNo(1))
	d.Announced(leaderOf(0, 2, 1))
	d.Lost(nodeNo(2))
	d.Heartbeat(membership.Heartbeat{Node: nodeNo(2), Start: runOf(2).Start, Journals: []membership.Report{{Leader: leaderOf(1, 2, 1), Leads: true}}}, func(a membership.Answer) {
		if a.Claims {
			t.Error("it claims journal 0")
		}
	})
	d.Question(leaderOf(0, 2, 1), func(r membership.Reply) {
		if r.Opinion != membership.Silent {
			t.Errorf("opinion %v", r.Opinion)
		}
	})
	d.Register(nodeNo(2), runOf(2), func(r Registered) {
		if !errors.Is(r.Err, metadata.ErrNotController) {
			t.Errorf("registration: %v", r.Err)
		}
	})
	s.pass(time.Minute)
	if len(s.did) > 0 {
		t.Errorf("it did %v", s.did)
	}
	d.Begin(clusterOf(2))
	if s.pass(time.Second); !s.does("PeerQuestion") {
		t.Errorf("then it did %v", s.did)
	}
}

// The Judge of a node that may stand has the state by which that was decided.
func TestTheJudgeHasTheStateBeforeTheMember(t *testing.T) {
	s, d := driven()
	d.Begin(clusterOf(2))
	if !s.does("look 1") {
		t.Errorf("it asks without a majority, and looks at no journal: %v", s.did)
	}
}

func TestOutcomesAtOnceAreEventsOfTheirOwn(t *testing.T) {
	s, d := driven()
	s.atOnce = true
	d.Begin(clusterOf(0))
	s.pass(membership.TickEvery)
	if p, then := slices.Index(s.did, "probe"), slices.Index(s.did, "stand"); p < 0 || then < p {
		t.Errorf("it stands in the middle of a probe: %v", s.did)
	}
	s, d = driven()
	s.planErr = errors.New("refused")
	d.Begin(clusterOf(1))
	d.Led(leaderOf(0, 1, 1))
	d.Ready()
	if n := len(s.plans); n != 1 {
		t.Fatalf("%d plans", n)
	}
	if s.pass(400 * time.Millisecond); len(s.plans) != 1 {
		t.Error("the plan is made again at once")
	}
	if s.pass(200 * time.Millisecond); len(s.plans) != 2 {
		t.Errorf("%d plans after half a second", len(s.plans))
	}
}

// A plan of an earlier leadership fails late, and the one of now is under way still.
func TestPlansOfAnEarlierLeadershipSayNothing(t *testing.T) {
	s, d := controller(1)
	if len(s.plans) != 1 {
		t.Fatalf("%d plans", len(s.plans))
	}
	d.Fenced(1, membership.Fenced{Node: nodeNo(2), Epoch: 2})
	d.Led(leaderOf(0, 1, 3))
	d.Ready()
	s.plans[0](errors.New("deposed"))
	if s.pass(time.Second); len(s.plans) != 2 {
		t.Errorf("%d plans, one is under way in each leadership", len(s.plans))
	}
	s.plans[1](errors.New("refused"))
	s.plans[1](nil) // once is enough
	if s.pass(300 * time.Millisecond); len(s.plans) != 2 {
		t.Error("a second answer to a plan counts")
	}
	if s.pass(300 * time.Millisecond); len(s.plans) != 3 {
		t.Errorf("%d plans after one has failed", len(s.plans))
	}
}

func TestADeposedControllerPlansNothing(t *testing.T) {
	for name, end := range map[string]func(*Driver){
		"fenced":   func(d *Driver) { d.Fenced(1, membership.Fenced{Node: nodeNo(2), Epoch: 2}) },
		"resigned": func(d *Driver) { d.Resigned(1) },
	} {
		s, d := controller(1)
		end(d)
		before := len(s.plans)
		if s.pass(300 * time.Millisecond); len(s.plans) != before {
			t.Errorf("%s: it plans", name)
		}
		d.Heartbeat(membership.Heartbeat{Node: nodeNo(2)}, func(a membership.Answer) {
			if a.Claims {
				t.Errorf("%s: it claims journal 0", name)
			}
		})
		if k := d.Leader(0); !k.Node.IsZero() {
			t.Errorf("%s: it names %v", name, k)
		}
		d.Ready() // late
		if s.pass(300 * time.Millisecond); len(s.plans) != before {
			t.Errorf("%s: it plans after a late commit", name)
		}
	}
}

// Each way by which a node hears of a leader leads to a look into the bucket.
func TestEachClaimIsChecked(t *testing.T) {
	claim := leaderOf(0, 2, 5)
	for name, say := range map[string]func(*testing.T, *scripted, *Driver){
		"heartbeat": func(_ *testing.T, _ *scripted, d *Driver) {
			d.Heartbeat(membership.Heartbeat{Node: nodeNo(2), Start: runOf(2).Start, Journals: []membership.Report{{Leader: claim, Leads: true}}}, func(membership.Answer) {})
		},
		"question":     func(_ *testing.T, _ *scripted, d *Driver) { d.Question(claim, func(membership.Reply) {}) },
		"announcement": func(_ *testing.T, _ *scripted, d *Driver) { d.Announced(claim) },
		"reply": func(t *testing.T, s *scripted, _ *Driver) {
			r := membership.Reply{Opinion: membership.Silent, Controller: claim}
			s.last(t, peer.KindQuestion).done(Response{Outcome: membership.Proved, Body: r.Append(nil)})
		},
		"answer": func(t *testing.T, s *scripted, d *Driver) {
			d.FenceSeen(nodeNo(2), 4) // so that there is a controller
			s.pass(membership.HeartbeatEvery)
			a := membership.Answer{Claims: true, Leaders: []membership.Leader{claim}}
			s.last(t, peer.KindHeartbeat).done(Response{Outcome: membership.Proved, Body: a.Append(nil)})
		},
	} {
		s, d := driven()
		d.Begin(clusterOf(3))
		say(t, s, d)
		check := s.checks[claim]
		if check == nil {
			t.Errorf("%s: no check, it did %v", name, s.did)
			continue
		}
		if k := d.Leader(0); k.Node == nodeNo(2) {
			t.Errorf("%s: believed without a check", name)
		}
		check(true)
		if k := d.Leader(0); k.Node != nodeNo(2) || k.Epoch != 5 {
			t.Errorf("%s: the answer is %+v", name, k)
		}
		s.did = nil
		if s.pass(membership.HeartbeatEvery); !s.does("PeerHeartbeat") || s.last(t, peer.KindHeartbeat).node != nodeNo(2) {
			t.Errorf("%s: the Member does not know of the controller: %v", name, s.did)
		}
	}
}

// A report of a node that only takes a journal is no claim.
func TestAClaimAboutAJournalThatIsLedHereIsProved(t *testing.T) {
	s, d := controller(2)
	d.Led(leaderOf(1, 1, 4))
	beat := func(epoch uint32, leads bool) {
		r := membership.Report{Leader: leaderOf(1, 2, epoch), Leads: leads}
		d.Heartbeat(membership.Heartbeat{Node: nodeNo(2), Start: runOf(2).Start, Journals: []membership.Report{r}}, func(membership.Answer) {})
	}
	beat(4, true)
	beat(5, false)
	if s.does("prove 1") {
		t.Error("no claim is of a higher epoch")
	}
	if beat(5, true); !s.does("prove 1") {
		t.Error("a rival is not looked for")
	}
	if k := d.Leader(1); !k.Doubted || !k.Node.IsZero() || k.Epoch != 4 {
		t.Errorf("a leader that is said to be deposed answers %+v", k)
	}
	s.did = nil
	s.pass(membership.TickEvery)
	if !s.does("prove 1") {
		t.Error("a look that fails is the last one")
	}
	d.Proved(s.Now().Add(-time.Hour), 1) // a look that began before
	if !d.Leader(1).Doubted {
		t.Error("a proof of before the claim counts")
	}
	d.Proved(s.Now(), 1)
	if beat(5, true); d.Leader(1).Doubted || d.Leader(1).Node != nodeNo(1) {
		t.Error("a claim that was refuted counts again")
	}
	if d.Announced(leaderOf(1, 3, 6)); d.Leader(1).Doubted {
		t.Error("anyone may have a leader doubted")
	}
	s.did = nil
	d.Ended(1, 4)
	if beat(6, true); s.does("prove 1") {
		t.Error("a journal that is not led is proved")
	}
}

func TestClaimsAboutUnknownJournalsAreForgotten(t *testing.T) {
	s, d := controller(2)
	claim := leaderOf(99, 2, 5)
	r := membership.Report{Leader: claim, Leads: true}
	d.Heartbeat(membership.Heartbeat{Node: nodeNo(2), Start: runOf(2).Start, Journals: []membership.Report{r}}, func(membership.Answer) {})
	if s.checks[claim] != nil {
		t.Error("a node fills the memory with journals that journal 0 does not name")
	}
}

// Announcements come from anyone, late, twice and in any order. The answers about leaders are
// those of the bucket all the same, and a node that hears only announcements learns the
// leader.
func TestAnnouncementsCostTimeOnly(t *testing.T) {
	seed := time.Now().UnixNano()
	r := rand.New(rand.NewPCG(uint64(seed), 0))
	s, d := driven()
	d.Begin(clusterOf(3))
	bucket := func(l membership.Leader) bool { // node 2 leads in even epochs, node 3 in odd ones
		return l == leaderOf(1, byte(2+l.Epoch%2), l.Epoch) && l.Epoch <= 9
	}
	answer := func() {
		for l, done := range s.checks {
			delete(s.checks, l)
			done(bucket(l))
		}
	}
	answered := uint32(0)
	for range 500 {
		l := leaderOf(1, byte(1+r.IntN(4)), uint32(r.IntN(20)))
		switch r.IntN(4) {
		case 0:
			l.Epoch = r.Uint32()
		case 1:
			l = leaderOf(1, byte(2+l.Epoch%2), l.Epoch)
		}
		if d.Announced(l); r.IntN(3) == 0 {
			answer()
		}
		k := d.Leader(1)
		if k.Epoch < answered || !k.Node.IsZero() && !bucket(leaderOf(1, k.Node[15], k.Epoch)) {
			t.Fatalf("seed %d: after epoch %d the answer is %+v", seed, answered, k)
		}
		answered = k.Epoch
	}
	for range 3 {
		d.Announced(leaderOf(1, 3, 9))
		answer()
	}
	if k := d.Leader(1); k.Node != nodeNo(3) || k.Epoch != 9 {
		t.Errorf("seed %d: the answer is %+v", seed, k)
	}
	for j := range uint32(100) {
		d.Announced(leaderOf(2+j, 2, 1))
	}
	if len(s.checks) > 0 {
		t.Errorf("announcements of journals that do not exist are looked at: %v", s.checks)
	}
}
