package group

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/varvelog/varve/metadata/coordinator"
)

func TestMembersFormAGeneration(t *testing.T) {
	w := newWorld(t, nil)
	members := w.form(3)
	for i, a := range members {
		if a.Generation != 1 || a.Leader != members[0].Member || a.ProtocolType != "consumer" || *a.Protocol != "range" {
			t.Errorf("member %d: %+v", i, a)
		}
		if want := map[bool]int{true: 3}[i == 0]; len(a.Members) != want {
			t.Errorf("member %d got %d members, want %d", i, len(a.Members), want)
		}
		if err := w.heartbeat(a); err != nil {
			t.Errorf("member %d: heartbeat: %v", i, err)
		}
	}
	for i, who := range members[0].Members {
		if who.Member != members[i].Member || string(who.Metadata) != string(subscribed("events")) {
			t.Errorf("leader sees %+v as member %d", who, i)
		}
	}
	d, err := w.m.Describe("g")
	if err != nil || d.State != Stable || d.Protocol != "range" || len(d.Members) != 3 || d.Members[2].Assignment[0] != 3 || d.Members[0].ClientHost != "/h" {
		t.Errorf("description is %+v, error %v", d, err)
	}
}

func TestJoinRefusals(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.MaxSize = 2 })
	members := w.form(2)
	for name, test := range map[string]struct {
		change func(*JoinRequest)
		want   error
	}{
		"no group":             {func(r *JoinRequest) { r.Group = "" }, ErrInvalidGroup},
		"session too short":    {func(r *JoinRequest) { r.Session = 5 * time.Second }, ErrSessionTimeout},
		"session too long":     {func(r *JoinRequest) { r.Session = 31 * time.Minute }, ErrSessionTimeout},
		"no protocols":         {func(r *JoinRequest) { r.Group, r.Protocols = "new", nil }, ErrInconsistentProtocol},
		"no protocol type":     {func(r *JoinRequest) { r.Group, r.ProtocolType = "new", "" }, ErrInconsistentProtocol},
		"other protocol type":  {func(r *JoinRequest) { r.Member, r.ProtocolType = members[0].Member, "connect" }, ErrInconsistentProtocol},
		"no common protocol":   {func(r *JoinRequest) { r.Member, r.Protocols[0].Name = members[0].Member, "other" }, ErrInconsistentProtocol},
		"one too many":         {func(*JoinRequest) {}, ErrGroupFull},
		"unknown member":       {func(r *JoinRequest) { r.Group, r.Member = "new", "who" }, ErrUnknownMember},
		"instance unknown":     {func(r *JoinRequest) { r.Member, r.Instance = members[0].Member, ptr("i") }, ErrUnknownMember},
		"member of no session": {func(r *JoinRequest) { r.Member, r.Session = members[0].Member, 0 }, ErrSessionTimeout},
	} {
		if a := w.join(request(test.change)).get(t); !errors.Is(a.Err, test.want) {
			t.Errorf("%s: %v, want %v", name, a.Err, test.want)
		}
	}
	for _, a := range members {
		if err := w.heartbeat(a); err != nil {
			t.Errorf("the group did not go on: %v", err)
		}
	}
	if _, err := w.m.Describe("new"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a refused join made a group: %v", err)
	}
}

func TestOldClientsJoinWithoutBeingAskedBack(t *testing.T) {
	w := newWorld(t, nil)
	c := w.join(request(func(r *JoinRequest) { r.NeedsID = false }))
	c.waits(t)
	w.pass(w.config.InitialDelay)
	if a := c.get(t); a.Err != nil || a.Generation != 1 || a.Member != "c-id-1" {
		t.Errorf("answer is %+v", a)
	}
}

// TestManyProtocolsDelayNoMember joins with more than a request has room for: who
// compared each with each would take minutes, and all groups of the partition with it.
func TestManyProtocolsDelayNoMember(t *testing.T) {
	w := newWorld(t, nil)
	all := make([]Protocol, 300_000)
	for i := range all {
		all[i].Name = fmt.Sprint(len(all) + i)
	}
	if a := w.join(request(func(r *JoinRequest) { r.Protocols = all })).get(t); !errors.Is(a.Err, ErrMemberIDRequired) {
		t.Errorf("answer is %+v", a)
	}
}

