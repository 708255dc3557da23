package metadata

import (
	"errors"
	"fmt"

	"github.com/varvelog/varve/tiering/segment"
	"github.com/varvelog/varve/tiering/wire"
)

// Kinds of entries from LevelCluster on.
const (
	EntryNodeStarted     uint16 = 11
	EntryNodeSet         uint16 = 12
	EntryNodeFenced      uint16 = 13
	EntryJournalAssigned uint16 = 14
	EntryNoOp            uint16 = 15
)

// Payloads, big-endian, each after the version byte, which is 1:
//
//	NodeStarted     node id[16] | start id[16] | lowest level u16 | highest level u16 | roles u8
//	                | rack len u16, bytes
//	                | listeners: count u16, each: name len u16, bytes | host len u16, bytes | port u16
//	NodeSet         node id[16] | state u8
//	NodeFenced      node id[16] | fence u8
//	JournalAssigned journal u32 | number u32 | node id[16] | home id[16] | why u8 | moves u16 | deaths u8
//	NoOp

// NodeStarted registers a run of a process. It ends the run before it, and with that a
// leaving, and the node is not fenced.
type NodeStarted struct {
	Node segment.ID
	Run
}

// NodeSet changes the state of a node.
type NodeSet struct {
	Node  segment.ID
	State NodeState
}

// NodeFenced fences a node, or says that it answers again.
type NodeFenced struct {
	Node  segment.ID
	Fence Fence
}

// JournalAssigned replaces the assignment of a data journal.
type JournalAssigned struct{ Assignment }

// NoOp changes nothing. It shows to a node that hears from no other that there is a
// controller.
type NoOp struct{}

func (NodeStarted) kind() uint16     { return EntryNodeStarted }
func (NodeSet) kind() uint16         { return EntryNodeSet }
func (NodeFenced) kind() uint16      { return EntryNodeFenced }
func (JournalAssigned) kind() uint16 { return EntryJournalAssigned }
func (NoOp) kind() uint16            { return EntryNoOp }

func (NodeStarted) version() uint8     { return payloadVersion }
func (NodeSet) version() uint8         { return payloadVersion }
func (NodeFenced) version() uint8      { return payloadVersion }
func (JournalAssigned) version() uint8 { return payloadVersion }
func (NoOp) version() uint8            { return payloadVersion }

func (c NodeStarted) encode(w *wire.Writer) {
	w.ID(c.Node)
	c.Run.encode(w)
}

func (r *Run) encode(w *wire.Writer) {
	w.ID(r.Start)
	w.U16(r.MinLevel)
	w.U16(r.MaxLevel)
	w.U8(uint8(r.Roles))
	w.String16(r.Rack)
	w.U16(uint16(len(r.Listeners)))
	for _, l := range r.Listeners {
		w.String16(l.Name)
		w.String16(l.Host)
		w.U16(l.Port)
	}
}

func (c NodeStarted) check() error { return errors.Join(checkID(c.Node), c.Run.check()) }

func (r *Run) check() error {
	switch {
	case r.Start.IsZero():
		return errors.New("start is zero")
	case r.MinLevel == 0 || r.MaxLevel < r.MinLevel:
		return fmt.Errorf("feature levels %d to %d", r.MinLevel, r.MaxLevel)
	case r.Roles == 0 || r.Roles&^allRoles != 0:
		return fmt.Errorf("roles %#x", uint8(r.Roles))
	case len(r.Rack) > maxRackLen:
		return fmt.Errorf("rack of %d bytes, the limit is %d", len(r.Rack), maxRackLen)
	case len(r.Listeners) < 1 || len(r.Listeners) > maxListeners:
		return fmt.Errorf("%d listeners, want 1 to %d", len(r.Listeners), maxListeners)
	}
	names := map[string]bool{}
	for _, l := range r.Listeners {
		if l.Name == "" || len(l.Name) > maxListenerName || l.Host == "" || len(l.Host) > maxHostLen || l.Port == 0 {
			return fmt.Errorf("listener %.100q at host %.100q, port %d", l.Name, l.Host, l.Port)
		}
		if names[l.Name] {
			return fmt.Errorf("two listeners %q", l.Name)
		}
		names[l.Name] = true
	}
	return nil
}

func decodeNodeStarted(r *wire.Reader) (Change, error) {
	c := NodeStarted{Node: r.ID()}
	c.Run = decodeRun(r)
	return c, nil
}

func decodeRun(r *wire.Reader) Run {
	run := Run{Start: r.ID(), MinLevel: r.U16(), MaxLevel: r.U16(), Roles: Roles(r.U8()), Rack: r.String16()}
	for range r.Count(uint32(r.U16()), 6) {
		run.Listeners = append(run.Listeners, Listener{Name: r.String16(), Host: r.String16(), Port: r.U16()})
	}
	return run
}

func (c NodeSet) encode(w *wire.Writer) {
	w.ID(c.Node)
	w.U8(uint8(c.State))
}

func (c NodeSet) check() error {
	if c.State < StateServing || c.State > StateRemoved {
		return fmt.Errorf("state %d of a node", c.State)
	}
	return checkID(c.Node)
}

func decodeNodeSet(r *wire.Reader) (Change, error) {
	return NodeSet{Node: r.ID(), State: NodeState(r.U8())}, nil
}

func (c NodeFenced) encode(w *wire.Writer) {
	w.ID(c.Node)
	w.U8(uint8(c.Fence))
}

func (c NodeFenced) check() error {
	if c.Fence > FencedSilent {
		return fmt.Errorf("fence %d of a node", c.Fence)
	}
	return checkID(c.Node)
}

func decodeNodeFenced(r *wire.Reader) (Change, error) {
	return NodeFenced{Node: r.ID(), Fence: Fence(r.U8())}, nil
}

func (c JournalAssigned) encode(w *wire.Writer) { c.Assignment.encode(w) }

func (a *Assignment) encode(w *wire.Writer) {
	w.U32(a.Journal)
	w.U32(a.Number)
	w.ID(a.Node)
	w.ID(a.Home)
	w.U8(uint8(a.Why))
	w.U16(a.Moves)
	w.U8(a.Deaths)
}

func (c JournalAssigned) check() error {
	switch {
	case c.Journal == 0 || c.Number == 0:
		return fmt.Errorf("assignment %d of journal %d", c.Number, c.Journal)
	case c.Home.IsZero():
		return fmt.Errorf("journal %d has no home", c.Journal)
	case c.Why < WhyFirst || c.Why > lastWhy:
		return fmt.Errorf("journal %d is assigned for reason %d", c.Journal, c.Why)
	}
	return nil
}

func decodeJournalAssigned(r *wire.Reader) (Change, error) {
	return JournalAssigned{decodeAssignment(r)}, nil
}

func decodeAssignment(r *wire.Reader) Assignment {
	return Assignment{
		Journal: r.U32(), Number: r.U32(), Node: r.ID(), Home: r.ID(), Why: Why(r.U8()), Moves: r.U16(), Deaths: r.U8(),
	}
}

func (NoOp) encode(*wire.Writer) {}
func (NoOp) check() error        { return nil }

func decodeNoOp(*wire.Reader) (Change, error) { return NoOp{}, nil }
