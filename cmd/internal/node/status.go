package node

import (
	"encoding/json"
	"time"

	"github.com/varvelog/varve/cmd/internal/bucket"
	"github.com/varvelog/varve/cmd/internal/status"
	"github.com/varvelog/varve/cmd/internal/version"
	"github.com/varvelog/varve/tiering/partlog"
)

// status is the answer to GET /status. It includes the node's findings at its
// start only once the node serves clients: after that they do not change.
func (n *node) status() status.Node {
	busy := n.board.State()
	s := status.Node{
		Version: version.String(), State: busy, Rack: n.cfg.Rack, StartedAt: n.started,
		Troubles: n.board.Troubles(), Journals: []status.Journal{},
	}
	for _, r := range n.cfg.Roles {
		s.Roles = append(s.Roles, string(r))
	}
	if busy != "" {
		return s
	}
	s.State, s.ID = status.Ready, new(n.id.Load())
	if !n.board.Ready() {
		s.State = status.Troubled
	}
	s.Cluster = &status.Cluster{ID: n.cluster.ID.Base64(), CreatedAt: time.UnixMilli(n.cluster.CreatedMs).UTC()}
	s.Kafka, s.Bucket = n.listeners[0].shownAddress(), bucket.Redact(n.store.String())
	s.Versioning, s.ObjectLock, s.Unread = string(n.policy.Versioning), n.policy.Lock, len(n.policy.Unread)
	s.UUID, s.Incarnation = n.dir.Node().String(), n.incarnation.String()
	s.Announcing, s.FeatureLevel, s.TopicsGoing = n.bus.Stats().Connected, n.meta.Level(), len(n.meta.Deleting())
	s.Members = n.members()
	s.Journals = append(s.Journals, status.Journal{Leads: n.controller != nil && n.controller.Leads(), Head: n.meta.Head(), Epoch: n.epoch(0)})
	for _, id := range n.meta.Journals() {
		if j := n.journals.get(id); j != nil {
			s.Journals = append(s.Journals, n.journalStatus(id, j))
		}
	}
	return s
}

// statusText is the status for Kafka clients that ask for it.
func (n *node) statusText() string {
	b, err := json.Marshal(n.status())
	if err != nil {
		return "" // nothing in it cannot be encoded
	}
	return string(b)
}

// deletedTopics is the answer to GET /topics/deleted.
func (n *node) deletedTopics() []status.DeletedTopic {
	topics := []status.DeletedTopic{}
	for _, t := range n.meta.Deleting() {
		if t.DeletedMs == 0 {
			continue // it cannot be restored
		}
		at := time.UnixMilli(t.DeletedMs).UTC()
		topics = append(topics, status.DeletedTopic{
			Name: t.Name, ID: t.ID.Base64(), Partitions: len(t.Partitions), DeletedAt: at, PurgedAfter: at.Add(n.cfg.DeleteGrace),
		})
	}
	return topics
}

func (n *node) journalStatus(id uint32, j *dataJournal) status.Journal {
	s := status.Journal{Journal: id, Leads: j.leader != nil, Head: j.state.Head(), Epoch: n.epoch(id)}
	j.state.Partitions(func(_ partlog.Key, v partlog.View) {
		if !v.Sealed {
			s.Partitions++
		}
	})
	if j.leader != nil {
		pending, aside := j.leader.Pending(), j.leader.SetAside()
		s.Pending, s.SetAside = &pending, &aside
	}
	if j.merger != nil {
		unmerged := j.merger.Debt().Bytes
		s.Unmerged = &unmerged
	}
	if j.deleter != nil && n.policy.Retains() {
		retained := j.deleter.Retained()
		s.Retained = &retained
	}
	return s
}

// epoch returns the epoch of the last object of a journal applied here; nil if
// there is none.
func (n *node) epoch(id uint32) *uint32 {
	if epoch, known := n.rivals.Epoch(id); known {
		return &epoch
	}
	return nil
}
