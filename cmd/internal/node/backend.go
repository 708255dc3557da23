package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/varvelog/varve/cmd/internal/health"
	"github.com/varvelog/varve/cmd/internal/kafka"
	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/fetch"
	"github.com/varvelog/varve/fetch/cache"
	"github.com/varvelog/varve/ingest"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/metadata/topicconfig"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/partlog"
)

// maxRequestBytes limits a request frame: Kafka's socket.request.max.bytes.
const maxRequestBytes = 100 << 20

func (n *node) kafkaConfig() kafka.Config {
	return kafka.Config{
		Listener: listener.Config{
			MaxConnections: n.cfg.MaxConnections, MaxConnectionsPerIP: n.cfg.MaxConnectionsPerAddress,
			MaxRequestBytes: maxRequestBytes, RequestMemory: n.cfg.RequestMemory,
		},
		AutoCreateTopics: n.cfg.AutoCreateTopics && n.writes(),
	}
}

// kafkaBackend returns this node as the backend of the Kafka front.
func (n *node) kafkaBackend(reader *fetch.Reader, groups kafka.Groups, closers *stack) kafka.Backend {
	b := kafka.Backend{
		ClusterID:     n.cluster.ID.Base64(),
		NodeID:        n.id.Load,
		Controller:    n.shownController,
		Brokers:       n.brokers,
		Members:       n.kafkaMembers,
		Topics:        n.topics,
		Placement:     n.placement,
		AwaitLeaders:  n.awaitLeaders,
		Steering:      n.steer,
		Deposed:       n.deposed,
		ReadsOnly:     func() bool { return !n.writes() && !n.inCluster() },
		Admin:         n.clientAdmin(closers),
		Control:       n.control,
		Appender:      n.appender,
		Throttle:      n.throttle,
		BrokerConfigs: func() []topicconfig.BrokerConfig { return topicconfig.Broker(n.brokerSettings()) },
		Status:        n.statusText,
		Store:         n.store.String(),
		Size:          n.size,
		Reader:        kafka.Reads(reader),
		Sessions:      n.fetchSessions(),
		Memory:        n.pool,
		Groups:        groups,
		Now:           time.Now,
		Metrics:       n.metrics,
		Log:           n.log,
	}
	if n.opened != nil {
		b.Open, b.Peers, b.Cluster, b.PeerGone = n.opened, n.member.peers.Door(), n.member.requests(), n.member.gone
	}
	return b
}

// sessionShare is the divisor for the part of the request memory that fetch sessions may
// take: the parts of the listener leave as much.
const sessionShare = 16

func (n *node) fetchSessions() *kafka.FetchSessions {
	sessions := kafka.NewFetchSessions(n.cfg.FetchSessions, n.cfg.RequestMemory/sessionShare, time.Now)
	n.metrics.fetchSessions(sessions.Use)
	return sessions
}

func (n *node) brokerSettings() topicconfig.BrokerSettings {
	return topicconfig.BrokerSettings{
		NodeID: n.id.Load(), Rack: n.cfg.Rack,
		Listeners:        n.listed("://", func(l *clientListener) string { return l.listener.Addr().String() }),
		Advertised:       n.listed("://", (*clientListener).shownAddress),
		InterBroker:      n.cfg.InterBroker,
		AutoCreateTopics: n.cfg.AutoCreateTopics, Partitions: n.cfg.DefaultPartitions, ReplicationFactor: 1,
		MaxRequestBytes: maxRequestBytes, OffsetsRetention: int32(n.cfg.OffsetsRetention / time.Minute),
		FetchSessions: int32(n.cfg.FetchSessions), Store: n.store.String(),
	}
}

// size returns how many bytes the batches of a partition take in the bucket.
func (n *node) size(t *metadata.Topic, partition int32) (int64, bool) {
	j := n.journals.get(t.Partitions[partition].Journal)
	if j == nil {
		return 0, false
	}
	return j.state.Bytes(partlog.Key{Topic: t.ID, Index: partition})
}

// appender returns the leader of a journal. One that is said to be deposed takes no records: it
// may not reach the bucket, and those that it acknowledges with acks=1 would be lost.
func (n *node) appender(id uint32) kafka.Appender {
	if j := n.journals.get(id); j != nil && j.leader != nil && !n.leaders.Leader(id).Doubted {
		return j.leader
	}
	return nil
}

// footerShare is the divisor for the part of the cache for footers: a segment
// of some MiB has a footer of some KiB.
const footerShare = 8

// lentShare is the divisor for the memory that slow readers keep beyond the cache and the
// records that they are sent.
const lentShare = 8