func TestFirstRebalanceWaitsForMoreMembers(t *testing.T) {
	old := func(r *JoinRequest) { r.NeedsID = false; r.Rebalance = 7 * time.Second }
	for name, test := range map[string]struct {
		joins []time.Duration // after the one before
		want  time.Duration   // from the first
	}{
		"one":                      {[]time.Duration{0}, 3 * time.Second},
		"another during the delay": {[]time.Duration{0, time.Second}, 6 * time.Second},
		"up to the time-out":       {[]time.Duration{0, time.Second, 3 * time.Second, 2500 * time.Millisecond}, 7 * time.Second},
	} {
		w := newWorld(t, nil)
		begin := w.now
		var calls []*call[JoinAnswer]
		for _, after := range test.joins {
			w.pass(after)
			calls = append(calls, w.join(request(old)))
		}
		for w.m.live["g"].state == PreparingRebalance {
			w.pass(100 * time.Millisecond)
		}
		if took := w.now.Sub(begin); took != test.want {
			t.Errorf("%s: took %v, want %v", name, took, test.want)
		}
		for _, c := range calls {
			if a := c.get(t); a.Err != nil || a.Generation != 1 {
				t.Errorf("%s: %+v", name, a)
			}
		}
	}
}

func TestJoiningMemberRebalancesTheOthers(t *testing.T) {
	w := newWorld(t, nil)
	members := w.form(2)
	id := w.newID(request(nil))
	if err := w.heartbeat(members[1]); err != nil {
		t.Errorf("an id given out rebalances: %v", err)
	}
	third := w.join(request(func(r *JoinRequest) { r.Member = id }))
	for _, a := range members {
		if err := w.heartbeat(a); !errors.Is(err, ErrRebalance) {
			t.Errorf("heartbeat: %v, want ErrRebalance", err)
		}
	}
	if a := w.sync(members[1], nil).get(t); !errors.Is(a.Err, ErrRebalance) {
		t.Errorf("sync while rebalancing: %v", a.Err)
	}
	calls := []*call[JoinAnswer]{third}
	for _, a := range members {
		third.waits(t)
		calls = append(calls, w.join(request(func(r *JoinRequest) { r.Member = a.Member })))
	}
	for _, a := range w.assignAll(calls) {
		if a.Generation != 2 || a.Leader != members[0].Member {
			t.Errorf("answer is %+v", a)
		}
	}
	if err := w.heartbeat(members[0]); !errors.Is(err, ErrIllegalGeneration) {
		t.Errorf("heartbeat of the old generation: %v", err)
	}
}

func TestRebalanceGoesOnWithoutThoseWhoDoNotJoin(t *testing.T) {
	w := newWorld(t, nil)
	members := w.form(3)
	rejoin := w.join(request(func(r *JoinRequest) { r.Member = members[1].Member; r.Protocols[0].Metadata = subscribed("more") }))
	for range 11 {
		w.pass(5 * time.Second)
		rejoin.waits(t)
		for _, i := range []int{0, 2} { // alive, and late
			if err := w.heartbeat(members[i]); !errors.Is(err, ErrRebalance) {
				t.Fatalf("heartbeat: %v", err)
			}
		}
	}
	w.pass(5 * time.Second)
	if a := rejoin.get(t); a.Err != nil || a.Leader != members[1].Member || len(a.Members) != 1 {
		t.Errorf("answer is %+v", a)
	}
	if err := w.heartbeat(members[0]); !errors.Is(err, ErrUnknownMember) {
		t.Errorf("heartbeat of a member left behind: %v", err)
	}
}

func TestFollowersWithoutNewsDoNotRebalance(t *testing.T) {
	w := newWorld(t, nil)
	members := w.form(2)
	a := w.join(request(func(r *JoinRequest) { r.Member = members[1].Member })).get(t)
	if a.Err != nil || a.Generation != 1 || w.state() != Stable {
		t.Errorf("follower: %+v in state %v", a, w.state())
	}
	if a := w.sync(a, nil).get(t); a.Assignment[0] != 2 {
		t.Errorf("assignment is %v", a.Assignment)
	}
	w.join(request(func(r *JoinRequest) { r.Member = members[0].Member })).waits(t)
	if w.state() != PreparingRebalance {
		t.Errorf("the leader's join leaves the group %v", w.state())
	}
}

