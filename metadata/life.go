package metadata

import (
	"github.com/varvelog/varve/tiering/journal"
)

// life is the journal.Machine of journal 0 on this node, over all its leaderships: a leading
// each, and between them only the state moves on.
type life struct {
	*journal.Life
	opt     LeaderOptions
	owner   *journal.Owner
	leading *leading // of the present leadership, or the way to it; nil while it follows
}

func newLife(opt LeaderOptions, o *journal.Owner) *life {
	l := &life{opt: opt, owner: o}
	apply := func(obj *journal.Object) error {
		if err := opt.State.Apply(obj.Footer, obj.Entries); err != nil {
			return err
		}
		opt.Followed(obj)
		return nil
	}
	l.Life = journal.NewLife(o, journal.NewFollowing(o, apply, opt.Pace), func(err error) error {
		over := l.leading
		l.leading = nil
		end := opt.OnLost(err)
		if over.onOver != nil {
			over.onOver(err)
		}
		return end
	})
	l.OnEnd = opt.OnEnd
	return l
}

// skip has the state move on to that of a newer checkpoint. It is the one state of journal 0
// on this node: readers never see it go back.
func (l *life) skip(c *journal.Checkpoint) error {
	if err := l.opt.State.Restore(c.State); err != nil {
		return err
	}
	l.Skipped()
	l.opt.OnSkipped(c.Chain)
	return nil
}

// lead begins to take the journal over. It follows now.
func (l *life) lead(how journal.Stand, onReady func(nodeID int32)) {
	l.leading = newLeading(l.opt, l.owner)
	l.leading.onReady = onReady
	l.leading.handOver, l.leading.takeBack = l.HandOver, l.TakeBack
	l.Stand(l.leading, how)
}

// take takes a request, which only a leader can answer.
func (l *life) take(cmd *command) {
	if l.leading == nil {
		cmd.done <- ErrNotController
		return
	}
	l.leading.take(cmd)
}
