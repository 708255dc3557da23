package journal

import (
	"testing"

	"github.com/varvelog/varve/testenv/bytemap"
	"github.com/varvelog/varve/tiering/segment"
)

func TestPlansAndCheckpointsAreAsTheFormatPageSays(t *testing.T) {
	id := func(b byte) segment.ID { return segment.ID{0: b, 15: b} }
	p := FloorPlan{N: 1, At: segment.Ref{Seq: 2, Object: id(3)}, Object: id(4)}
	c := Checkpoint{
		Chain: Chain{Next: 5, Epoch: 6, Fence: segment.Ref{Seq: 7, Object: id(8)}, Tail: segment.Ref{Seq: 9, Object: id(10)},
			Last: segment.Ref{Seq: 11, Object: id(12)}, Leader: id(13)},
		State: []byte("state"), Attached: []byte("attached"),
		History: History{leaderships: []leadership{{14, id(15)}}, covered: []coverage{{id(16), 17}}, floors: FloorPlans{p}},
	}
	fields := map[string]any{"number": uint64(1), "checkpoint seq": uint64(2), "checkpoint object id": id(3), "floor object id": id(4)}
	versioned := map[string]any{"payload version": uint8(1)}
	for name, value := range fields {
		versioned[name] = value
	}
	const fixed, leaderships, covered, plans = 101, 105, 129, 178
	b := c.encode()
	end := End{To: id(18), Assignment: 19}.Entry().Payload
	page := bytemap.Read(t, "../segment/FORMAT.md")
	page.Check(t, map[string]bytemap.Structure{
		"Floor plan":     bytemap.Of(p.Entry().Payload, len(p.Entry().Payload), versioned),
		"Leadership end": bytemap.Of(end, len(end), map[string]any{"payload version": uint8(1), "successor": id(18), "assignment": uint32(19)}),
		"Plan":           bytemap.Of(b[plans:], 48, fields),
		"Checkpoint": bytemap.Of(b, fixed, map[string]any{"payload version": uint8(3), "next": uint64(5), "epoch": uint32(6),
			"fence seq": uint64(7), "fence object id": id(8), "tail seq": uint64(9), "tail object id": id(10),
			"last seq": uint64(11), "last object id": id(12), "leader": id(13)}),
		"Leadership":  bytemap.Of(b[leaderships:], 20, map[string]any{"epoch": uint32(14), "incarnation": id(15)}),
		"Covered log": bytemap.Of(b[covered:], 24, map[string]any{"incarnation": id(16), "write-ahead to": uint64(17)}),
	})
	page.CheckSequence(t, "Checkpoint", b[fixed:], []bytemap.Field{
		{Name: "leaderships", Value: uint32(1)}, {Name: "the leaderships", Value: b[leaderships:][:20]},
		{Name: "covered logs", Value: uint32(1)}, {Name: "the covered logs", Value: b[covered:][:24]},
		{Name: "state", Value: []byte("state")}, {Name: "attached (versions 2 and 3)", Value: []byte("attached")},
		{Name: "plans (version 3)", Value: uint32(1)}, {Name: "the plans (version 3)", Value: b[plans:][:48]},
	}...)
}