func TestLostJoinAnswerIsGivenAgain(t *testing.T) {
	w := newWorld(t, nil)
	id := w.newID(request(nil))
	first := w.join(request(func(r *JoinRequest) { r.Member = id }))
	second := w.join(request(func(r *JoinRequest) { r.Member = id }))
	if a := first.get(t); !errors.Is(a.Err, ErrRebalance) {
		t.Errorf("superseded join: %+v", a)
	}
	w.pass(w.config.InitialDelay)
	a := second.get(t)
	again := w.join(request(func(r *JoinRequest) { r.Member = id })).get(t)
	if again.Err != nil || again.Generation != a.Generation || len(again.Members) != 1 {
		t.Errorf("answer is %+v, was %+v", again, a)
	}
}

func TestProtocolIsTheOneMostPrefer(t *testing.T) {
	for name, test := range map[string]struct {
		knows [][]string
		want  string
	}{
		"common one":          {[][]string{{"a", "b"}, {"c", "b"}}, "b"},
		"most votes":          {[][]string{{"a", "b"}, {"b", "a"}, {"b", "a"}}, "b"},
		"first of equals":     {[][]string{{"b", "a"}, {"a", "b"}}, "b"},
		"named twice by one":  {[][]string{{"a", "a", "b"}, {"b"}}, "b"},
		"favourite not known": {[][]string{{"x", "b", "a"}, {"a", "b"}, {"b", "a"}}, "b"},
	} {
		w := newWorld(t, nil)
		var calls []*call[JoinAnswer]
		for _, names := range test.knows {
			calls = append(calls, w.join(request(func(r *JoinRequest) {
				r.NeedsID, r.Protocols = false, nil
				for _, name := range names {
					r.Protocols = append(r.Protocols, Protocol{Name: name})
				}
			})))
		}
		w.pass(time.Minute)
		if a := calls[0].get(t); a.Err != nil || *a.Protocol != test.want {
			t.Errorf("%s: %+v", name, a)
		}
	}
}

func TestIDThatIsNotComeBackWithIsForgotten(t *testing.T) {
	w := newWorld(t, nil)
	id := w.newID(request(nil))
	if list := w.m.List(); len(list) != 1 || list[0].State != Empty {
		t.Errorf("groups are %+v", list)
	}
	w.pass(10 * time.Second)
	if a := w.join(request(func(r *JoinRequest) { r.Member = id })).get(t); !errors.Is(a.Err, ErrUnknownMember) {
		t.Errorf("answer is %+v", a)
	}
	if len(w.m.live) != 0 || len(w.m.List()) != 0 {
		t.Error("the group is still there")
	}
}

func TestGivenIDHoldsARebalanceUntilItIsOver(t *testing.T) {
	w := newWorld(t, nil)
	members := w.form(1)
	w.newID(request(func(r *JoinRequest) { r.Session = 20 * time.Second }))
	rejoin := w.join(request(func(r *JoinRequest) { r.Member = members[0].Member }))
	w.pass(19 * time.Second)
	rejoin.waits(t)
	w.pass(time.Second)
	if a := rejoin.get(t); a.Err != nil || a.Generation != 2 {
		t.Errorf("answer is %+v", a)
	}
}

func TestNewMemberDoesNotWaitForEver(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.InitialDelay = time.Hour })
	c := w.join(request(func(r *JoinRequest) { r.NeedsID, r.Rebalance = false, 2*time.Hour }))
	w.pass(w.config.NewMemberTimeout)
	if a := c.get(t); !errors.Is(a.Err, ErrUnknownMember) || a.Member != "" {
		t.Errorf("answer is %+v", a)
	}
	if w.state() != Empty {
		t.Errorf("group is %v", w.state())
	}
}

func TestSilentMemberIsRemoved(t *testing.T) {
	w := newWorld(t, nil)
	members := w.form(2)
	for range 3 {
		w.pass(4 * time.Second)
		if err := w.heartbeat(members[0]); err != nil && !errors.Is(err, ErrRebalance) {
			t.Fatal(err)
		}
	}
	if got := w.ids(); !slices.Equal(got, []string{members[0].Member}) {
		t.Errorf("members are %v", got)
	}
	w.pass(2 * time.Minute)
	if w.state() != Empty || w.m.kept["g"].meta.generation < 2 || len(w.m.kept["g"].meta.members) != 0 {
		t.Errorf("group is %v, kept is %+v", w.state(), w.m.kept["g"].meta)
	}
}

