package main

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// member is one client of the group. It processes and commits its records.
type member struct {
	crew   *crew
	name   string
	line   line
	client *kgo.Client
	ctx    context.Context
	die    context.CancelFunc
}

func newMember(c *crew, name string) (*member, error) {
	m := &member{crew: c, name: name, line: line{conns: map[net.Conn]struct{}{}}}
	var err error
	m.client, err = newClient(c.cluster.clients,
		kgo.ClientID(name), kgo.Dialer(m.line.dial),
		kgo.ConsumerGroup(workers), kgo.ConsumeTopics(jobs), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.SessionTimeout(min(maxSession, c.duration/6)), kgo.HeartbeatInterval(min(time.Second, c.duration/40)), kgo.RebalanceTimeout(rejoinLimit),
		kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(), kgo.FetchMaxWait(500*time.Millisecond),
	)
	m.ctx, m.die = context.WithCancel(context.Background())
	return m, err
}

// kill ends the member as the death of its process would: it sends nothing
// more. It returns false if the member was dead before.
func (m *member) kill() bool {
	if m.ctx.Err() != nil {
		return false
	}
	m.line.cut()
	m.die()
	return true
}

// work goes on until the member is killed or ctx ends; then it leaves in good order.
func (m *member) work(ctx context.Context) {
	stop := context.AfterFunc(ctx, m.die)
	defer stop()
	for m.ctx.Err() == nil {
		m.turn()
	}
	m.client.CloseAllowingRebalance()
}

const maxTaken = 1000 // records that a member processes before it commits them

// turn processes the next records, and commits them. It does not repeat a
// commit that is refused or has an unknown outcome: the next member of the
// partitions processes the records again, or goes on.
func (m *member) turn() {
	records := m.client.PollRecords(m.ctx, maxTaken).Records()
	defer m.client.AllowRebalance()
	if len(records) == 0 || m.ctx.Err() != nil {
		return
	}
	next := map[int32]int64{}
	for _, r := range records {
		m.crew.group.Processed(r.Partition, r.Offset)
		next[r.Partition] = r.Offset + 1
	}
	ctx, cancel := context.WithTimeout(m.ctx, rejoinLimit/2)
	defer cancel()
	if err := m.client.CommitRecords(ctx, records...); err != nil {
		m.crew.notCommitted(m, err)
		return
	}
	for partition, offset := range next {
		m.crew.group.Committed(m.name, partition, offset)
	}
}

// line is a client's connections, which can be cut for good.
type line struct {
	mu    sync.Mutex
	dead  bool
	conns map[net.Conn]struct{}
}

var errDead = errors.New("this member is dead")

func (l *line) dial(ctx context.Context, network, address string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead {
		return nil, errors.Join(errDead, conn.Close())
	}
	l.conns[conn] = struct{}{}
	return conn, nil
}

func (l *line) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dead = true
	for conn := range l.conns {
		conn.Close() // it may be closed already
	}
}
