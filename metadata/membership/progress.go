package membership

import "time"

const (
	// lookEvery is the time between two looks at one journal.
	lookEvery = 500 * time.Millisecond
	// lookGap is how far apart two looks may be that show that a journal is still.
	lookGap = 3 * time.Second
)

// progress watches whether the head of a journal moves. Only looks that succeed count: a
// store that does not answer shows nothing.
type progress struct {
	asking bool
	asked  time.Time
	head   uint64
	since  time.Time // of the first look that showed head; zero: none yet
	latest time.Time // of the last look that did
}

// ask reports whether to look now.
func (p *progress) ask(now time.Time) bool {
	if p.asking && now.Sub(p.asked) < 2*LookLimit || !p.asking && now.Sub(p.asked) < lookEvery {
		return false
	}
	p.asking, p.asked = true, now
	return true
}

func (p *progress) looked(now time.Time, ev Looked) {
	p.asking = false
	if ev.Failed {
		return
	}
	if p.since.IsZero() || ev.Head != p.head || now.Sub(p.latest) > lookGap {
		p.head, p.since = ev.Head, now
	}
	p.latest = now
}

// unmoved reports whether the head has not moved for d, as far as looks show.
func (p *progress) unmoved(d time.Duration) bool {
	return !p.since.IsZero() && p.latest.Sub(p.since) >= d
}
