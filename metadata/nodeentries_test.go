package metadata

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/varvelog/varve/testenv/bytemap"
	"github.com/varvelog/varve/tiering/segment"
)

func TestEntriesOfNodesHaveTheirLimitsWhenWritingAndWhenReading(t *testing.T) {
	long := func(n int) string { return strings.Repeat("x", n+1) }
	run := func(change func(*Run)) Change {
		r := runA
		r.Listeners = slices.Clone(runA.Listeners)
		change(&r)
		return NodeStarted{nodeA, r}
	}
	assigned := func(change func(*Assignment)) Change {
		a := assignedA
		change(&a)
		return JournalAssigned{a}
	}
	for name, c := range map[string]Change{
		"no node":             NodeStarted{segment.ID{}, runA},
		"no start":            run(func(r *Run) { r.Start = segment.ID{} }),
		"no level":            run(func(r *Run) { r.MinLevel = 0 }),
		"levels reversed":     run(func(r *Run) { r.MinLevel = 4 }),
		"no role":             run(func(r *Run) { r.Roles = 0 }),
		"unknown role":        run(func(r *Run) { r.Roles = 8 }),
		"rack":                run(func(r *Run) { r.Rack = long(maxRackLen) }),
		"no listener":         run(func(r *Run) { r.Listeners = nil }),
		"many listeners":      run(func(r *Run) { r.Listeners = make([]Listener, maxListeners+1) }),
		"listener name":       run(func(r *Run) { r.Listeners[0].Name = long(maxListenerName) }),
		"listener without":    run(func(r *Run) { r.Listeners[0].Name = "" }),
		"no host":             run(func(r *Run) { r.Listeners[0].Host = "" }),
		"host":                run(func(r *Run) { r.Listeners[0].Host = long(maxHostLen) }),
		"no port":             run(func(r *Run) { r.Listeners[0].Port = 0 }),
		"listener twice":      run(func(r *Run) { r.Listeners[1].Name = r.Listeners[0].Name }),
		"state 0":             NodeSet{nodeA, 0},
		"state 5":             NodeSet{nodeA, 5},
		"state of no node":    NodeSet{State: StateDrained},
		"fence 4":             NodeFenced{nodeA, 4},
		"fence of no node":    NodeFenced{Fence: FencedSilent},
		"journal 0":           assigned(func(a *Assignment) { a.Journal = 0 }),
		"number 0":            assigned(func(a *Assignment) { a.Number = 0 }),
		"no home":             assigned(func(a *Assignment) { a.Home = segment.ID{} }),
		"no reason":           assigned(func(a *Assignment) { a.Why = 0 }),
		"unknown reason":      assigned(func(a *Assignment) { a.Why = lastWhy + 1 }),
		"bases of fewer":      TopicCreated{ID: topicA, Name: "a", ReplicationFactor: 1, Journals: []uint32{1, 1}, Bases: []int32{1}},
		"bases of zero":       PartitionsAdded{ID: topicA, From: 1, Journals: []uint32{1}, Bases: []int32{0}},
		"base below zero":     PartitionsAdded{ID: topicA, From: 1, Journals: []uint32{1, 1}, Bases: []int32{1, -1}},
		"base above the most": PartitionsAdded{ID: topicA, From: 1, Journals: []uint32{1}, Bases: []int32{1 << 30}},
	} {
		if _, err := Encode(c); err == nil {
			t.Errorf("%s: written", name)
		}
		if name == "bases of fewer" {
			continue // there is no such payload
		}
		if _, err := Decode(segment.Entry{Kind: c.kind(), Payload: unchecked(c)}); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: read: %v", name, err)
		}
	}
	most := run(func(r *Run) {
		r.Rack, r.Listeners = long(maxRackLen-1), r.Listeners[:1]
		r.Listeners[0] = Listener{long(maxListenerName - 1), long(maxHostLen - 1), 65535}
	})
	if _, err := Decode(mustEncode(t, most)); err != nil {
		t.Errorf("at the limits: %v", err)
	}
	parked := assigned(func(a *Assignment) { a.Node = segment.ID{} })
	if _, err := Decode(mustEncode(t, parked)); err != nil {
		t.Errorf("parked: %v", err)
	}
}

func TestEntriesOfNodesAreAsTheFormatPageSays(t *testing.T) {
	page := bytemap.Read(t, "../tiering/segment/FORMAT.md")
	of := func(c Change, fields map[string]any) bytemap.Structure {
		fields["payload version"] = c.version()
		payload := mustEncode(t, c).Payload
		return bytemap.Of(payload, len(payload), fields)
	}
	based := mustEncode(t, PartitionsAdded{ID: topicA, From: 7, Journals: []uint32{9}, Bases: []int32{8}}).Payload
	a := assignedA
	page.Check(t, map[string]bytemap.Structure{
		"Node set":    of(NodeSet{nodeA, StateLeaving}, map[string]any{"node": nodeA, "state": uint8(2)}),
		"Node fenced": of(NodeFenced{nodeA, FencedSilent}, map[string]any{"node": nodeA, "fence": uint8(3)}),
		"Journal assigned": of(JournalAssigned{a}, map[string]any{"journal": a.Journal, "assignment": a.Number, "node": a.Node,
			"home": a.Home, "why": uint8(a.Why), "moves": a.Moves, "deaths": a.Deaths}),
		"No-op":           of(NoOp{}, map[string]any{}),
		"Based partition": bytemap.Of(based[len(based)-8:], 8, map[string]any{"journal": uint32(9), "epoch base": int32(8)}),
	})
	run := runA
	run.Listeners = run.Listeners[:1]
	page.CheckSequence(t, "Node started", mustEncode(t, NodeStarted{nodeA, run}).Payload,
		bytemap.Field{Name: "payload version", Value: payloadVersion}, bytemap.Field{Name: "node", Value: nodeA},
		bytemap.Field{Name: "start", Value: startA}, bytemap.Field{Name: "lowest level", Value: uint16(2)},
		bytemap.Field{Name: "highest level", Value: uint16(3)}, bytemap.Field{Name: "roles", Value: uint8(3)},
		bytemap.Field{Name: "rack", Value: []byte("r1")}, bytemap.Field{Name: "listeners", Value: uint16(1)},
		bytemap.Field{Name: "listener name", Value: []byte("client")}, bytemap.Field{Name: "host", Value: []byte("a.example")},
		bytemap.Field{Name: "port", Value: uint16(9092)})
}
