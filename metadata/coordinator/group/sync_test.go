package group

import (
	"errors"
	"testing"
	"time"

	"github.com/varvelog/varve/metadata/coordinator"
)

func TestLeaderThatDoesNotAssignIsRemoved(t *testing.T) {
	w := newWorld(t, nil)
	members := w.form(2)
	var calls []*call[JoinAnswer]
	for _, a := range members {
		calls = append(calls, w.join(request(func(r *JoinRequest) { r.Member = a.Member })))
	}
	waits := w.sync(calls[1].get(t), nil)
	for range 14 {
		waits.waits(t)
		if err := w.heartbeat(calls[0].get(t)); err != nil { // alive, but never syncs
			t.Fatal(err)
		}
		w.pass(4 * time.Second)
	}
	w.pass(4 * time.Second)
	if a := waits.get(t); !errors.Is(a.Err, ErrRebalance) {
		t.Errorf("sync: %+v", a)
	}
	a := w.join(request(func(r *JoinRequest) { r.Member = members[1].Member })).get(t)
	if a.Err != nil || a.Leader != members[1].Member {
		t.Errorf("answer is %+v", a)
	}
}

func TestSyncIsAnsweredWhenTheAssignmentIsCommitted(t *testing.T) {
	for name, outcome := range map[string]error{"committed": nil, "in doubt": coordinator.ErrUnavailable} {
		w := newWorld(t, nil)
		c := w.join(request(func(r *JoinRequest) { r.NeedsID = false }))
		w.pass(w.config.InitialDelay)
		a := c.get(t)
		w.auto = false
		sync := w.sync(a, map[string][]byte{a.Member: {7}})
		again := w.sync(a, map[string][]byte{a.Member: {8}}) // as a client that timed out
		if err := sync.get(t).Err; !errors.Is(err, ErrRebalance) || len(w.queue) != 1 {
			t.Errorf("%s: superseded sync: %v, %d appends", name, err, len(w.queue))
		}
		again.waits(t)
		if outcome != nil {
			w.doubt(0)
		} else {
			w.commit()
		}
		got := again.get(t)
		if !errors.Is(got.Err, outcome) || outcome == nil && got.Assignment[0] != 7 {
			t.Errorf("%s: %+v", name, got)
		}
		if want := map[bool]State{true: Stable, false: PreparingRebalance}[outcome == nil]; w.state() != want {
			t.Errorf("%s: group is %v, want %v", name, w.state(), want)
		}
	}
}

func TestSyncRefusals(t *testing.T) {
	w := newWorld(t, nil)
	members := w.form(1)
	good := SyncRequest{Group: "g", Member: members[0].Member, Generation: 1}
	for name, test := range map[string]struct {
		change func(*SyncRequest)
		want   error
	}{
		"no group":            {func(r *SyncRequest) { r.Group = "" }, ErrInvalidGroup},
		"unknown group":       {func(r *SyncRequest) { r.Group = "x" }, ErrUnknownMember},
		"unknown member":      {func(r *SyncRequest) { r.Member = "x" }, ErrUnknownMember},
		"unknown instance":    {func(r *SyncRequest) { r.Instance = ptr("x") }, ErrUnknownMember},
		"old generation":      {func(r *SyncRequest) { r.Generation = 0 }, ErrIllegalGeneration},
		"other protocol type": {func(r *SyncRequest) { r.ProtocolType = ptr("connect") }, ErrInconsistentProtocol},
		"other protocol":      {func(r *SyncRequest) { r.Protocol = ptr("sticky") }, ErrInconsistentProtocol},
		"all as it is":        {func(r *SyncRequest) { r.ProtocolType, r.Protocol = ptr("consumer"), ptr("range") }, nil},
	} {
		r, c := good, &call[SyncAnswer]{}
		test.change(&r)
		w.m.Sync(w, r, c.answer)
		if a := c.get(t); !errors.Is(a.Err, test.want) {
			t.Errorf("%s: %v, want %v", name, a.Err, test.want)
		}
	}
}

func TestAssignmentsTooLargeForAnAppendAreRefused(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.MaxAppend = 1000 })
	c := w.join(request(func(r *JoinRequest) { r.NeedsID = false }))
	w.pass(w.config.InitialDelay)
	a := c.get(t)
	if s := w.sync(a, map[string][]byte{a.Member: make([]byte, 1000)}).get(t); !errors.Is(s.Err, coordinator.ErrTooLarge) {
		t.Errorf("sync: %+v", s)
	}
	if w.state() != PreparingRebalance {
		t.Errorf("group is %v", w.state())
	}
}
