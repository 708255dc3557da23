package membership

import (
	"time"

	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/tiering/segment"
)

// proveAfter is how long a leader may answer for itself without a commit or a proof.
const proveAfter = 5 * time.Second

// View is a node's knowledge of the leaders of journals. Claims come in heartbeats, in
// announcements and from the node's own journals. One of another node is believed after its
// object was read, and the answers about a journal never go back to a lower epoch.
type View struct {
	self     segment.ID
	cluster  *metadata.Cluster
	journals map[uint32]*seen
}

// seen is the knowledge about one journal.
type seen struct {
	leader  Leader    // believed; of self only while it leads
	ended   bool      // the leadership of the epoch is over
	claims  [2]Leader // with higher epochs, to be checked, by source
	checks  bool      // a check is under way
	highest uint32    // epoch that was read or answered
	proved  time.Time
	doubt   doubt
}

// doubt is that of a node about its own leadership.
type doubt struct {
	since   time.Time // a node has claimed a later leadership; zero: none did
	epoch   uint32    // of that
	refuted uint32    // claims up to this epoch were false
}

// Source is where a claim comes from.
type Source uint8

// The sources. Announcements may be forged, and however many they are, they must not keep a
// claim of a node from its check.
const (
	FromNode Source = iota // a heartbeat, an answer or a reply
	FromAnnouncement
)

// Check asks to read the object that a claim names. It counts if it is that object and no
// fence, of that epoch and node; View.Checked follows.
type Check struct{ Leader }

func (Check) action() {}

// Known is the answer about the leader of a journal.
type Known struct {
	Node  segment.ID // zero: none is known, error LEADER_NOT_AVAILABLE
	Epoch uint32     // the last one known, also without a leader
	Prove bool       // it is this node: prove the head before an answer that depends on that

	// Doubted: it is this node as far as it knows, and another one has claimed a later leadership.
	// Node is zero then, and the journal takes no records until its head is proved.
	Doubted bool
}

// NewView returns a View that knows no leader.
func NewView(self segment.ID) *View {
	return &View{self: self, cluster: &metadata.Cluster{}, journals: map[uint32]*seen{}}
}

func (v *View) of(journal uint32) *seen {
	s := v.journals[journal]
	if s == nil {
		s = &seen{}
		v.journals[journal] = s
	}
	return s
}

// Applied takes a new state of journal 0.
func (v *View) Applied(c *metadata.Cluster) { v.cluster = c }

// Claimed takes a claim, and returns the check that it needs. A node that does not reach the
// bucket cannot check it. So one of a node about a journal that is led here has that doubted.
func (v *View) Claimed(now time.Time, from Source, l Leader) []Action {
	s := v.of(l.Journal)
	if from == FromNode && l.Node != v.self && s.leader.Node == v.self && !s.ended && l.Epoch > s.leader.Epoch {
		s.doubt.claimed(now, l.Epoch)
	}
	if l.Epoch == s.leader.Epoch && l.Node == s.leader.Node {
		s.leader.Head = max(s.leader.Head, l.Head)
	}
	if l.Epoch == 0 || l.Settled.Seq == 0 || l.Node.IsZero() || l.Epoch <= s.leader.Epoch || l.Epoch < s.highest || l.Node == v.self {
		return nil
	}
	if l.Epoch > s.claims[from].Epoch {
		s.claims[from] = l
	}
	return s.check()
}

func (d *doubt) claimed(now time.Time, epoch uint32) {
	if epoch > max(d.epoch, d.refuted) {
		d.since, d.epoch = now, epoch
	}
}

// proved notes a proof that began at a time: claims of before are false.
func (d *doubt) proved(began time.Time) {
	if !began.Before(d.since) {
		*d = doubt{refuted: max(d.refuted, d.epoch)}
	}
}

// check begins the next check, of a claim of a node first. A claim that turns out to be
// false is made again by the next heartbeat, if that was too early.
func (s *seen) check() []Action {
	for i, l := range s.claims {
		if s.checks || l.Epoch <= s.leader.Epoch || l.Epoch < s.highest {
			continue
		}
		s.checks, s.claims[i] = true, Leader{}
		return []Action{Check{l}}
	}
	return nil
}

// Checked is the end of a Check: ok if the claim is true, as far as the store answered. It
// reports whether the leader is believed now, and returns the next check.
func (v *View) Checked(l Leader, ok bool) (believed bool, next []Action) {
	s := v.of(l.Journal)
	s.checks = false
	if ok && l.Epoch > s.leader.Epoch && l.Epoch >= s.highest {
		s.leader, s.ended, s.highest = l, false, l.Epoch
		believed = true
	}
	return believed, s.check()
}

// Read notes an epoch that was read in a journal that is followed: leaderships of lower ones
// are over.
func (v *View) Read(journal, epoch uint32) {
	s := v.of(journal)
	s.highest = max(s.highest, epoch)
	if s.leader.Epoch < epoch {
		s.ended = true
	}
}

// Leads notes that this node leads a journal. It has settled it, so no check is needed.
func (v *View) Leads(now time.Time, l Leader) {
	s := v.of(l.Journal)
	if l.Epoch < s.highest {
		return
	}
	s.leader, s.ended, s.highest, s.proved, s.doubt = l, false, l.Epoch, now, doubt{}
}

// Proved notes a commit or a proof of this node's leadership, at the time at which its
// request began: the answer may have waited for the process. A proof that fails changes
// nothing: only a higher epoch that was read, or journal 0, ends a leadership.
func (v *View) Proved(began time.Time, journal uint32) {
	s := v.of(journal)
	s.doubt.proved(began)
	if began.After(s.proved) {
		s.proved = began
	}
}

// Ended notes that the leadership of an epoch is over.
func (v *View) Ended(journal, epoch uint32) {
	if s := v.of(journal); s.leader.Epoch == epoch {
		s.ended = true
	}
}

// Leader returns the answer about a journal.
func (v *View) Leader(now time.Time, journal uint32) Known {
	s := v.of(journal)
	k := Known{Epoch: max(s.leader.Epoch, s.highest)}
	if s.ended || s.leader.Node.IsZero() || s.leader.Epoch < s.highest || !v.counted(s.leader.Node) {
		s.highest = k.Epoch
		return k
	}
	k.Node = s.leader.Node
	if k.Node == v.self && !s.doubt.since.IsZero() {
		return Known{Epoch: k.Epoch, Doubted: true}
	}
	k.Prove = k.Node == v.self && now.Sub(s.proved) >= proveAfter
	return k
}

// counted reports whether journal 0 counts on a node. It may know of none yet.
func (v *View) counted(node segment.ID) bool {
	n := v.cluster.Node(node)
	return node == v.self && (n == nil || n.State != metadata.StateRemoved) || n != nil && n.Lives()
}

// Leaders returns the leaders that are believed, by journal, for answers to heartbeats.
func (v *View) Leaders() (all []Leader) {
	for _, id := range sortedKeys(v.journals) {
		if s := v.journals[id]; !s.ended && s.leader.Epoch > 0 && s.leader.Epoch >= s.highest {
			all = append(all, s.leader)
		}
	}
	return all
}
