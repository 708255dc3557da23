package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	commitEvery    = 2 * time.Second // of the records printed since the last commit
	heartbeatEvery = 3 * time.Second
	leaveLimit     = 10 * time.Second // for the last commit, and for leaving
)

// membership is a printer's membership in a group: it knows which partitions
// are this member's, and commits no record before it is printed.
type membership struct {
	group string
	at    from         // where the group has no committed offset
	ends  spans        // of all partitions, with --until-end; nil otherwise
	admin *kadm.Client // for offsets

	mu   sync.Mutex
	mine spans // the printer's too
	last []*kgo.Record
}

// consumeGroup prints the records of the partitions that a group assigns to a
// new member.
func consumeGroup(ctx context.Context, env *Env, o *consumeOptions, topics []string, at from) error {
	lookup, err := connect(ctx, env, o.bootstrap)
	if err != nil {
		return err
	}
	defer lookup.Close()
	all, err := resolve(ctx, env, lookup, topics, nil, from{kind: fromEarliest}, o.untilEnd)
	if err != nil {
		return interrupted(ctx, err)
	}
	m := &membership{group: o.group, at: at, admin: kadm.NewClient(lookup), mine: spans{}}
	p := o.printer(env, m.mine)
	p.members = m
	if o.untilEnd {
		m.ends = all
	}
	client, err := connect(ctx, env, o.bootstrap, append(readerOptions(),
		kgo.ConsumerGroup(o.group),
		kgo.SessionTimeout(o.session),
		kgo.HeartbeatInterval(min(heartbeatEvery, o.session/3)),
		kgo.ConsumeTopics(topics...),
		kgo.Balancers(kgo.CooperativeStickyBalancer()),
		kgo.BlockRebalanceOnPoll(),
		kgo.AutoCommitMarks(),
		kgo.AutoCommitInterval(commitEvery),
		kgo.AdjustFetchOffsetsFn(m.assigned),
		kgo.OnPartitionsRevoked(m.revoked),
		kgo.OnPartitionsLost(m.lost),
	)...)
	if err != nil {
		return err
	}
	defer client.CloseAllowingRebalance()
	err = p.run(ctx, client, o.untilEnd)
	leaveErr := m.leave(client)
	if errors.Is(err, errStdoutClosed) && leaveErr != nil {
		err = nil // this is no success any more
	}
	return errors.Join(err, leaveErr)
}

// groupError ends the command: joining again would lead to it again.
type groupError struct{ err error }

func (e *groupError) Error() string { return e.err.Error() }
func (e *groupError) Unwrap() error { return e.err }

// rejoins reports errors that only mean that the group has changed.
func rejoins(err *kerr.Error) bool {
	return slices.Contains([]*kerr.Error{kerr.RebalanceInProgress, kerr.IllegalGeneration, kerr.UnknownMemberID, kerr.MemberIDRequired}, err)
}

// assigned takes the partitions that this member reads from now on, with the
// committed offsets. It returns where to begin, also for partitions without
// one.
func (m *membership) assigned(ctx context.Context, committed map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	for topic, byPartition := range committed {
		partitions := []int32{}
		for p := range byPartition {
			partitions = append(partitions, p)
		}
		begin, err := resolveTopic(ctx, m.admin, topic, partitions, from{kind: fromEarliest}, true)
		if err != nil {
			return nil, fmt.Errorf("find offsets of topic %q: %w", topic, err)
		}
		fresh := begin
		if m.at.kind != fromEarliest {
			if fresh, err = resolveTopic(ctx, m.admin, topic, partitions, m.at, true); err != nil {
				return nil, &groupError{err}
			}
		}
		for p, offset := range byPartition {
			kept := offset.EpochOffset().Offset
			next := kept
			if next < 0 {
				next = fresh[p].next
			}
			// Records deleted since then cannot be read; an offset that never
			// was is a mistake.
			next = max(next, begin[p].next)
			if next > begin[p].end {
				return nil, &groupError{fmt.Errorf("its committed offset %d of %s/%d is greater than the end, %d; set it with \"varve group reset-offsets\"",
					next, topic, p, begin[p].end)}
			}
			if next != kept {
				byPartition[p] = kgo.NewOffset().At(next)
			}
			m.add(topic, p, next)
		}
	}
	return committed, nil
}

func (m *membership) add(topic string, partition int32, next int64) {
	s := &span{next: next, end: -1}
	if m.ends != nil {
		s.end = next // a partition that is newer than the command
		if e := m.ends[topic][partition]; e != nil {
			s.end = e.end
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mine[topic] == nil {
		m.mine[topic] = map[int32]*span{}
	}
	m.mine[topic][partition] = s
}

// reached notes a record that is being printed. The caller holds mu.
func (m *membership) reached(r *kgo.Record) {
	if n := len(m.last); n > 0 && m.last[n-1].Topic == r.Topic && m.last[n-1].Partition == r.Partition {
		m.last[n-1] = r
		return
	}
	m.last = append(m.last, r)
}

// printed lets the client commit the records that were reached, unless writing
// them failed, and lets the group rebalance.
func (m *membership) printed(client *kgo.Client, err error) {
	m.mu.Lock()
	if err == nil {
		client.MarkCommitRecords(m.last...)
	}
	m.last = m.last[:0]
	m.mu.Unlock()
	client.AllowRebalance()
}

// revoked commits the printed records of partitions that go to other members.
func (m *membership) revoked(ctx context.Context, client *kgo.Client, partitions map[string][]int32) {
	ctx, cancel := context.WithTimeout(ctx, leaveLimit)
	defer cancel()
	// Where this fails, the next reader prints the records again: that is allowed.
	_ = client.CommitMarkedOffsets(ctx)
	m.lost(ctx, client, partitions)
}

func (m *membership) lost(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for topic, numbers := range partitions {
		for _, p := range numbers {
			delete(m.mine[topic], p)
		}
		if len(m.mine[topic]) == 0 {
			delete(m.mine, topic)
		}
	}
}

// leave commits the printed records, and gives the partitions to the other
// members.
func (m *membership) leave(client *kgo.Client) error {
	ctx, cancel := context.WithTimeout(context.Background(), leaveLimit)
	defer cancel()
	client.AllowRebalance()
	if err := client.CommitMarkedOffsets(ctx); err != nil {
		return fmt.Errorf("the offsets of the last printed records were not committed, so group %q will read them again: %w", m.group, err)
	}
	if err := client.LeaveGroupContext(ctx); err != nil {
		return fmt.Errorf("leave group %q, which notices it only when the session has timed out: %w", m.group, err)
	}
	return nil
}
