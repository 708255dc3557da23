package merge

import (
	"context"
	"sync"

	"github.com/varvelog/varve/tiering/partlog"
)

// Merger merges one journal under one leadership: it plans jobs and carries them out. One
// goroutine calls Run; the other methods may be called from any.
type Merger struct {
	opt      Options
	planner  *Planner
	executor *Executor

	mu   sync.Mutex
	debt Debt
}

// NewMerger returns a Merger whose folder on disk is empty.
func NewMerger(opt Options) (*Merger, error) {
	x, err := NewExecutor(opt)
	if err != nil {
		return nil, err
	}
	return &Merger{opt: opt, planner: NewPlanner(opt.Config), executor: x}, nil
}

// Run carries out the next job, if one is due, and reports whether there may be another.
// Each call plans on the state as it is: all that was carried before is applied.
func (m *Merger) Run(ctx context.Context) (again bool, err error) {
	m.executor.forgetGone()
	job := m.plan()
	if job == nil {
		return false, nil
	}
	done, err := m.executor.Run(ctx, job)
	if err == nil {
		m.planner.Done(job)
	}
	return done && err == nil, err
}

// plan looks at the partitions, and returns the next job.
func (m *Merger) plan() *Job {
	now := m.opt.Clock.Now()
	m.planner.Begin(m.opt.State.Head(), now)
	m.opt.State.Survey(func(s *partlog.Survey) {
		topic, known := m.opt.Topic(s.Topic)
		if !known {
			return // it is being deleted
		}
		x := Partition{Key: s.Key, Start: s.View.Start, Ingested: s.Appended, Class: topic.Class}
		if begin := max(s.Merged, s.View.Start); begin < s.View.End && !m.executor.suspects.holds(s.Key, now) {
			x.From, x.Stable, x.Pending, x.Deleted = s.Merged, s.View.End, s.JournalBytes, s.DeletedBytes
			if x.First = 1; s.First != nil {
				x.First = s.First.Object.Seq
			}
		}
		for i := range s.Segments {
			if e := &s.Segments[i]; !m.executor.suspects.avoids(s.Key, e, now) {
				x.Merged = append(x.Merged, *e)
			}
		}
		m.planner.Add(&x)
	})
	job := m.planner.Next()
	m.mu.Lock()
	m.debt = m.planner.Debt()
	m.mu.Unlock()
	return job
}

// Debt is the part of the journal that is not merged, as it was when Run looked last.
func (m *Merger) Debt() Debt {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.debt
}

// Stats are counts of the work since the Merger began.
func (m *Merger) Stats() Stats { return m.executor.Stats() }
