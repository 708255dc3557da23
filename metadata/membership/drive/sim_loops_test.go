package drive

import (
	"time"

	"github.com/varvelog/varve/metadata"
)

// poisoned: a journal kills its leaders.
func poisoned(w *world) {
	w.more(3)
	if !w.ready() {
		return
	}
	w.poison = 1
	w.leader(1).kill()
	revive := func() {
		for i, f := range w.folders {
			w.start(f, w.host(i+1))
		}
	}
	for range 12 {
		w.pass(5 * time.Second)
		revive()
	}
	if n := w.count[1]; n > 8 {
		w.Fail("a journal that kills its leaders was taken %d times", n)
	}
	w.poison = 0
	w.reaches("all at rest without the poison", 70*time.Minute, w.settled)
}

// hungLoop: the loop of one journal does nothing.
func hungLoop(w *world) {
	w.shape.Journals = max(w.shape.Journals, 2)
	if !w.ready() {
		return
	}
	r := w.leader(1)
	r.lives[1].hung = true
	w.pass(30 * time.Second)
	if l := w.leader(1); l == nil || l == r {
		w.Fail("the journal of a loop that hangs is not moved")
	}
	for id, n := range w.count {
		if id != 1 && n > 0 {
			w.Fail("journal %d is fenced because another one hangs", id)
		}
	}
}

// nodeJoins: a new node gets its share.
func nodeJoins(w *world) {
	w.shape.Journals = max(w.shape.Journals, 4)
	if !w.ready() {
		return
	}
	w.addHost(90)
	w.start(w.addFolder(metadata.RoleIngest), w.hosts["h90"])
	w.reaches("shared with the new node", 20*time.Minute, w.balanced)
	w.bound(3 * time.Second)
	w.moved(1)
}
