package node

import (
	"fmt"
	"slices"
	"time"

	"github.com/varvelog/varve/cmd/internal/status"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/tiering/journal"
)

// Moves implements memberFacts.
func (m *member) Moves() (moves []status.Move) {
	c := m.node.meta.Cluster()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.seats {
		if move, ok := s.move(c); ok {
			moves = append(moves, move)
		}
	}
	slices.SortFunc(moves, func(a, b status.Move) int { return int(a.Journal) - int(b.Journal) })
	return moves
}

// move describes a journal that is about to be led here, or no more; false if it rests.
func (s *seat) move(c *metadata.Cluster) (status.Move, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	move := status.Move{Journal: s.id, Taking: true, Since: s.since.UTC()}
	switch {
	case s.stage == journal.StageTakesOver:
		move.Waits = "until its fence is settled"
	case s.stage == journal.StageFollows:
		move.Waits = "until the node that leads it has handed it over, or is known to be gone"
	case s.to.IsZero():
		return status.Move{}, false
	default:
		move.Taking, move.Since = false, s.handsOn.UTC()
		move.Waits = "until all acknowledged records are in the bucket"
		if n := c.Node(s.to); n != nil {
			move.Waits = fmt.Sprintf("%s; it goes to node %d", move.Waits, n.ID)
		}
	}
	move.Since = move.Since.Round(time.Millisecond)
	return move, true
}
