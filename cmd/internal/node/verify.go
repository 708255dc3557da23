package node

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/varvelog/varve/cmd/internal/health"
	"github.com/varvelog/varve/tiering/segment"
	"github.com/varvelog/varve/tiering/upkeep"
	"github.com/varvelog/varve/tiering/verify"
)

// newestUnverified is how many of a journal's newest objects are not verified in the
// background.
const newestUnverified = 256

// startVerify begins to read the stored records of a journal again and again.
func (n *node) startVerify(id uint32, j *dataJournal, closers *stack) {
	if n.cfg.VerifyRate == 0 {
		return
	}
	clock := upkeep.SystemClock{}
	b := verify.NewBackground(verify.BackgroundOptions{
		Store: n.store, Cluster: n.cluster.ID, State: j.state, Prove: j.leader.Prove, Page: n.readPage, Rate: n.cfg.VerifyRate, Newest: newestUnverified,
		Load: func() ([]byte, error) { return n.dir.Verified(id) },
		Save: func(b []byte) error { return n.dir.SaveVerified(id, b) },
		Now:  clock.Now, Sleep: clock.Sleep, Name: n.topicName,
		OnDamage: n.verifiedDamage,
		OnMended: func(object string) { n.board.Clear(health.Damage, verified(object)) },
		Log:      n.log.With("journal", id),
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.Run(ctx)
	}()
	closers.push(func() error {
		cancel()
		<-done
		return nil
	})
	j.metrics.verification(id, b)
}

// topicName is empty if the topic is not known.
func (n *node) topicName(id segment.ID) string {
	if t, ok := n.meta.TopicByID(id); ok {
		return t.Name
	}
	return ""
}

// verifiedDamage raises a trouble about an object that verification found damaged.
func (n *node) verifiedDamage(f verify.Finding) {
	var affects []string
	for _, a := range f.Affects {
		affects = append(affects, a.String())
	}
	const most = 5
	if len(affects) > most {
		affects = append(affects[:most], fmt.Sprintf("%d more", len(affects)-most))
	}
	text := f.What
	if len(affects) > 0 {
		text += "; it affects " + strings.Join(affects, ", ")
	}
	n.board.Raise(health.Damage, verified(f.Key), false, fmt.Sprintf("verification found damage: %s; %s", text, f.Hint))
}

// verified is the subject of a trouble that verification found. Readers that meet the same
// damage have a trouble of their own, which ends when they ask no more.
func verified(object string) string { return object + " (verified)" }

// verification shows how far a journal is verified.
func (m *metrics) verification(id uint32, b *verify.Background) {
	journal := journalLabel(id)
	m.gauge("varve_verify_oldest_seconds", "Age of the oldest stored byte that was not read by verification since.", journal,
		func() float64 { return max(time.Since(b.Oldest()).Seconds(), 0) })
	m.counter("varve_verify_read_bytes_total", "Bytes that verification read.", journal, func() float64 { return float64(b.Read()) })
	m.gauge("varve_verify_damaged_objects", "Objects that verification found damaged, and not restored since.", journal, func() float64 { return float64(b.Damaged()) })
}