func TestMembersGoOnAfterATakeOver(t *testing.T) {
	w := newWorld(t, nil)
	members := w.form(3)
	w.pass(9 * time.Second)
	w.move(0, 0)
	w.pass(9 * time.Second) // sessions have begun again
	for i, a := range members {
		if err := w.heartbeat(a); err != nil {
			t.Errorf("heartbeat: %v", err)
		}
		if s := w.sync(a, nil).get(t); s.Err != nil || s.Assignment[0] != byte(i+1) {
			t.Errorf("sync: %+v", s)
		}
	}
	if w.state() != Stable {
		t.Errorf("group is %v", w.state())
	}
	w.pass(11 * time.Second)
	if w.state() == Stable {
		t.Error("no member is left, and the group is still stable")
	}
}

func TestWaitingRequestsAreAnsweredWhenTheLeadershipEnds(t *testing.T) {
	w := newWorld(t, nil)
	members := w.form(2)
	w.auto = false
	commit := w.commitOffset(Identity{Group: "g", Member: members[0].Member, Generation: 1}, 5)
	read := &call[error]{}
	w.m.Committed("g", nil, func(_ []Committed, err error) { read.answer(err) })
	join := w.join(request(func(r *JoinRequest) { r.Member = members[0].Member }))
	w.m.Resign(coordinator.ErrNotCoordinator)
	for name, err := range map[string]error{"commit": commit.get(t).all, "join": join.get(t).Err, "read": read.get(t)} {
		if !errors.Is(err, coordinator.ErrNotCoordinator) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLeave(t *testing.T) {
	w := newWorld(t, nil)
	members := w.form(2)
	id := w.newID(request(nil))
	errs, err := w.m.Leave(w, "g", []Leaver{{Member: "who"}, {Member: id}, {Instance: ptr("i")}, {}})
	if fmt.Sprint(errs) != fmt.Sprint([]error{ErrUnknownMember, nil, ErrUnknownMember, ErrUnknownMember}) || err != nil || w.state() != Stable {
		t.Errorf("results %v, error %v, group %v", errs, err, w.state())
	}
	errs, err = w.m.Leave(w, "g", []Leaver{{Member: members[0].Member}})
	if err != nil || errs[0] != nil || w.state() != PreparingRebalance {
		t.Errorf("results %v, error %v, group %v", errs, err, w.state())
	}
	rejoined := w.join(request(func(r *JoinRequest) { r.Member = members[1].Member })).get(t)
	if rejoined.Err != nil || rejoined.Leader != members[1].Member {
		t.Errorf("answer is %+v", rejoined)
	}
	if errs, _ := w.m.Leave(w, "none", []Leaver{{Member: "who"}}); !errors.Is(errs[0], ErrUnknownMember) {
		t.Errorf("leaving no group: %v", errs)
	}
	if _, err := w.m.Leave(w, "", nil); !errors.Is(err, ErrInvalidGroup) {
		t.Errorf("no group: %v", err)
	}
}

func TestLastRejoinersOfTooLargeAGroupAreLeftOut(t *testing.T) {
	w := newWorld(t, nil)
	members := w.form(3)
	w.m.config.MaxSize = 2
	var calls []*call[JoinAnswer]
	for _, a := range members {
		calls = append(calls, w.join(request(func(r *JoinRequest) { r.Member = a.Member })))
	}
	if a := calls[2].get(t); !errors.Is(a.Err, ErrGroupFull) {
		t.Errorf("third member: %+v", a)
	}
	if a := calls[0].get(t); a.Err != nil || len(a.Members) != 2 {
		t.Errorf("first member: %+v", a)
	}
}

// A client may call itself by as long a name as a string can be. The world reads
// every record back.
func TestNamesAsLongAsStringsCanBe(t *testing.T) {
	long := strings.Repeat("é", math.MaxInt16/2)
	for name, test := range map[string]struct {
		change func(*JoinRequest)
		old    bool
	}{
		"client":        {func(r *JoinRequest) { r.ClientID = long }, false},
		"client of old": {func(r *JoinRequest) { r.ClientID, r.NeedsID = long, false }, true},
		"instance":      {func(r *JoinRequest) { r.Instance = &long }, true},
	} {
		w := newWorld(t, nil)
		r := request(test.change)
		if !test.old {
			r.Member = w.newID(r)
		}
		c := w.join(r)
		w.pass(w.config.InitialDelay * 2)
		a := w.assignAll([]*call[JoinAnswer]{c})[0]
		if len(a.Member) > math.MaxInt16 || !utf8.ValidString(a.Member) {
			t.Errorf("%s: id of %d bytes", name, len(a.Member))
		}
		w.move(0, len(w.log))
		if ids := w.ids(); !slices.Equal(ids, []string{a.Member}) {
			t.Errorf("%s: after a take-over the members are %d", name, len(ids))
		}
	}
}
