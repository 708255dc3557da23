package node

import (
	"context"
	"sync"
	"time"

	"github.com/varvelog/varve/tiering/journal"
)

const (
	// pulseEvery is how often the loop of a journal is asked.
	pulseEvery = 500 * time.Millisecond
	// commitLate is how long a commit may take before this node probes the store, and
	// probeEvery the pause between two probes.
	commitLate = 3 * time.Second
	probeEvery = 3 * time.Second
)

// pulseWatch watches the loop of a journal that is led here, or is to be.
type pulseWatch struct {
	mu      sync.Mutex
	last    journal.Pulse
	ran     time.Time // of last; zero: none came yet
	since   time.Time // something is to be written, and nothing came of it; zero: not so
	blocked bool      // and a probe of the store failed
}

// run asks until ctx ends. An answer that does not come shows a loop that hangs.
func (w *pulseWatch) run(ctx context.Context, pulse func(context.Context) (journal.Pulse, error), probe func(context.Context) bool) {
	ticker := time.NewTicker(pulseEvery)
	defer ticker.Stop()
	var probed time.Time
	for {
		p, err := pulse(ctx)
		if err != nil {
			return
		}
		switch late := w.note(p, time.Now()); {
		case !late:
			w.block(false)
		case time.Since(probed) >= probeEvery:
			probed = time.Now()
			w.block(!probe(ctx))
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// note takes an answer, and reports whether a commit is late.
func (w *pulseWatch) note(p journal.Pulse, now time.Time) (late bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case !p.Busy:
		w.since = time.Time{}
	case w.since.IsZero() || p.Next != w.last.Next:
		w.since = now
	}
	w.last, w.ran = p, now
	return p.Busy && now.Sub(w.since) >= commitLate
}

func (w *pulseWatch) block(blocked bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.blocked = blocked
}

// state is how long the loop did not run, and whether it cannot commit.
func (w *pulseWatch) state() (idle time.Duration, blocked bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.ran.IsZero() {
		idle = time.Since(w.ran)
	}
	return idle, w.blocked
}
