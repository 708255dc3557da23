package metadata

import (
	"fmt"
	"slices"

	"github.com/varvelog/varve/tiering/segment"
)

// Node is a data folder that was registered. It is immutable: a change makes a new one.
type Node struct {
	Node  segment.ID
	ID    int32     // broker id
	State NodeState // 0 if no process of LevelCluster has run with the folder yet
	Fence Fence     // NotFenced: it answers, as far as the controller knows
	Run   Run       // the last one; zero if State is 0 or StateRemoved
}

// Run is one run of a process with a data folder: a start, and how to speak to it.
type Run struct {
	Start              segment.ID // drawn by each process
	MinLevel, MaxLevel uint16     // the feature levels that it supports
	Roles              Roles
	Rack               string     // may be empty
	Listeners          []Listener // at least one, each name once; the first is the default
}

// Listener is a name and the address under which clients reach the node.
type Listener struct {
	Name string
	Host string
	Port uint16
}

// Limits of a Run.
const (
	maxListeners    = 16
	maxListenerName = 64
	maxHostLen      = 255
	maxRackLen      = 255
)

// Roles are the jobs of a node, as bits.
type Roles uint8

// The roles. Ingest nodes lead journals, and one of them is the controller.
const (
	RoleIngest Roles = 1 << iota
	RoleFetch
	RoleTiering

	allRoles = RoleIngest | RoleFetch | RoleTiering
)

// Names lists the roles as settings name them.
func (r Roles) Names() []string {
	names := []string{}
	for i, name := range []string{"ingest", "fetch", "tiering"} {
		if r&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return names
}

// NodeState is set by operators, and by the node itself when it leaves. Whether it answers
// is its Fence.
type NodeState uint8

// The states. Only nodes that serve are assigned journals.
const (
	StateServing NodeState = 1 + iota
	StateLeaving           // it hands its journals over and ends; its next start serves
	StateDrained           // until an operator ends that
	StateRemoved           // forever
)

func (s NodeState) String() string {
	return nameOf(int(s), "registered", "serving", "leaving", "drained", "removed")
}

// Fence says why a node is not counted on. The controller fences a node that it has
// evidence against; the journals of the node are assigned to others then.
type Fence uint8

// The evidence.
const (
	NotFenced      Fence = iota
	FencedRefused        // no process listens at its address
	FencedReplaced       // another process answers at its address
	FencedSilent         // neither heartbeats nor handshakes
)

func (f Fence) String() string {
	return nameOf(int(f), "no", "refused", "replaced", "silent")
}

// Assignment is which node is to lead a data journal. It is a hint: the journal decides.
type Assignment struct {
	Journal uint32
	Number  uint32     // counts the assignments of the journal from 1; 0: there was none
	Node    segment.ID // zero: none, the journal is parked
	Home    segment.ID // where it is to be when all is well
	Why     Why
	Moves   uint16 // away from home by trouble; each doubles the wait before it returns
	Deaths  uint8  // of leaders in a row, each soon after it took the journal
}

// Why is the reason for an assignment.
type Why uint8

// The reasons.
const (
	WhyFirst       Why = 1 + iota // the journal had no node
	WhyFenced                     // its node was fenced
	WhySilent                     // its leader's loop was, in a node that answers
	WhyBlocked                    // its leader could not commit, and another node could
	WhyHome                       // the home is well again
	WhyShare                      // nodes have shares of different sizes
	WhyDrained                    // its node is drained
	WhyLeaving                    // its node leaves
	WhyWithdrawn                  // the node of the last assignment did not get it
	WhyParked                     // its leaders die
	WhyTriedAgain                 // it was parked for long enough
	WhyHomeRemoved                // only the home changes

	lastWhy = WhyHomeRemoved
)

func (w Why) String() string {
	return nameOf(int(w), "unknown", "first", "fenced", "silent", "blocked", "home", "share", "drained", "leaving",
		"withdrawn", "parked", "tried again", "home removed")
}

func nameOf(i int, names ...string) string {
	if i < len(names) {
		return names[i]
	}
	return fmt.Sprintf("unknown %d", i)
}

// Ingests reports whether the node's last run may lead journals.
func (n *Node) Ingests() bool { return n.Run.Roles&RoleIngest != 0 }

// Serves reports whether the node may be assigned journals while it is not fenced.
func (n *Node) Serves() bool { return n.State == StateServing && n.Ingests() }

// Lives reports whether the node is not fenced, and has a start that may answer.
func (n *Node) Lives() bool { return n.Fence == NotFenced && n.State != StateRemoved && n.State != 0 }

// Cluster is the nodes and the assignments of data journals by journal 0, up to a seq. It
// is immutable.
type Cluster struct {
	Seq         uint64
	Level       uint16
	Nodes       []Node       // by broker id, removed ones too
	Assignments []Assignment // by journal, from 1
}

// Node finds a node by its data folder; nil if there is none.
func (c *Cluster) Node(node segment.ID) *Node {
	i := slices.IndexFunc(c.Nodes, func(n Node) bool { return n.Node == node })
	if i < 0 {
		return nil
	}
	return &c.Nodes[i]
}

// Assignment finds that of a data journal; nil if there is no such journal.
func (c *Cluster) Assignment(journal uint32) *Assignment {
	if journal < 1 || int(journal) > len(c.Assignments) {
		return nil
	}
	return &c.Assignments[journal-1]
}

// AssignedTo lists the data journals that a node is to lead.
func (c *Cluster) AssignedTo(node segment.ID) (journals []uint32) {
	for _, a := range c.Assignments {
		if a.Number > 0 && a.Node == node {
			journals = append(journals, a.Journal)
		}
	}
	return journals
}

// Cluster returns the nodes and assignments as of the last object applied.
func (s *State) Cluster() *Cluster {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cluster == nil {
		s.cluster = s.img.cluster()
	}
	if s.cluster.Seq != s.head.Seq {
		same := *s.cluster
		same.Seq = s.head.Seq
		s.cluster = &same
	}
	return s.cluster
}

func (m *image) cluster() *Cluster {
	return &Cluster{Level: m.level, Nodes: m.nodeList(), Assignments: m.assignmentList()}
}

// nodeList lists all data folders ever registered, by broker id.
func (m *image) nodeList() []Node {
	nodes := make([]Node, 0, len(m.nodes))
	for _, n := range m.nodes {
		nodes = append(nodes, *n)
	}
	slices.SortFunc(nodes, func(a, b Node) int { return int(a.ID) - int(b.ID) })
	return nodes
}

func (m *image) assignmentList() []Assignment {
	all := make([]Assignment, m.journals)
	for i := range all {
		all[i] = m.assigned[uint32(i)+1]
		all[i].Journal = uint32(i) + 1
	}
	return all
}

// assignedTo lists the journals that a node has by assignments.
func (m *image) assignedTo(node segment.ID) []uint32 {
	return (&Cluster{Assignments: m.assignmentList()}).AssignedTo(node)
}
