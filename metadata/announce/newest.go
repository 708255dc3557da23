package announce

import "sync"

// maxJournals limits how many journals have a hint waiting. It is far more than
// a cluster has, so that only forged hints are ever refused.
const maxJournals = 4096

// newest holds at most one announcement for each journal until it is taken. It
// compares only with those that wait, so a forged high seq hides true ones no
// longer than until the next take.
type newest struct {
	mu struct {
		sync.Mutex
		waiting map[uint32]Announcement
	}
	ready chan struct{} // holds a token when an announcement waits
}

func newNewest() *newest {
	n := &newest{ready: make(chan struct{}, 1)}
	n.mu.waiting = map[uint32]Announcement{}
	return n
}

// offer keeps a if no newer one of its journal waits. It never blocks. False
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

// take removes and returns the waiting announcements, in no order.
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

// drain calls fn for each announcement until stop is closed.
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
