package group

import (
	"slices"
	"time"

	"github.com/varvelog/varve/metadata/coordinator"
	"github.com/varvelog/varve/tiering/wire"
)

// State is the phase that a group is in.
type State uint8

// The states of a group, by Kafka's names. A group that does not exist is dead.
const (
	Dead State = iota
	Empty
	PreparingRebalance  // members are to join the next generation
	CompletingRebalance // all have joined, the leader is to assign
	Stable
)

// String is the state's name in the protocol.
func (s State) String() string {
	return [...]string{"Dead", "Empty", "PreparingRebalance", "CompletingRebalance", "Stable"}[s]
}

// consumerType is the protocol type of consumers, whose subscriptions are known.
const consumerType = "consumer"

// live is a group with everything under way in it.
type live struct {
	id           string
	state        State
	initial      bool  // the rebalance being prepared is that of an empty group
	sinceMs      int64 // Unix milliseconds of the last change of state; -1 if not known
	generation   int32
	protocolType string // empty if no member ever joined
	protocol     *string
	leader       string          // empty if there are no members
	topics       map[string]bool // subscribed by the generation; nil if not known

	members []*member // in the order in which they joined
	byID    map[string]*member
	static  map[string]*member // by instance id
	known   map[string]int     // how many members know each protocol
	pending map[string]*timer  // ids given to clients that have not used them yet

	joining   timer         // when the rebalance goes on without members that did not join
	extension time.Duration // by how much an initial rebalance may still be delayed
	grown     bool          // members were added since the last delay
	syncing   timer         // when members are removed that did not ask for their assignment
	assigned  bool          // assignments of this generation are being written
	writes    []*write      // records under way, in order
	gone      bool          // another live may represent the group by now
	bytes     int64         // held by members and pending ids
	memory    *Memory
}

func newLive(m *Machine, id string) *live {
	g := &live{
		id: id, state: Empty, sinceMs: -1, byID: map[string]*member{}, static: map[string]*member{},
		known: map[string]int{}, pending: map[string]*timer{}, memory: m.config.Memory,
	}
	g.syncing.fire = func(out coordinator.Out) { m.syncOver(out, g) }
	return g
}

// restore sets g to the state of its last record. It starts no session.
func (g *live) restore(m *Machine, meta *metadata) {
	g.sinceMs, g.generation, g.protocolType = meta.sinceMs, meta.generation, meta.protocolType
	g.protocol = meta.protocol
	for _, k := range meta.members {
		rebalance := k.rebalanceMs
		if rebalance < 0 {
			rebalance = k.sessionMs
		}
		who := &member{
			id: k.id, instance: k.instance, clientID: k.clientID, clientHost: k.clientHost,
			rebalanceMs: rebalance, sessionMs: k.sessionMs, assignment: k.assignment,
			protocols: []Protocol{{Name: text(meta.protocol), Metadata: k.subscription}},
		}
		m.enlist(g, who)
	}
	if len(g.members) > 0 {
		g.state = Stable
	}
	if leader := g.byID[text(meta.leader)]; leader != nil {
		g.leader = leader.id
	}
	g.subscribe()
}

// text returns s, or "" for nil.
func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// hold adds n to the bytes held; n may be negative.
func (g *live) hold(n int64) {
	g.bytes += n
	g.memory.add(n)
}

func (g *live) assign(who *member, assignment []byte) {
	g.hold(int64(len(assignment) - len(who.assignment)))
	who.assignment = assignment
}

func (g *live) become(out coordinator.Out, s State) {
	g.state, g.sinceMs = s, out.Now().UnixMilli()
}

// metadata returns the group as its record will describe it, with the given
// assignments.
func (g *live) metadata(assignment func(*member) []byte) *metadata {
	meta := &metadata{protocolType: g.protocolType, generation: g.generation, protocol: g.protocol, sinceMs: g.sinceMs}
	if g.leader != "" {
		meta.leader = &g.leader
	}
	for _, who := range g.members {
		meta.members = append(meta.members, keptMember{
			id: who.id, instance: who.instance, clientID: who.clientID, clientHost: who.clientHost,
			rebalanceMs: who.rebalanceMs, sessionMs: who.sessionMs,
			subscription: who.metadataFor(text(g.protocol)), assignment: assignment(who),
		})
	}
	return meta
}

// supports reports whether a member with these protocols could be in the group.
func (g *live) supports(protocolType string, protocols []Protocol) bool {
	if g.state == Empty {
		return protocolType != "" && len(protocols) > 0
	}
	return protocolType == g.protocolType && slices.ContainsFunc(protocols, func(p Protocol) bool {
		return g.known[p.Name] == len(g.members)
	})
}

// vote selects the protocol that most members prefer, among those that all
// know. Of equals it selects the one that got the first vote.
func (g *live) vote() string {
	votes := map[string]int{}
	var best string
	for _, who := range g.members {
		for _, p := range who.protocols {
			if g.known[p.Name] == len(g.members) {
				votes[p.Name]++
				break
			}
		}
	}
	for _, who := range g.members {
		for _, p := range who.protocols {
			if n := votes[p.Name]; n > 0 && (best == "" || n > votes[best]) {
				best = p.Name
			}
		}
	}
	return best
}

// subscribe notes the topics to which the generation's members are subscribed.
func (g *live) subscribe() {
	g.topics = nil
	if g.protocolType != consumerType || g.protocol == nil && len(g.members) > 0 {
		return
	}
	topics := map[string]bool{}
	for _, who := range g.members {
		if !subscription(who.metadataFor(text(g.protocol)), topics) {
			return
		}
	}
	g.topics = topics
}

// subscribedTo reports whether a member may be consuming the topic.
func (g *live) subscribedTo(topic string) bool {
	if g.topics == nil {
		return g.protocolType == consumerType
	}
	return g.topics[topic]
}

// subscription adds the topics of a consumer's metadata. All its versions begin
// with a version i16 and a list of strings. It reports whether they could be
// read.
func subscription(metadata []byte, topics map[string]bool) bool {
	r := wire.NewReader(metadata)
	version := r.I16()
	for range r.Count(r.U32(), 2) {
		topics[r.String16()] = true
	}
	return r.Err() == nil && version >= 0
}

// rebalanceTimeout is how long the slowest member may take to join.
func (g *live) rebalanceTimeout() time.Duration {
	longest := int32(0)
	for _, who := range g.members {
		longest = max(longest, who.rebalanceMs)
	}
	return time.Duration(longest) * time.Millisecond
}

// allJoined reports whether the rebalance waits for no member.
func (g *live) allJoined() bool {
	return len(g.pending) == 0 && !slices.ContainsFunc(g.members, func(who *member) bool { return who.join == nil })
}

// validate makes Kafka's checks of a request from a member.
func (g *live) validate(id string, instance *string) (*member, error) {
	if instance != nil {
		switch who := g.static[*instance]; {
		case who == nil:
			return nil, ErrUnknownMember
		case who.id != id:
			return nil, ErrFencedInstance
		}
	}
	who := g.byID[id]
	if who == nil {
		return nil, ErrUnknownMember
	}
	return who, nil
}
