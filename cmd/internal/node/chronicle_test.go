package node

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/varvelog/varve/cmd/internal/datadir"
	"github.com/varvelog/varve/cmd/internal/health"
	"github.com/varvelog/varve/cmd/internal/status"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/metadata/events"
	"github.com/varvelog/varve/metadata/membership"
	"github.com/varvelog/varve/tiering/segment"
)

// heardFacts are those of a member that the controller answered at a time.
type heardFacts struct{ at time.Time }

func (f heardFacts) Answered() time.Time { return f.at }
func (heardFacts) Moves() []status.Move  { return nil }

// aMember is a node of a cluster, without anything else.
func aMember(t *testing.T) *node {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	dir, err := datadir.Open(t.TempDir(), segment.NewID)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dir.Close() })
	n := &node{log: log, metrics: newMetrics(), board: health.NewBoard(log, time.Now), dir: dir, meta: metadata.NewUpTo(metadata.LevelCluster)}
	n.events = n.newEvents()
	return n
}

// apply applies changes to journal 0.
func (n *node) apply(t *testing.T, changes ...metadata.Change) {
	t.Helper()
	f := &segment.Footer{Header: segment.Header{Kind: segment.KindData, Seq: n.meta.Head() + 1, Epoch: 1}}
	var entries []segment.Entry
	for _, c := range changes {
		e, err := metadata.Encode(c)
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, e)
	}
	if err := n.meta.Apply(f, entries); err != nil {
		t.Fatal(err)
	}
}

// pair makes a cluster of this node and another one, which has journal 1.
func (n *node) pair(t *testing.T) (other segment.ID) {
	t.Helper()
	other = segment.ID{2}
	run := metadata.Run{MinLevel: 1, MaxLevel: metadata.LevelCluster, Roles: metadata.RoleIngest, Listeners: []metadata.Listener{{Name: "a", Host: "h", Port: 1}}}
	n.apply(t, metadata.FeatureLevel{Level: metadata.LevelCluster}, metadata.JournalCreated{ID: 1})
	for i, id := range []segment.ID{n.dir.Node(), other} {
		run.Start = segment.ID{9, byte(i)}
		n.apply(t, metadata.NodeRegistered{Node: id, ID: int32(i) + 1}, metadata.NodeStarted{Node: id, Run: run})
	}
	n.apply(t, metadata.JournalAssigned{Assignment: metadata.Assignment{Journal: 1, Number: 1, Node: other, Home: other, Why: metadata.WhyFirst}})
	return other
}

