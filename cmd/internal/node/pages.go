package node

import (
	"time"

	"github.com/varvelog/varve/cmd/internal/health"
	"github.com/varvelog/varve/fetch"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/rebuild"
)

// indexPages rebuilds index pages that the bucket lacks. It notifies the
// reader, which is set before any rebuild, when objects can be read again.
func (n *node) indexPages(closers *stack, reader **fetch.Reader) *rebuild.Pages {
	pages := rebuild.New(rebuild.Options{
		Store: n.store, Writes: n.writes(),
		Chain: func(id uint32) journal.Chain { return journal.NewChain(n.cluster.ID, id, int(n.cluster.Window)) },
		Lost:  func(object, text string) { n.board.Raise(health.Damage, object, false, text) },
		Mended: func(object string) {
			n.board.Clear(health.Damage, object)
			n.board.Clear(health.Damage, verified(object)) // verification comes back to it late
			(*reader).Mended(object)
		},
	})
	closers.push(func() error { pages.Close(); return nil })
	closers.push(every(time.Minute, pages.LookAgain)) // for objects that stay lost
	return pages
}

// lookForPages checks that the pages exist with which the journals of this node
// began.
func (n *node) lookForPages(pages *rebuild.Pages) {
	for _, id := range n.meta.Journals() {
		if j := n.journals.get(id); j != nil && j.leader != nil {
			pages.Look(j.state)
		}
	}
}
