package metadata

import (
	"fmt"
	"slices"
	"sort"
	"time"

	"github.com/varvelog/varve/tiering/segment"
)

// This file is the part of leading that completes changes in the data journals.
// Each journal's leader opens and seals partitions by its own view of journal
// 0. The controller waits for the reports of these leaders, and purges deleted
// topics by them. It sends them no requests: everything follows again from the
// state and the reports, also for the next controller.

// awaited is the condition of an answer, once its changes are committed.
type awaited struct {
	seq      uint64       // of journal 0
	journals []uint32     // follow it up to seq, unless they have no leader
	topics   []segment.ID // are sealed, and purged if nothing restores them
	courtesy bool         // the answer holds without it: it only spares clients an error
}

// awaitOpen lets an answer wait until partitions of topics accept records. That is a
// courtesy: their journals follow, whichever node is the controller.
func (l *leading) awaitOpen(topics []*Topic) awaited {
	a := awaited{seq: l.opt.State.Head(), courtesy: true}
	for _, t := range topics {
		for _, p := range t.Partitions {
			if !slices.Contains(a.journals, p.Journal) {
				a.journals = append(a.journals, p.Journal)
			}
		}
	}
	return a
}

// awaitAll lets an answer wait for everything that is committed.
func (l *leading) awaitAll() awaited {
	a := awaited{seq: l.opt.State.Head(), journals: l.opt.State.Journals()}
	for _, t := range l.opt.State.going() {
		a.topics = append(a.topics, t.ID)
	}
	return a
}

func (l *leading) reached(a *awaited) bool {
	for _, j := range a.journals {
		if seq, led := l.opt.Reconciled.Reconciled(j); led && seq < a.seq {
			return false
		}
	}
	return !slices.ContainsFunc(a.topics, l.goes)
}

// goes reports whether a topic is being deleted. It is not if a request has restored it.
func (l *leading) goes(id segment.ID) bool {
	d, deleted := l.opt.State.deletion(id)
	return deleted && (final(d.topic) || !l.sealed(d))
}

// seeThrough purges topics and answers requests as far as the data journals have come.
func (l *leading) seeThrough() error {
	l.following = slices.DeleteFunc(l.following, func(cmd *command) bool {
		if !l.reached(&cmd.awaited) {
			return false
		}
		cmd.done <- nil
		return true
	})
	return l.purge()
}

// purge plans to forget the deleted topics whose partitions are sealed, and that can no
// longer be restored.
func (l *leading) purge() error {
	if l.next != nil {
		return nil // the next controller does
	}
	var ids []segment.ID
	for _, t := range l.due() {
		if d, deleted := l.opt.State.deletion(t.ID); deleted && l.controller.stillDeleted(t) && l.sealed(d) {
			ids = append(ids, t.ID)
		}
	}
	entries, errs := l.controller.Purge(ids)
	for _, err := range errs {
		if err != nil {
			return fmt.Errorf("purge deleted topics: %w", err)
		}
	}
	l.add(entries)
	return nil
}

// due lists the deleted topics whose grace is over.
func (l *leading) due() []*Topic {
	going := l.opt.State.going()
	n := sort.Search(len(going), func(i int) bool { return l.grace(going[i]) > 0 })
	return going[:n]
}

// grace is how long a deleted topic can be restored yet.
func (l *leading) grace(t *Topic) time.Duration {
	if final(t) {
		return 0
	}
	return l.opt.DeleteGrace - time.Duration(l.opt.PurgeMs()-t.DeletedMs)*time.Millisecond
}

// lookEvery limits how long a purge waits that has become due.
const lookEvery = time.Minute

// nextPurge returns when to look for topics that become due; zero: no event does that.
func (l *leading) nextPurge(now time.Time) (next time.Time) {
	if left := l.opt.State.going()[len(l.due()):]; len(left) > 0 {
		next = now.Add(min(l.grace(left[0]), lookEvery))
	}
	return next
}

// earlier is the earlier of two times, of which zero is never.
func earlier(a, b time.Time) time.Time {
	if b.IsZero() || !a.IsZero() && a.Before(b) {
		return a
	}
	return b
}

// sealed reports whether the journals of all partitions have followed the deletion.
func (l *leading) sealed(d deletion) bool {
	return !slices.ContainsFunc(d.topic.Partitions, func(p Partition) bool {
		seq, _ := l.opt.Reconciled.Reconciled(p.Journal)
		return seq < d.seq
	})
}

// undonePatience is how long data journals may make no progress before that is reported.
const undonePatience = 10 * time.Second

// undone is an incomplete change: where it is stuck, and since when.
type undone struct {
	journal  uint32
	seq      uint64
	since    time.Time // zero: all is done
	reported bool
}

// watchUndone reports a change that stays incomplete for long, and its end. It
// returns when to call it again.
func (l *leading) watchUndone(now time.Time) (next time.Time) {
	journal, seq, err := l.stuck()
	u := &l.undone
	switch {
	case err == nil:
		if u.reported {
			l.opt.OnUndone(nil)
		}
		*u = undone{}
		return time.Time{}
	case u.since.IsZero() || u.journal != journal || u.seq != seq:
		u.journal, u.seq, u.since = journal, seq, now
	}
	due := u.since.Add(undonePatience)
	if now.Before(due) {
		return due
	}
	if !u.reported {
		u.reported = true
		l.opt.OnUndone(err)
	}
	return time.Time{}
}

// stuck finds the data journal that is furthest behind the changes of its
// partitions, or the purge of topics that waits for journal 0 itself. The error
// describes that; nil: all is done.
func (l *leading) stuck() (journal uint32, at uint64, err error) {
	for _, j := range l.opt.State.Journals() {
		seq, led := l.opt.Reconciled.Reconciled(j)
		if wants := l.opt.State.placedAt(j); led && seq < wants && (err == nil || seq < at) {
			journal, at = j, seq
			err = fmt.Errorf("journal %d has followed the metadata to seq %d, its partitions changed at seq %d", j, seq, wants)
		}
	}
	if err != nil {
		return journal, at, err
	}
	if going := l.due(); len(going) > 0 {
		err = fmt.Errorf("%d deleted topics are not purged, %s the first", len(going), going[0].Name)
	}
	return 0, l.opt.State.Head(), err
}
