package sim

import (
	"log/slog"

	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/segment"
)

// Journal is a journal.Driver in a process, with the simulated store as its Executor.
type Journal struct {
	*journal.Driver
	Ended bool

	executor
	after func() // called after every event
}

// StartJournal starts a Driver. after is called after each event.
func StartJournal(p *Process, s *Store, cfg journal.Config, hooks journal.Hooks, after func()) *Journal {
	j := &Journal{executor: newExecutor(p, s, cfg.Chain.Journal), after: after}
	j.deliver = j.step
	apply, ended := hooks.Apply, hooks.Ended
	hooks.Apply = func(o *journal.Object, own bool) error {
		err := apply(o, own)
		if err != nil {
			p.World.Fail("%s applies seq %d: %w", p.Name, o.Footer.Header.Seq, err)
		}
		return err
	}
	hooks.Ended = func(err error) { j.Ended = true; ended(err) }
	j.Driver = journal.NewDriver(cfg, hooks, j, p.World.Now, slog.New(slog.DiscardHandler))
	p.After(0, "start journal", func() { j.Start(); after() })
	return j
}

// Room, Header and History are the Core's.
func (j *Journal) Room() bool { return j.Core().Room() }

// Header is the Core's.
func (j *Journal) Header() segment.Header { return j.Core().Header() }

// History is the Core's.
func (j *Journal) History() *journal.History { return j.Core().History() }

func (j *Journal) step(ev journal.Event) {
	j.Handle(ev)
	j.after()
}
