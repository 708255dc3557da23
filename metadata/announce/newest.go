package announce

import "sync"

// maxJournals bounds how many journals have a hint waiting: far more than a
// cluster has, so that only forged hints are ever refused.
const maxJournals = 4096

// newest holds at most one announcement for each journal until it is taken. It
// compares with what waits only, so a forged high seq hides true ones no longer
// than until the next take.
type newest struct {
	mu struct {
		sync.Mutex
		waiting map[uint32]Announcement
	}
	ready chan struct{} // holds a token when something waits
}

func newNewest() *newest {
	n := &newest{ready: make(chan struct{}, 1)}
	n.mu.waiting = map[uint32]Announcement{}
	return n
}

// offer keeps a if nothing newer of its journal waits. It never blocks. false
// means that a was refused because too many journals wait.
func (n *newest) offer(a Announcement) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	old, waits := n.mu.waiting[a.Journal]
	if waits && !old.before(a) {
		return true
	}
	if !waits && len(n.mu.waiting) >= maxJournals {
		return false
	}
	n.mu.waiting[a.Journal] = a
	select {
	case n.ready <- struct{}{}:
	default:
	}
	return true
}

// take returns what waits, in no order, and leaves nothing.
func (n *newest) take() []Announcement {
	n.mu.Lock()
	defer n.mu.Unlock()
	taken := make([]Announcement, 0, len(n.mu.waiting))
	for _, a := range n.mu.waiting {
		taken = append(taken, a)
	}
	clear(n.mu.waiting)
	return taken
}

// drain calls fn for what is offered until stop is closed.
func (n *newest) drain(stop <-chan struct{}, fn func(Announcement)) {
	for {
		select {
		case <-stop:
			return
		case <-n.ready:
		}
		for _, a := range n.take() {
			select {
			case <-stop:
				return
			default:
				fn(a)
			}
		}
	}
}