// value returns the value of a metric with a label's value, or without labels.
func (n *node) value(t *testing.T, name, label string) float64 {
	t.Helper()
	families, err := n.metrics.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && (label == "" || len(m.GetLabel()) > 0 && m.GetLabel()[0].GetValue() == label) {
				return m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	t.Fatalf("there is no metric %s %s", name, label)
	return 0
}

func TestTheClusterIsCountedAndItsChangesAreServed(t *testing.T) {
	n := aMember(t)
	n.metrics.members(n)
	other := n.pair(t)
	n.events.Applied(n.meta.Cluster())
	self := n.dir.Node()
	n.leaders = knownLeaders{0: {Node: self, Epoch: 3}, 1: {Node: other, Epoch: 4}}
	n.apply(t, metadata.NodeFenced{Node: other, Fence: metadata.FencedSilent},
		metadata.JournalAssigned{Assignment: metadata.Assignment{Journal: 1, Number: 2, Node: self, Home: other, Why: metadata.WhyFenced, Moves: 1}})
	n.events.Applied(n.meta.Cluster())
	n.leaders = knownLeaders{0: {Node: self, Epoch: 3}, 1: {Node: self, Epoch: 5}}
	n.events.Led(1, self, 5)
	for name, want := range map[string]float64{
		"varve_nodes serving": 2, "varve_nodes drained": 0, "varve_nodes_fenced": 1, "varve_controller": 1, "varve_journals_led": 1,
		"varve_journals_without_leader": 0, "varve_takeovers_total fenced": 1, "varve_takeovers_total " + events.WhyController: 0, "varve_heartbeat_age_seconds": 0,
	} {
		metric, label, _ := strings.Cut(name, " ")
		if got := n.value(t, metric, label); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	served := func(query string) (all []status.Event) {
		w := httptest.NewRecorder()
		status.HandlerOf(n.clusterEvents).ServeHTTP(w, httptest.NewRequest("GET", status.EventsPath+query, nil))
		if err := json.NewDecoder(w.Body).Decode(&all); err != nil {
			t.Fatal(err)
		}
		return all
	}
	var texts []string
	for _, e := range served("") {
		text, _, _ := strings.Cut(e.String(), ", after")
		texts = append(texts, text)
	}
	want := "node 2 is not counted on any more (silent); journal 1 goes to node 1 (fenced); node 1 leads journal 1 in epoch 5 (fenced)"
	if got := strings.Join(texts, "; "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if last := served("?after=2"); len(last) != 1 || last[0].Number != 3 {
		t.Errorf("after the second: %+v", last)
	}
	if m := n.members(); m.Nodes[1].FencedSince == nil || *m.Controller != 1 {
		t.Errorf("%+v", m)
	}
	if n.alone = true; n.members() != nil || n.kafkaMembers() != nil || n.value(t, "varve_journals_led", "") != 0 {
		t.Error("a node that reads alone describes a cluster, of which it knows no leaders")
	}
}

// A leader is noted when it is shown, once.
func TestALeaderIsNotedWhenItIsShown(t *testing.T) {
	n := aMember(t)
	other := n.pair(t)
	n.reports = metadata.NewReports()
	m := &member{node: n}
	m.known.Store(&map[uint32]membership.Known{})
	before := *m.known.Load()
	for _, l := range []membership.Known{{Node: other, Epoch: 4}, {Epoch: 4}, {Node: other, Epoch: 4}, {Node: n.dir.Node(), Epoch: 5}} {
		if m.showLeader(1, l); m.Leader(1) != l {
			t.Errorf("%+v is shown as %+v", l, m.Leader(1))
		}
	}
	if len(before) > 0 {
		t.Error("leaders that others may read were changed")
	}
	if all := n.events.Since(0); len(all) != 2 || all[0].Epoch != 4 || all[1].Epoch != 5 {
		t.Errorf("noted are %+v", all)
	}
}

func TestTroublesOfAClusterComeAndGo(t *testing.T) {
	n := aMember(t)
	n.pair(t)
	self := n.dir.Node()
	troubles := func() string {
		n.judgeMembers(n.meta.Cluster())
		var all []string
		for _, trouble := range n.board.Troubles() {
			all = append(all, trouble.Subject)
		}
		return strings.Join(all, " ")
	}
	n.leaders = knownLeaders{}
	if got := troubles(); got != "" {
		t.Errorf("all is well: %s", got)
	}
	n.apply(t, metadata.NodeFenced{Node: self, Fence: metadata.FencedSilent})
	n.facts = heardFacts{time.Now().Add(-time.Minute)}
	n.onRefused(errors.New("not at this address"))
	parked := metadata.Assignment{Journal: 1, Number: 2, Home: self, Why: metadata.WhyParked, Deaths: 3}
	n.apply(t, metadata.JournalAssigned{Assignment: parked})
	if got := troubles(); got != "controller fenced registration" {
		t.Errorf("got %s", got)
	}
	n.leaders = knownLeaders{0: membership.Known{Node: self, Epoch: 1}}
	if got := troubles(); got != "controller fenced journal 1 registration" {
		t.Errorf("the controller shows %s", got)
	}
	n.apply(t, metadata.NodeFenced{Node: self, Fence: metadata.NotFenced})
	n.facts = heardFacts{time.Now()}
	n.onRefused(nil)
	parked.Number, parked.Node, parked.Why = 3, self, metadata.WhyTriedAgain
	n.apply(t, metadata.JournalAssigned{Assignment: parked})
	if got := troubles(); got != "" {
		t.Errorf("over: %s", got)
	}
}
