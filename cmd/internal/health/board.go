// Package health is the list of this node's troubles at present.
//
// It owns a Board: the work that keeps the node busy while it starts or stops,
// and its troubles, each with the time it began. Every part of the node raises
// and clears troubles of its own; the log, /readyz, /status and the metrics
// show the same ones. It promises one line in the log when a trouble begins and
// one when it ends, and a bounded number of troubles. It never looks for
// troubles itself and never ends the node.
package health

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// maxSubjects limits the troubles of one kind.
	maxSubjects = 64
	// maxText limits the text of a trouble, in bytes: errors can be long.
	maxText = 1024
	// remindEvery is how often a trouble that lasts is logged again.
	remindEvery = 10 * time.Minute
)

// Trouble is a fault of the node or its surroundings that exists now.
type Trouble struct {
	Kind     Kind      `json:"kind"`
	Subject  string    `json:"subject,omitempty"` // the part concerned, such as "journal 1"
	Text     string    `json:"text"`              // the fault and the remedy, in one line
	NotReady bool      `json:"not_ready"`         // it keeps the node from its work
	Since    time.Time `json:"since"`
}

// Board holds the state of a node. It is safe for concurrent use.
type Board struct {
	log *slog.Logger
	now func() time.Time

	mu       sync.Mutex
	busy     string // the work while it does not serve; empty: it serves
	troubles map[key]*entry
	more     map[Kind]int // raises not kept, since the kind became full
}

type key struct {
	kind    Kind
	subject string
}

type entry struct {
	Trouble
	logged time.Time
}

// NewBoard makes the board of a node that is starting.
func NewBoard(log *slog.Logger, now func() time.Time) *Board {
	return &Board{log: log, now: now, busy: "starting", troubles: map[key]*entry{}, more: map[Kind]int{}}
}

// Busy notes that the node does not serve yet, or not any longer, and its work until
// then.
func (b *Board) Busy(work string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.busy = work
}

// Serves notes that the node has started and serves clients.
func (b *Board) Serves() { b.Busy("") }

// State returns the work that the node is busy with, empty when it serves.
func (b *Board) State() (busy string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.busy
}

// Raise notes a trouble. If it is raised already, it gets the new text, and is
// logged again at times. A trouble that makes the node not ready does so after
// the grace of its kind.
func (b *Board) Raise(kind Kind, subject string, notReady bool, text string) {
	b.RaiseSince(b.now(), kind, subject, notReady, text)
}

// RaiseSince is Raise for a trouble that began at a known earlier time.
func (b *Board) RaiseSince(since time.Time, kind Kind, subject string, notReady bool, text string) {
	a, text := of(kind), oneLine(text)
	b.mu.Lock()
	defer b.mu.Unlock()
	now, k := b.now().UTC(), key{kind, subject}
	e := b.troubles[k]
	if e == nil {
		if b.count(kind) >= maxSubjects {
			b.refuse(a)
			return
		}
		e = &entry{Trouble: Trouble{Kind: kind, Subject: subject, Since: since.UTC()}}
		b.troubles[k] = e
	}
	e.NotReady, e.Text = notReady, text
	if e.logged.IsZero() || now.Sub(e.logged) >= remindEvery {
		e.logged = now
		b.write(a.level, text, a, subject, "since", e.Since.Format(time.RFC3339))
	}
}

// refuse notes that a kind has the maximum of subjects.
func (b *Board) refuse(a about) {
	if b.more[a.kind]++; b.more[a.kind] == 1 {
		b.write(a.level, "more troubles of this kind are only counted", a, "", "kept", maxSubjects)
	}
}

// Clear notes that a trouble is over. It does nothing if there is no such
// trouble.
func (b *Board) Clear(kind Kind, subject string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	k := key{kind, subject}
	e := b.troubles[k]
	if e == nil {
		return
	}
	delete(b.troubles, k)
	if b.count(kind) == 0 {
		delete(b.more, kind)
	}
	a := of(kind)
	b.write(slog.LevelInfo, a.over, a, subject, "after", b.now().Sub(e.Since).Round(time.Millisecond))
}

func (b *Board) write(level slog.Level, text string, a about, subject string, more ...any) {
	attrs := []any{"trouble", string(a.kind)}
	if subject != "" {
		attrs = append(attrs, "subject", subject)
	}
	b.log.Log(context.Background(), level, text, append(attrs, more...)...)
}

// count returns how many troubles of a kind there are.
func (b *Board) count(kind Kind) (n int) {
	for k := range b.troubles {
		if k.kind == kind {
			n++
		}
	}
	return n
}

// Troubles returns the current troubles, sorted: those that make the node not
// ready first, then by kind and subject.
func (b *Board) Troubles() []Trouble {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	list := make([]Trouble, 0, len(b.troubles))
	for _, e := range b.troubles {
		t := e.Trouble
		t.NotReady = t.NotReady && now.Sub(t.Since) >= of(t.Kind).grace
		list = append(list, t)
	}
	slices.SortFunc(list, func(a, b Trouble) int {
		switch {
		case a.NotReady && !b.NotReady:
			return -1
		case b.NotReady && !a.NotReady:
			return 1
		}
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Subject, b.Subject))
	})
	return list
}

// Count returns how many troubles of a kind there are, with those not kept, and
// when the oldest began.
func (b *Board) Count(kind Kind) (n int, since time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for k, e := range b.troubles {
		if k.kind != kind {
			continue
		}
		n++
		if since.IsZero() || e.Since.Before(since) {
			since = e.Since
		}
	}
	return n + b.more[kind], since
}

// Lasts returns for how long there has been a trouble of a kind.
func (b *Board) Lasts(kind Kind) time.Duration {
	_, since := b.Count(kind)
	if since.IsZero() {
		return 0
	}
	return b.now().Sub(since)
}

// Ready reports whether the node serves, and no trouble keeps it from its work.
func (b *Board) Ready() bool {
	troubles := b.Troubles() // those that make it not ready are first
	return b.State() == "" && (len(troubles) == 0 || !troubles[0].NotReady)
}

// oneLine returns text without line breaks, cut to maxText.
func oneLine(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + " ..."
	}
	return text
}
