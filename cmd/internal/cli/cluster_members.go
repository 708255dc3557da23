package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/varvelog/varve/cmd/internal/kafka"
	"github.com/varvelog/varve/cmd/internal/status"
)

// unheardLimit is how old the controller's last answer to a node may be.
const unheardLimit = 10 * time.Second

// clusterJournal is a journal of a cluster of several nodes.
type clusterJournal struct {
	Journal    uint32  `json:"journal"`
	Leader     *int32  `json:"leader"` // null: none is known
	Epoch      *uint32 `json:"epoch"`
	Home       *int32  `json:"home"` // null for the metadata journal
	ToLead     *int32  `json:"node"` // that is to lead it; null: none
	Why        string  `json:"why"`  // of the assignment
	Head       *uint64 `json:"head"` // by its leader; the rest of the fields, too
	Lag        *uint64 `json:"lag"`  // of the slowest node that follows it; null: none is known
	Partitions *int    `json:"partitions"`
	Pending    *int64  `json:"pending_bytes"`
	Unmerged   *int64  `json:"unmerged_bytes"`
	SetAside   *int    `json:"set_aside_records"`
}

// askBrokers asks the brokers of a cluster for their status, over Kafka's protocol, unless
// they have answered over HTTP. Other brokers than varve's do not answer.
func askBrokers(ctx context.Context, client *kgo.Client, s *clusterStatus, over answers) answers {
	known := map[int32]bool{}
	for _, a := range over {
		if a.err == nil && a.node.ID != nil && a.node.Cluster != nil && a.node.Cluster.ID == s.Cluster {
			known[*a.node.ID] = true
		}
	}
	var left []int32
	for _, n := range s.Nodes {
		if !known[*n.ID] {
			left = append(left, *n.ID)
		}
	}
	found := make([]*status.Node, len(left))
	done := make(chan struct{})
	for i, id := range left {
		go func() {
			found[i] = askBroker(ctx, client, id)
			done <- struct{}{}
		}()
	}
	for range left {
		<-done
	}
	var list answers
	for _, n := range found {
		if n != nil {
			list = append(list, answer{node: *n})
		}
	}
	return list
}

// askBroker returns the status of a broker, nil if it answers none.
func askBroker(ctx context.Context, client *kgo.Client, id int32) *status.Node {
	ctx, cancel := context.WithTimeout(ctx, statusLimit)
	defer cancel()
	name := strconv.Itoa(int(id))
	configs, err := brokerConfigs(client.Broker(int(id)).Request(ctx, describeBrokers([]string{kafka.StatusConfig}, name)))
	var n status.Node
	if err != nil || json.Unmarshal([]byte(configs[name][kafka.StatusConfig]), &n) != nil || n.Cluster == nil || n.ID == nil {
		return nil
	}
	return &n
}

// addMembers completes a cluster of several nodes by the node that has read most of journal 0,
// and adds the troubles that it shows.
func (s *clusterStatus) addMembers() {
	for _, n := range s.Nodes {
		if n.Status != nil && n.Status.Members != nil && (s.Members == nil || n.Status.Members.Seq > s.Members.Seq) {
			s.Members = n.Status.Members
		}
	}
	if s.Members == nil {
		return
	}
	s.Controller = s.Members.Controller
	if s.Controller == nil {
		s.Troubles = append(s.Troubles, "no node is known to be the controller: nothing can be administered, and nodes that die are not replaced")
	}
	for _, m := range s.Members.Nodes {
		s.addMember(m)
	}
	slices.SortStableFunc(s.Nodes, func(a, b clusterNode) int {
		if a.ID == nil || b.ID == nil {
			return 0
		}
		return cmp.Compare(*a.ID, *b.ID)
	})
	s.Journals = append(s.Journals, s.journal(status.Assigned{Leader: s.Controller}))
	for _, a := range s.Members.Journals {
		j := s.journal(a)
		s.Journals = append(s.Journals, j)
		switch {
		case a.Why == "parked":
			s.Troubles = append(s.Troubles, fmt.Sprintf("journal %d is parked: %d leaders in a row died soon after they took it", a.Journal, a.Deaths))
		case a.Leader == nil:
			s.Troubles = append(s.Troubles, fmt.Sprintf("journal %d has no leader", a.Journal))
		}
	}
	for _, n := range s.Nodes {
		if n.Status == nil || n.Status.Members == nil || n.Status.Members.Answered == nil {
			continue
		}
		if ago := s.asked.Sub(*n.Status.Members.Answered); ago > unheardLimit {
			s.Troubles = append(s.Troubles, fmt.Sprintf("node %s has had no answer of the controller for %v", n.name(), ago.Round(time.Second)))
		}
	}
}

// addMember adds a node by journal 0 to its row, or as a new one.
func (s *clusterStatus) addMember(m status.Member) {
	if m.State == "removed" {
		return
	}
	i := slices.IndexFunc(s.Nodes, func(n clusterNode) bool { return n.ID != nil && *n.ID == m.ID })
	if i < 0 {
		s.Nodes = append(s.Nodes, clusterNode{ID: &m.ID})
		i = len(s.Nodes) - 1
	}
	n := &s.Nodes[i]
	n.Member, n.Kafka, n.Rack = &m, cmp.Or(n.Kafka, m.Kafka), cmp.Or(n.Rack, m.Rack)
	switch {
	case m.State != "serving": // an operator has drained it, or it ends
	case m.Fenced != "no":
		text := fmt.Sprintf("node %d does not answer (%s)", m.ID, m.Fenced)
		if m.FencedSince != nil {
			text += ", since " + m.FencedSince.UTC().Format(time.RFC3339)
		}
		s.Troubles = append(s.Troubles, text+": start it again, or remove it with \"varve node remove\"")
	case n.Status == nil:
		s.Troubles = append(s.Troubles, fmt.Sprintf("node %d does not answer this command at %s", m.ID, m.Kafka))
	}
}

// journal describes a journal, by its leader if that has answered.
func (s *clusterStatus) journal(a status.Assigned) clusterJournal {
	j := clusterJournal{Journal: a.Journal, Leader: a.Leader, Home: a.Home, ToLead: a.Node, Why: a.Why}
	if a.Epoch > 0 {
		j.Epoch = &a.Epoch
	}
	var slowest *uint64
	for i := range s.Nodes {
		n := s.Nodes[i].Status
		if n == nil {
			continue
		}
		for _, r := range n.Journals {
			switch {
			case r.Journal != a.Journal:
			case r.Leads && a.Leader != nil && n.ID != nil && *n.ID == *a.Leader:
				j.Head, j.Pending, j.Unmerged, j.SetAside = &r.Head, r.Pending, r.Unmerged, r.SetAside
				if a.Journal > 0 {
					j.Partitions = &r.Partitions
				} else {
					j.Epoch = r.Epoch
				}
			case !r.Leads && (slowest == nil || r.Head < *slowest):
				slowest = &r.Head
			}
		}
	}
	if j.Head != nil && slowest != nil {
		lag := *j.Head - min(*slowest, *j.Head)
		j.Lag = &lag
	}
	return j
}

// behind is how many objects of journal 0 a node has yet to read; false if not known.
func (s *clusterStatus) behind(n *clusterNode) (uint64, bool) {
	if s.Members == nil || n.Status == nil || n.Status.Members == nil {
		return 0, false
	}
	return s.Members.Seq - n.Status.Members.Seq, true
}