// newReader makes the read path over this node's journals.
func (n *node) newReader(closers *stack) (*fetch.Reader, error) {
	footers := max(n.cfg.CacheBytes/footerShare, 1<<20)
	c, err := cache.New(cache.Config{
		Store: n.store, Bytes: max(n.cfg.CacheBytes-footers, cache.MinBytes), FooterBytes: footers,
		ReplayLoads: n.cfg.ReplayGets, Hedge: n.cfg.HedgeGets, Pool: n.pool,
	})
	if err != nil {
		return nil, err
	}
	n.metrics.replays(c)
	closers.push(func() error { c.Close(); return nil })
	var reader *fetch.Reader
	pages := n.indexPages(closers, &reader)
	reader, err = fetch.NewReader(fetch.Config{
		Cluster: n.cluster.ID, Cache: c, Journal: n.journalView, Locate: n.locate, Pages: pages, Removed: n.removed.Page,
		ScanBytes: n.cfg.RequestMemory / 4,
		Pool:      n.pool, MaxLentBytes: n.cfg.CacheBytes / lentShare,
		OnDamaged:  n.damaged,
		OnRestored: func(object string) { n.board.Clear(health.Damage, object) },

		OnUndecodable: n.undecodable,
	})
	if err != nil {
		return nil, fmt.Errorf("open read path: %w", err)
	}
	n.metrics.damage(reader, n.removed)
	n.lookForPages(pages)
	return reader, nil
}

// damaged raises a trouble about an object that readers need.
func (n *node) damaged(d fetch.Damage) {
	n.board.Raise(health.Damage, d.Object, false, fmt.Sprintf("offsets %d to %d of %s cannot be read: %v; "+
		"restore the object from a copy of the bucket, and run \"varve bucket verify\", which names all other damage", d.First, d.Last, n.partitionName(d.Key), d.Err))
}

// undecodable logs a place with records that no consumer can read, as a client
// has written them. It is not a trouble of the node, which has stored them
// unchanged.
func (n *node) undecodable(d fetch.Damage) {
	n.log.Warn("a client wrote records that cannot be decoded: consumers stop there, look-ups by time skip them; "+
		"\"varve consume --skip-undecodable\" skips them",
		"partition", n.partitionName(d.Key), "first", d.First, "last", d.Last, "object", d.Object, "error", d.Err)
}

// partitionName returns the name of a partition for people.
func (n *node) partitionName(k partlog.Key) string {
	if t, ok := n.meta.TopicByID(k.Topic); ok {
		return fmt.Sprintf("%s/%d", t.Name, k.Index)
	}
	return fmt.Sprintf("topic %s/%d", k.Topic.Base64(), k.Index)
}

func (n *node) journalView(id uint32) (*fetch.JournalView, error) {
	j := n.journals.get(id)
	switch {
	case j == nil && n.writes() && n.inCluster():
		return nil, fmt.Errorf("%w: its journal is not led here", fetch.ErrNotLeader)
	case j == nil:
		return nil, fmt.Errorf("%w: its journal is not followed here", fetch.ErrNotReady)
	case j.lost != nil:
		return &fetch.JournalView{State: j.state, Head: j.prover, Lost: true, Confirm: j.prover.Prove}, nil
	case j.leader == nil:
		return &fetch.JournalView{State: j.state, Head: j.prover, Await: func() func() { return j.pace.Await(time.Now) }}, nil
	}
	led := ledHead{j.leader}
	return &fetch.JournalView{State: j.state, Head: led, Confirm: led.Confirm, Settle: led.Settle, Tail: j.recent, AppendEnd: j.leader.AppendEnd}, nil
}

// lostHead is that of a journal which this node led, and does not lead any more: its clients
// are to ask another node.
type lostHead struct{}

func (lostHead) Prove(context.Context) error { return fetch.ErrNotLeader }

// ledHead is a leader in the form that package fetch uses.
type ledHead struct{ leader *ingest.Leader }

func (h ledHead) Prove(ctx context.Context) error   { return notLeader(h.leader.Prove(ctx)) }
func (h ledHead) Confirm(ctx context.Context) error { return notLeader(h.leader.Confirm(ctx)) }

func (h ledHead) Settle(ctx context.Context) error { return notLeader(h.leader.Settle(ctx)) }

func notLeader(err error) error {
	if errors.Is(err, journal.ErrEnded) || errors.Is(err, ingest.ErrNotLeader) {
		return fmt.Errorf("%w: %w", fetch.ErrNotLeader, err)
	}
	return err
}

func (n *node) locate(k partlog.Key) (journal uint32, ok bool) {
	t, ok := n.meta.TopicByID(k.Topic)
	if !ok || k.Index < 0 || int(k.Index) >= len(t.Partitions) {
		return 0, false
	}
	return t.Partitions[k.Index].Journal, true
}
