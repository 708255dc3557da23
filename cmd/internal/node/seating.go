package node

import (
	"context"
	"time"

	"github.com/varvelog/varve/metadata/membership"
	"github.com/varvelog/varve/metadata/membership/drive"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/segment"
)

// This part of seat answers other goroutines.

func (s *seat) enters(stage journal.Stage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stage = stage
}

// begun: the journal is led here, and accepts requests. It may be lost already: the last fence
// is of another node then, and its epoch is none of this one.
func (s *seat) begun() {
	s.mu.Lock()
	leads := s.claim.own()
	if leads {
		s.stage, s.led, s.ledEpoch = journal.StageLeads, true, s.claim.epoch
	}
	l := s.claim.leader(s.id, s.m.node.dir.Node())
	s.mu.Unlock()
	if leads {
		s.m.led(l)
	}
	s.m.mu.Lock()
	leaves := s.m.leaves
	s.m.mu.Unlock()
	if leaves {
		s.leave()
	}
}

// leave has records acknowledged once they are committed: this node is to end.
func (s *seat) leave() {
	if leader := s.m.node.journals.led(s.id); leader != nil {
		leader.Leave()
	}
}

// ended: the life of the journal on this node is over, and the leadership if there was one. A
// new wait begins with that, and not with each try to take the journal: the controller gives
// a journal that is not taken for long to another node.
func (s *seat) ended() {
	s.mu.Lock()
	led, epoch, to := s.led, s.ledEpoch, s.to
	if led {
		s.since = time.Now()
	}
	s.stage, s.led, s.life, s.to, s.declined = journal.StageFollows, false, nil, segment.ID{}, 0
	s.mu.Unlock()
	if led {
		why := ""
		if !to.IsZero() {
			why = "handed over"
		}
		s.m.node.events.Ended(s.id, s.m.node.dir.Node(), epoch, why)
		s.m.post(func(d *drive.Driver) { d.Ended(s.id, epoch) })
	}
}

// note takes an object of the journal.
func (s *seat) note(h *segment.Header) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.claim.note(h, s.m.node.dir.Node())
}

func (s *seat) leads() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stage == journal.StageLeads
}

func (s *seat) report() membership.Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := membership.Report{
		Leader: s.claim.leader(s.id, s.m.node.dir.Node()), Leads: s.stage == journal.StageLeads, Declined: s.declined,
	}
	r.Idle, r.Blocked = s.watch.state()
	if !r.Leads {
		r.Taking = time.Since(s.since) + 1
	}
	r.Reconciled, _ = s.m.node.reports.Reconciled(s.id)
	if s.life != nil {
		r.Load = uint64(s.life.written.Rate())
	}
	return r
}

// handOver answers a node that is to lead a journal of this one, and begins to hand it over.
func (m *member) handOver(_ context.Context, from segment.ID, want membership.HandOver) (membership.Handing, error) {
	s := m.seat(want.Journal)
	if s == nil {
		return membership.Denies, nil
	}
	c := m.node.meta.Cluster()
	if a := c.Assignment(want.Journal); a == nil || a.Number < want.Number {
		m.node.controller.Poke() // the node that asks has read more
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.stage == journal.StageFollows:
		return membership.Denies, nil
	case s.stage != journal.StageLeads || !membership.HandsOver(c, m.node.dir.Node(), want.Journal, want.Number, from) || s.declined == want.Number:
		return membership.Keeps, nil
	case s.to.IsZero():
		s.to, s.handsOn = from, time.Now()
		s.handing.Go(func() { s.hand(journal.End{To: from, Assignment: want.Number}) })
	}
	return membership.Hands, nil
}

// hand ends the leadership, or notes that it goes on.
func (s *seat) hand(e journal.End) {
	ctx, cancel := context.WithTimeout(s.m.ctx, handOverLimit)
	defer cancel()
	s.mu.Lock()
	l := s.life
	s.mu.Unlock()
	if l == nil {
		return
	}
	s.handed(e, l.handOver(ctx, e))
}

// handed notes the outcome of a hand-over. After one that was done ended follows, and names it.
func (s *seat) handed(e journal.End, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.to, s.declined = segment.ID{}, e.Assignment
		s.m.node.log.Warn("the journal was not handed over, this node goes on leading it", "journal", s.id, "error", err)
	}
}
